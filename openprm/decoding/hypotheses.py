"""Partial and whole answers with the rewards of their steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from ..engines.step_requests import PartialResponse
from .selection import tie_weights


@dataclass(frozen=True)
class Hypothesis:
    """An answer, partial or whole, with the rewards of its steps and their aggregate.

    `score` is -inf where no step has a reward. There are fewer rewards than steps where the rest could not be scored
    (it does not fit into the reward model); the score is then made of those before, as in `openprm.scoring.pipeline`.
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
        """What it is weighted by in a vote: the score, or -inf where it was not scored to its end."""
        return -math.inf if self.truncated else self.score


#: The empty prefix.
EMPTY = Hypothesis(PartialResponse())


@dataclass(frozen=True)
class Expansion:
    """A hypothesis, and one of the ways to extend it."""

    parent: Hypothesis
    partial: PartialResponse

    @property
    def known_rewards(self) -> tuple[float, ...]:
        """The parent's, up to a last step that white space has joined since."""
        pairs = zip(self.parent.partial.steps, self.partial.steps, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return self.parent.step_rewards[:same]

    @property
    def needs_rewards(self) -> bool:
        """Whether it has steps to score: none where its parent is truncated, and none in white space alone."""
        new = len(self.known_rewards) < len(self.partial.steps)
        return new and not self.parent.truncated and bool(self.partial.text.strip())


def ranked(answers: Sequence[Hypothesis]) -> list[Hypothesis]:
    """The answers, best first, tied ones by `tie_weights`, else in their order."""
    weights = tie_weights([answer.step_rewards for answer in answers])
    order = sorted(range(len(answers)), key=lambda i: (answers[i].rank, weights[i]), reverse=True)
    return [answers[i] for i in order]
