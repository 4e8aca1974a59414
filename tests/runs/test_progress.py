"""The figures of a progress line."""

from __future__ import annotations

import pytest

from openprm.runs.progress import ProgressLine, duration, status
from openprm.runs.store import Note, Unfinished

DOWN = Unfinished("p", "down", "start it", transient=True)


def note(started: float, finished: float, failures: int = 0, **counts: int) -> Note:
    return Note([DOWN] * failures, counts, started, finished)


def test_counts_rates_and_time_left():
    notes = [note(0, 50, prompts=4, samples=8, tokens=100), note(50, 100, 1, prompts=4, samples=7, tokens=300)]
    now = status(notes, "prompts", 20, now=100)
    assert now.counts == {"prompts": 8, "samples": 15, "tokens": 400}
    assert now.rates["tokens"] == 4.0
    assert now.seconds_left == 11 / 0.08
    assert str(now) == "prompts 8/20 · samples 15 · tokens 400 · 4 tokens/s · failures 1 · 2 min 18 s left"


def test_the_rate_is_of_the_last_quarter_of_an_hour():
    notes = [note(0, 100, prompts=1000), note(9_000, 10_000, prompts=10)]
    assert status(notes, "prompts", None, now=10_000).rates == {"prompts": 0.01}
    assert status(notes, "prompts", 2000, now=20_000).seconds_left is None


def test_before_anything_is_finished():
    assert str(status([], "prompts", 7)) == "prompts 0/7 · failures 0"
    assert str(status([], "prompts", None)) == "prompts 0 · failures 0"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599.6, "1 h 0 min"), (90_000, "25 h 0 min")]
)
def test_durations(seconds: float, text: str):
    assert duration(seconds) == text


def test_where_nobody_watches_there_is_a_line_a_minute(capsys: pytest.CaptureFixture[str], monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("openprm.runs.progress.time.monotonic", lambda: clock[0])
    line, now = ProgressLine("sampling"), status([note(0, 1, prompts=1)], "prompts", 2, now=1)
    for seconds in (0, 30, 61, 62, 130):
        clock[0] = seconds
        line.show(lambda: now)
    line.show(lambda: now, last=True)
    assert capsys.readouterr().err.splitlines() == [f"sampling: {now}"] * 3
    ProgressLine("sampling", quiet=True).show(lambda: now, last=True)
    assert capsys.readouterr().err == ""
