"""How far a long run is, with rows and tokens per second inside a shard too."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

_EVERY = 30.0  # seconds between lines in a file, and between notes for `openprm status`
_REDRAW = 0.5  # seconds between updates in a terminal
_WINDOW = 300.0  # seconds that rates are measured over

#: Called as work proceeds, by any thread, with what has come since the last call: rows (samples, groups or
#: continuations that are finished, or parts of one) and tokens (generated, or computed by a reward model).
Report = Callable[[float, int], None]


class Progress:
    """Writes a line to standard error: in place in a terminal, else every 30 seconds.

    name: the work. unit: what `total` counts; `done` of them were finished before. rows: what is made of a unit,
    `rows_per_unit` of each, where that is something else ("responses" of "prompts"). note: a file that gets the same
    line, for `openprm status`. `detail`, which may change, ends the line.
    """

    detail = ""

    def __init__(
        self,
        name: str,
        unit: str = "rows",
        total: int | None = None,
        done: int = 0,
        *,
        rows: str = "",
        rows_per_unit: int = 1,
        note: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._unit, self._total, self._before = name, unit, total, done
        self._rows_name, self._rows_per_unit = rows, rows_per_unit
        self._note, self._clock = note, clock
        self._terminal = sys.stderr.isatty()
        # rows and tokens; engines may report nothing, so those of finished shards count too
        self._reported: list[float] = [0, 0]
        self._finished: list[float] = [0, 0]
        self._lock = threading.Lock()
        self._seen = deque([(clock(), 0.0, 0.0, 0.0)])  # time, units, rows and tokens
        self._next_line = self._next_note = clock() + (_REDRAW if self._terminal else _EVERY)
        self._write_note()

    def report(self, rows: float, tokens: int = 0) -> None:
        """Rows and tokens that have come since the last call; may be called by any thread."""
        self._add(self._reported, rows, tokens)

    def finish(self, rows: int, tokens: int = 0) -> None:
        """The rows and tokens of a finished shard, reported or not."""
        self._add(self._finished, rows, tokens)

    def say(self, line: str) -> None:
        """Writes a line that stays, above the one that moves."""
        sys.stderr.write(f"\r\x1b[K{line}\n" if self._terminal else f"{line}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Ends the line, and leaves the last state in the note."""
        self._write_note()
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{self}\n")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        now, units, rows, tokens = self._now()
        then, units_then, rows_then, tokens_then = self._seen[0]
        seconds = now - then
        done = self._before + int(units)
        text = f"{self._unit} {done:,}" + ("" if self._total is None else f"/{self._total:,}")
        parts = [text, f"{self._rows_name} {rows:,.0f}"] if self._rows_name else [text]
        if tokens > tokens_then:
            parts.append(f"{_rounded((tokens - tokens_then) / seconds)} tokens/s")
        elif rows > rows_then:
            parts.append(f"{_rounded((rows - rows_then) / seconds)} {self._rows_name or self._unit}/s")
        if self._total is not None and units > units_then and done < self._total:
            left = (self._total - self._before - units) / (units - units_then) * seconds
            parts.append(f"{duration(left)} left")
        parts += [self.detail] if self.detail else []
        return f"{self._name}: " + " · ".join(parts)

    def _now(self) -> tuple[float, float, float, float]:
        rows, tokens = map(max, self._reported, self._finished)
        return self._clock(), rows / self._rows_per_unit, rows, tokens

    def _add(self, counts: list[float], rows: float, tokens: int) -> None:
        with self._lock:
            counts[0] += rows
            counts[1] += tokens
            now = self._clock()
            if now >= self._next_line:
                sys.stderr.write(f"\r\x1b[K{self}" if self._terminal else f"{self}\n")
                sys.stderr.flush()
                self._next_line = now + (_REDRAW if self._terminal else _EVERY)
                self._seen.append(self._now())
                while now - self._seen[0][0] > _WINDOW:
                    self._seen.popleft()
            if now >= self._next_note:
                self._write_note()
                self._next_note = now + _EVERY

    def _write_note(self) -> None:
        if self._note is not None:
            self._note.write_text(str(self), "utf-8")


def say(line: str) -> None:
    """Writes a line about long work to standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def shown(rows: Iterable[Any], name: str, unit: str = "rows") -> Iterator[Any]:
    """The rows, with their progress."""
    with Progress(name, unit) as progress:
        for row in rows:
            yield row
            progress.report(1)


def duration(seconds: float) -> str:
    """`3 h 12 min`, `4 min`, `12 s`."""
    if seconds < 59.5:
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _rounded(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
