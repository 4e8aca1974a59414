"""How much of an answer must be read to judge it (paper, Figure 1): the accuracy on the first 10, 20, ..., 100 %.

Ten slices of each answer are rewarded as its steps, so all prefixes take one packed pass: the reward of a slice is
that of the answer up to its end. At 100 % the numbers are those of the aggregation `last`, but for a model with marks
after steps, which then stand after slices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ..benchmarks.items import Item, Measured, Response
from .base import Probe, Views

SLICES = 10


class Prefixes(Probe):
    """The headline number on the beginnings of all answers. Items with an answer of fewer than ten characters are left
    out; `details` counts them."""

    def views(self, items: Sequence[Item]) -> Mapping[str, Sequence[Item]]:
        return {
            "prefixes": [
                replace(item, responses=tuple(Response(one.text, slices(one.text)) for one in item.responses))
                for item in items
                if len(item.responses) > 1 and all(len(one.text.strip()) >= SLICES for one in item.responses)
            ]
        }

    def readings(self, views: Views) -> Mapping[str, Measured]:
        sliced, found = views["prefixes"], {}
        for n in range(1, SLICES + 1) if sliced.items else ():
            first = [[replace(one, rewards=one.rewards[:n]) for one in answers] for answers in sliced.rewarded]
            found[f"at {100 * n // SLICES} %"] = replace(sliced, rewarded=first, aggregation="last")
        return found

    def details(self, views: Views) -> Any:
        """How many items are read and left out; `alike`: of each length, the share of items whose answers begin the
        same, so that every model ties."""
        items = views["prefixes"].items
        begun = [
            [{"".join((one.steps or ())[:n]) for one in item.responses} for item in items]
            for n in range(1, SLICES + 1)
        ]
        alike = [sum(len(texts) == 1 for texts in some) / len(items) for some in begun if items]
        return {"items": len(items), "left_out": len(views[""].items) - len(items), "alike": alike}


def slices(text: str) -> tuple[str, ...]:
    """Ten slices that join to the text, of equal lengths but for ending at the end of a word where there is one.

    The text has at least ten characters.
    """
    cuts = [0]
    for target in (len(text) * n // SLICES for n in range(1, SLICES)):
        ends = (at for at in range(target, cuts[-1], -1) if text[at].isspace() and not text[at - 1].isspace())
        cuts.append(next(ends, target))
    return tuple(text[start:end] for start, end in pairwise([*cuts, len(text)]))
