"""Rows with labels of steps, and the numbers that rewards of their steps give."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openprm.errors import Failure
from openprm.evaluation.benchmarks.declaration import Benchmark, declare
from openprm.evaluation.benchmarks.items import Item, Measured, Rewarded


def benchmark(kind: str, **declared: Any) -> Benchmark:
    return declare("mine", {"title": "t", "kind": kind, **declared}, "mine.yaml")


def read(of: Benchmark, folder: Path, rows: Sequence[dict[str, Any]]) -> tuple[list[Item], list[str]]:
    """The items, and what is wrong with the other rows."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(of.read(str(path)))
    return [one for one in found if isinstance(one, Item)], [str(one) for one in found if isinstance(one, Failure)]


def items_of(of: Benchmark, rows: Sequence[dict[str, Any]]) -> list[Item]:
    return [item for number, row in enumerate(rows, 1) for item in of.items(number, row)]


def given(items: Sequence[Item], rewards: Sequence[Sequence[float | None]], unit: str = "strength") -> Measured:
    """The rewards of each item's steps; none for a response that could not be rewarded."""
    rewarded = []
    for item, some in zip(items, rewards, strict=True):
        steps = item.responses[0].steps or ()
        assert not some or len(some) == len(steps)
        rewarded.append([Rewarded(steps, tuple(some)) if some else Rewarded()])
    return Measured(items, rewarded, unit=unit)


def numbers(of: Benchmark, measured: Measured) -> dict[str, float]:
    """By `metric`, or `metric | subset`."""
    ones = np.ones((1, len(measured.items)))
    return {
        f"{one.name} | {one.subset}" if one.subset else one.name: float(one.of(ones)[0])
        for one in of.statistics(measured)
    }


def counts(of: Benchmark, measured: Measured) -> dict[str, int]:
    return {f"{one.name} | {one.subset}" if one.subset else one.name: one.n for one in of.statistics(measured)}
