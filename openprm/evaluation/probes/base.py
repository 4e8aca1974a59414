"""What a probe is, and what probes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ...data.holdout import drawn, question_rank
from ..benchmarks.items import Item, Measured
from ..bootstrap import Statistic

#: What a model gave, by view: "" are the benchmark's own items.
Views = Mapping[str, Measured]


class Probe(Protocol):
    """Something to measure of a model on the items of a benchmark. What it does not define, it has none of."""

    def views(self, items: Sequence[Item]) -> Mapping[str, Sequence[Item]]:
        """Changed items to be rewarded, by the name of the view; ids are those of the items they are made of."""
        return {}

    def statistics(self, views: Views) -> list[Statistic]:
        """Numbers over the items, with the probe's name as their `part`."""
        return []

    def readings(self, views: Views) -> Mapping[str, Measured]:
        """To what the benchmark's own arithmetic is applied once more, by what its headline number is called then."""
        return {}

    def details(self, views: Views) -> Any:
        """What pictures are drawn of, as JSON; None where there are none."""
        return None


def golden(item: Item) -> list[float]:
    """How good each response is: how correct among candidates; of pairs the chosen ones (or the one) are first."""
    right = item.facts.get("right", 1)
    return list(item.facts.get("correct") or [1.0] * right + [0.0] * (len(item.responses) - right))


def few(items: Sequence[Item], prompts: int) -> list[Item]:
    """The items of so many prompts, always the same ones: those whose hash is lowest."""
    ranks = {id(item): question_rank([{"role": "user", "content": item.prompt or item.id}]) for item in items}
    kept = {*drawn(ranks.values(), prompts)}
    return [item for item in items if ranks[id(item)] in kept]
