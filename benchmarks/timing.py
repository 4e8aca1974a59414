"""Two ways of doing one thing, timed in turns (A B A B), so that a machine that slows down slows both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """Medians over the repetitions: `amount` per second of each way, and the ratio of neighboring runs."""

    what: str
    against: str
    unit: str
    ours: float
    plain: float
    ratio: float

    def row(self) -> list[str]:
        return [self.what, self.against, self.unit, _rounded(self.ours), _rounded(self.plain), f"{self.ratio:.1f}"]


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def compare(
    what: str,
    against: str,
    ours: Callable[[], Any],
    plain: Callable[[], Any],
    amount: int,
    unit: str,
    repetitions: int = 5,
) -> Comparison:
    """Call both once before, to check their results and to warm up: this only times."""
    times = [(seconds(ours), seconds(plain)) for _ in range(repetitions)]
    return Comparison(
        what,
        against,
        unit,
        amount / median(time for time, _ in times),
        amount / median(time for _, time in times),
        median(slow / fast for fast, slow in times),
    )


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
