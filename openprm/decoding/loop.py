"""The loop of every search: all prompts side by side, one call to generate and one to score at each depth.

A `PromptSearch` decides for one prompt what to extend and what to keep (`openprm.decoding.beam_search`,
`openprm.decoding.best_of_n`); `run` takes them all from depth to depth.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice
from typing import TypeVar

from ..engines.step_requests import Extension, Generate, Prefix, PrefixRewards, Score, StepRequest
from ..errors import Failure
from ..schema import Message
from ..scoring.aggregation import aggregate
from .hypotheses import Expansion, Hypothesis, ranked

T = TypeVar("T")
Reply = TypeVar("Reply")


@dataclass(frozen=True)
class SearchResult:
    """What a search found for one prompt.

    best: the method's choice; of tied answers, the first
    complete: the answers that it was chosen from: of a beam search every finished one, in the order in which they
        were finished, and what was cut at the last depth; of best-of-N all that were not stopped, in the order in
        which they were sampled, equal ones included
    generated_tokens, scored_tokens: what the language model generated and the reward model computed, in all
    merged: extensions with a duplicate (the same text, finished or not) at their depth, which was scored for both
    stopped: answers that early rejection stopped
    depths: how often the prompt was extended
    """

    best: Hypothesis
    complete: tuple[Hypothesis, ...]
    generated_tokens: int
    scored_tokens: int
    merged: int
    stopped: int
    depths: int

    @property
    def text(self) -> str:
        """The best answer."""
        return self.best.partial.text

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of the best answer; joined they are `text`."""
        return self.best.partial.steps

    @property
    def step_rewards(self) -> tuple[float, ...]:
        """One reward a step; fewer where the rest does not fit into the reward model."""
        return self.best.step_rewards

    @property
    def score(self) -> float:
        """The aggregate of `step_rewards`; -inf where there are none."""
        return self.best.score


@dataclass(frozen=True)
class Pruning:
    """One prompt at one depth: the answers kept, best first, how many were dropped, and how many merged."""

    kept: tuple[Hypothesis, ...]
    dropped: int
    merged: int


#: Called after every depth (from 1) with the prunings by the prompt's index, of those extended that did not fail.
Watch = Callable[[int, Mapping[int, Pruning]], None]


