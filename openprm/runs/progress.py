"""How far a long run is: the same figures for its own progress line and for `openprm status` from outside.

Everything is read from the store (see `openprm.runs.store`), so each process at work shows what all of them have done.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .store import Note

_WINDOW = 900.0  # seconds: the rate is that of the shards finished within them
_LINE_EVERY = 60.0  # seconds between lines where nobody watches
_FRESH_EVERY = 0.5  # where somebody does


@dataclass(frozen=True)
class Status:
    """Counts of finished work; rates a second over the last quarter of an hour, None before there is one."""

    unit: str
    total: int | None
    counts: Mapping[str, int]
    failures: int
    rates: Mapping[str, float]

    @property
    def seconds_left(self) -> float | None:
        rate = self.rates.get(self.unit)
        if not rate or self.total is None:
            return None
        return max(self.total - self.counts.get(self.unit, 0) - self.failures, 0) / rate

    def __str__(self) -> str:
        done = f"{self.unit} {self.counts.get(self.unit, 0):,}" + (f"/{self.total:,}" if self.total else "")
        others = [f"{name} {count:,}" for name, count in self.counts.items() if name != self.unit]
        fastest = "tokens" if self.rates.get("tokens") else self.unit
        speed = [f"{_rounded(self.rates[fastest])} {fastest}/s"] if self.rates.get(fastest) else []
        left = self.seconds_left
        end = [] if left is None else [f"{duration(left)} left"]
        return " · ".join([done, *others, *speed, f"failures {self.failures:,}", *end])


def status(notes: Iterable[Note], unit: str, total: int | None, now: float | None = None) -> Status:
    """`unit` names the count that `total` is of."""
    now = time.time() if now is None else now
    counts: Counter[str] = Counter({unit: 0})
    failures = 0
    recent: Counter[str] = Counter()
    since = now
    for note in notes:
        counts.update(note.counts)
        failures += len(note.unfinished)
        if note.finished > now - _WINDOW:
            recent.update(note.counts)
            since = min(since, note.started)
    span = now - since
    return Status(unit, total, counts, failures, {name: n / span for name, n in recent.items()} if span > 0 else {})


def duration(seconds: float) -> str:
    """`3 h 12 min`, `4 min 5 s`, `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _rounded(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


class ProgressLine:
    """Writes a status to standard error: in place where somebody watches, else as a line each minute."""

    def __init__(self, what: str, quiet: bool = False) -> None:
        self._what = what
        self._quiet = quiet
        self._watched = sys.stderr.isatty()
        self._next = time.monotonic() + (0.0 if self._watched else _LINE_EVERY)

    def show(self, now: Callable[[], Status], *, last: bool = False) -> None:
        """`now` is asked only when it is time for a look, which costs one at every shard."""
        if self._quiet or not (last or time.monotonic() >= self._next):
            return
        self._next = time.monotonic() + (_FRESH_EVERY if self._watched else _LINE_EVERY)
        if self._watched:
            sys.stderr.write(f"\r\x1b[K{self._what}: {now()}" + "\n" * last)
        else:
            sys.stderr.write(f"{self._what}: {now()}\n")
        sys.stderr.flush()
