"""What is measured beside a benchmark's own arithmetic: biases, attacks, calibration.

A probe may have its models reward changed items: a view. Each is a module with one `Probe`, entered in `PROBES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..benchmarks.items import Item, Measured
from ..bootstrap import Statistic

#: What a model gave, by view: "" are the benchmark's own items.
Views = Mapping[str, Measured]


class Probe(Protocol):
    """Something to measure of a model on the items of a benchmark."""

    def views(self, items: Sequence[Item]) -> Mapping[str, Sequence[Item]]:
        """Changed items to be rewarded, by the name of the view; ids are those of the items they are made of."""

    def statistics(self, views: Views) -> list[Statistic]:
        """Numbers over the items, with the probe's name as their `part`."""

    def details(self, views: Views) -> Any:
        """What pictures are drawn of, as JSON; None where there are none."""


#: The probes by name.
PROBES: dict[str, Probe] = {}
