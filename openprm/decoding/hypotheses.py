"""Partial and whole answers with the rewards of their steps, and scoring many of them at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from ..engines.step_requests import PartialResponse, Prefix, PrefixRewards, Score
from ..errors import Failure
from ..schema import Message
from ..scoring.aggregation import aggregate


@dataclass(frozen=True)
class Hypothesis:
    """An answer, partial or whole, with the rewards of its steps and their aggregate.

    `score` is -inf where no step has a reward. Fewer rewards than steps where the rest could not be scored (it does
    not fit into the reward model); the score is then made of those before, as in `openprm.scoring.pipeline`.
    """

    partial: PartialResponse
    step_rewards: tuple[float, ...] = ()
    score: float = -math.inf

    @property
    def truncated(self) -> bool:
        return len(self.step_rewards) < len(self.partial.steps)

    @property
    def rank(self) -> tuple[bool, float]:
        """Higher is better: by the score, but answers not scored to their end rank below all that were."""
        return bool(self.step_rewards) and not self.truncated, self.score

    @property
    def weight(self) -> float:
        """Its log-weight in a weighted vote: the score, or -inf where it was not scored to its end."""
        return -math.inf if self.truncated else self.score


#: The empty prefix.
EMPTY = Hypothesis(PartialResponse())


@dataclass(frozen=True)
class Expansion:
    """An extension of `parent`, an answer to prompt number `prompt`."""

    prompt: int
    parent: Hypothesis
    partial: PartialResponse

    @property
    def known(self) -> int:
        """How many of its steps have a reward: the parent's, up to a last step that white space has joined."""
        pairs = zip(self.parent.partial.steps, self.partial.steps, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return min(same, len(self.parent.step_rewards))

    @property
    def needs_rewards(self) -> bool:
        """Not where it is truncated already, nor of white space alone."""
        return self.known < len(self.partial.steps) and not self.parent.truncated and bool(self.partial.text.strip())

    @property
    def key(self) -> tuple[int, tuple[str, ...]]:
        """What its rewards depend on."""
        return self.prompt, self.partial.steps


@dataclass(frozen=True)
class ScoredExpansion:
    """The hypothesis of an expansion, and how many tokens its rewards took (0 where another one with the same steps
    is charged). With a `failure`, the rewards are its parent's, of the steps that did not change."""

    hypothesis: Hypothesis
    n_tokens: int = 0
    failure: Failure | None = None


def score_expansions(
    questions: Sequence[Sequence[Message]], expansions: Sequence[Expansion], score: Score | None, aggregation: str
) -> list[ScoredExpansion]:
    """Each expansion scored, by at most one call of `score`; without `score` nothing has a reward.

    The same steps of one prompt are scored once. Steps that did not change keep their parent's rewards; of a
    truncated parent nothing else is scored, since its extensions are longer still. White space alone has no reward.
    """
    if score is None:
        return [ScoredExpansion(Hypothesis(expansion.partial)) for expansion in expansions]
    firsts: dict[tuple[int, tuple[str, ...]], Expansion] = {}
    for expansion in expansions:
        if expansion.needs_rewards:
            firsts.setdefault(expansion.key, expansion)
    prefixes = [Prefix(questions[one.prompt], one.partial.steps, known=one.known) for one in firsts.values()]
    replies = dict(zip(firsts, score(prefixes) if prefixes else [], strict=True))
    return [
        _scored(one, firsts[one.key], replies[one.key], aggregation)
        if one.needs_rewards
        else ScoredExpansion(replace(one.parent, partial=one.partial))
        for one in expansions
    ]


def fatal_failure(scored: Sequence[ScoredExpansion]) -> Failure | None:
    """Why a prompt with these expansions cannot continue; None where it can.

    A transient failure ends it, or else its result would depend on a server's health. Other failures only rank last,
    unless nothing has a reward.
    """
    failures = [one.failure for one in scored if one.failure]
    transient = [failure for failure in failures if failure.transient]
    if transient or not any(one.hypothesis.step_rewards for one in scored):
        return next(iter(transient or failures), None)
    return None


def ranked(answers: Sequence[Hypothesis]) -> list[Hypothesis]:
    """The answers, best first; tied ones stay in their order."""
    return sorted(answers, key=lambda answer: answer.rank, reverse=True)


def _scored(
    expansion: Expansion, first: Expansion, reply: PrefixRewards | Failure, aggregation: str
) -> ScoredExpansion:
    if isinstance(reply, PrefixRewards) and not all(map(math.isfinite, reply.rewards)):
        reply = Failure("a step's reward is not a finite number", "load the reward model in bfloat16 or float32")
    rewards = first.parent.step_rewards[: first.known]
    if isinstance(reply, PrefixRewards):
        rewards += reply.rewards
    hypothesis = Hypothesis(expansion.partial, rewards, aggregate(rewards, aggregation) if rewards else -math.inf)
    if isinstance(reply, Failure):
        return ScoredExpansion(hypothesis, failure=reply)
    return ScoredExpansion(hypothesis, reply.n_tokens if expansion is first else 0)