@dataclass
class PromptSearch(ABC):
    """The search for an answer to one question: what it has, and what it took so far.

    Without an aggregation nothing is scored.
    """

    question: Sequence[Message]
    seed: int
    aggregation: str | None
    failure: Failure | None = field(default=None, init=False)

    generated_tokens = scored_tokens = merged = stopped = depths = 0  # see `SearchResult`

    @abstractmethod
    def requests(self, depth: int) -> list[StepRequest]:
        """What to extend at this depth (from 1); nothing where the search is over."""

    @abstractmethod
    def expand(self, extensions: Sequence[Sequence[Extension]]) -> list[Expansion]:
        """What to score of the extensions of each request."""

    @abstractmethod
    def prune(self, scored: Sequence[Hypothesis], depth: int) -> tuple[list[Hypothesis], int]:
        """Takes the scored expansions; returns what is kept, and how many are dropped."""

    @abstractmethod
    def complete(self) -> list[Hypothesis]:
        """The answers to choose from when the search is over, at least one."""

    def receive(self, replies: Sequence[list[Extension] | Failure]) -> list[Prefix]:
        """What to score of the replies to `requests`, the same steps once; a failed request fails the search."""
        self.depths += 1
        self.failure = next((reply for reply in replies if isinstance(reply, Failure)), None)
        if self.failure:
            return []
        extensions = [reply for reply in replies if not isinstance(reply, Failure)]
        ways = list(chain.from_iterable(extensions))
        self.generated_tokens += sum(way.n_tokens for way in ways)
        self._expansions = self.expand(extensions)
        self._merged = len(ways) - len({(one.partial.text, one.partial.finished) for one in self._expansions})
        self.merged += self._merged
        self._firsts: dict[tuple[str, ...], Expansion] = {}
        for one in self._expansions:
            if self.aggregation and one.needs_rewards:
                self._firsts.setdefault(one.partial.steps, one)
        return [Prefix(self.question, steps, len(one.known_rewards)) for steps, one in self._firsts.items()]

    def take(self, replies: Sequence[PrefixRewards | Failure], depth: int) -> Pruning | None:
        """Prunes the expansions by the replies to `receive`; None where the search has failed.

        A transient failure of the reward model fails the search, or else its result would depend on a server's
        health. Other failures only rank last, unless nothing has a reward.
        """
        if self.failure:
            return None
        failures: list[Failure] = []
        rewards: dict[tuple[str, ...], tuple[float, ...]] = {}
        for (steps, first), reply in zip(self._firsts.items(), replies, strict=True):
            rewards[steps] = first.known_rewards
            if isinstance(reply, Failure):
                failures.append(reply)
            elif not all(map(math.isfinite, reply.rewards)):
                remedy = "load the reward model in bfloat16 or float32"
                failures.append(Failure("a step's reward is not a finite number", remedy))
            else:
                rewards[steps] += reply.rewards
                self.scored_tokens += reply.n_tokens
        scored = [self._scored(one, rewards) for one in self._expansions]
        failures.sort(key=lambda failure: not failure.transient)
        if failures and (failures[0].transient or not any(one.step_rewards for one in scored)):
            self.failure = failures[0]
            return None
        kept, dropped = self.prune(scored, depth)
        return Pruning(tuple(ranked(kept)), dropped, self._merged)

    def _scored(self, one: Expansion, rewards: Mapping[tuple[str, ...], tuple[float, ...]]) -> Hypothesis:
        found = rewards[one.partial.steps] if self.aggregation and one.needs_rewards else one.known_rewards
        score = aggregate(found, self.aggregation) if self.aggregation and found else -math.inf
        return Hypothesis(one.partial, found, score)

    def result(self) -> SearchResult | Failure:
        if self.failure:
            return self.failure
        complete = self.complete()
        return SearchResult(
            best=ranked(complete)[0],
            complete=tuple(complete),
            generated_tokens=self.generated_tokens,
            scored_tokens=self.scored_tokens,
            merged=self.merged,
            stopped=self.stopped,
            depths=self.depths,
        )


def run(
    searches: Sequence[PromptSearch], generate: Generate, score: Score | None, watch: Watch | None = None
) -> list[SearchResult | Failure]:
    """The result of each search, or why it failed; the others continue.

    At every depth there is one call of `generate` and at most one of `score`, for all prompts. A prompt's result does
    not depend on what stands beside it, as far as that holds for the two functions. `score` may be None where no
    search has an aggregation.
    """
    for depth in count(1):
        active = {i: search for i, search in enumerate(searches) if not search.failure}
        requests = {i: asked for i, search in active.items() if (asked := search.requests(depth))}
        if not requests:
            break
        prefixes = {i: searches[i].receive(replies) for i, replies in _answered(generate, requests).items()}
        rewards = _answered(score, prefixes)
        prunings = {i: pruning for i, own in rewards.items() if (pruning := searches[i].take(own, depth))}
        if watch:
            watch(depth, prunings)
    return [search.result() for search in searches]


def _answered(
    function: Callable[[Sequence[T]], list[Reply]] | None, asked: Mapping[int, Sequence[T]]
) -> dict[int, list[Reply]]:
    """The replies to what each search asks for, all in one call."""
    every = list(chain.from_iterable(asked.values()))
    replies = function(every) if function and every else []
    if len(replies) != len(every):
        raise ValueError(f"{len(replies)} replies to {len(every)} requests")
    rest = iter(replies)
    return {i: list(islice(rest, len(own))) for i, own in asked.items()}
