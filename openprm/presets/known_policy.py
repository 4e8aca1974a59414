"""A policy of the dial whose mistakes are known, so that the value of every step is known exactly.

It takes a flip for a mirror, or back, with one probability, and ends one position too high or too low with another.
The language model of `tiny` makes mistakes of both kinds, but nobody knows how often. Here the chance of a right end
from any step follows by going through ten positions, so labels that are sampled can be compared with the truth.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ..labels.step_labels import NO_ERROR
from .toy_domain import CONFUSED, ORDINALS, POSITIONS, SEPARATOR, Dial, said, turned


@dataclass(frozen=True)
class KnownPolicy:
    """confuse: how often a flip is taken for a mirror and back. slip: how often a turn ends one off, up or down."""

    confuse: float = 0.6
    slip: float = 0.05

    def solve(self, dial: Dial, rng: random.Random, done: Sequence[str] = ()) -> list[str]:
        """The steps of a solution that goes on from these steps."""
        steps = list(done)
        for index in range(len(steps), len(dial.turns)):
            position = stated(steps[-1]) if steps else dial.start
            turn, amount = dial.turns[index]
            taken = CONFUSED[turn] if turn in CONFUSED and rng.random() < self.confuse else turn
            off = rng.choice((-1, 1)) if rng.random() < self.slip else 0
            after = (turned(position, taken, amount) + off) % POSITIONS
            steps.append(f"{ORDINALS[index]} {position} {said(taken, amount)} is {after}{SEPARATOR}")
        if len(steps) == len(dial.turns):
            steps.append(f"The answer is {stated(steps[-1])}")
        return steps

    def value(self, dial: Dial, done: Sequence[str] = ()) -> float:
        """The chance that a solution which goes on from these steps ends right."""
        chances = [0.0] * POSITIONS  # of each position, as far as is gone
        chances[stated(done[-1]) if done else dial.start] = 1.0
        for turn, amount in dial.turns[len(done) :]:
            after = [0.0] * POSITIONS
            ways = [(turn, 1 - self.confuse), (CONFUSED[turn], self.confuse)] if turn in CONFUSED else [(turn, 1.0)]
            for position, chance in enumerate(chances):
                for taken, share in ways:
                    end = turned(position, taken, amount)
                    for off, part in ((0, 1 - self.slip), (1, self.slip / 2), (-1, self.slip / 2)):
                        after[(end + off) % POSITIONS] += chance * share * part
            chances = after
        return chances[int(dial.reference)]

    def sampled_value(self, dial: Dial, done: Sequence[str], k: int, rng: random.Random) -> float:
        """The share of k solutions that go on from these steps and end right."""
        ends = (stated(self.solve(dial, rng, done)[-1]) for _ in range(k))
        return sum(end == int(dial.reference) for end in ends) / k


def stated(step: str) -> int:
    """The position that a step ends at; -1 where it ends with none, as one of a language model may."""
    last = step.rstrip().rstrip(".")[-1:]
    return int(last) if last.isdecimal() else -1


def first_wrong_position(dial: Dial, steps: Sequence[str]) -> int:
    """The index of the first step that ends at another position than the right solution; -1: none does.

    A wrong turn that ends at the right position is right here (flip and mirror agree at 2 and 7).
    """
    right = [*dial.positions()[1:], int(dial.reference)]
    wrong = (i for i, step in enumerate(steps) if i >= len(right) or stated(step) != right[i])
    return next(wrong, NO_ERROR)
