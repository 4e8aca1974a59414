"""The line of a long run: inside a shard too, in a file and in a terminal."""

from __future__ import annotations

import sys

import pytest

from openprm.runs.progress import Progress, duration, shown


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_appears_inside_a_shard_every_30_seconds(capsys, tmp_path):
    clock = Clock()
    note = tmp_path / "progress.txt"
    progress = Progress("sample", "prompts", 300, 10, rows="responses", rows_per_unit=16, note=note, clock=clock)
    assert note.read_text() == "sample: prompts 10/300 · responses 0"
    for second in range(1, 61):
        clock.now = float(second)
        progress.report(1 if second % 2 else 0, 100)  # no shard is finished in this time
    assert capsys.readouterr().err.splitlines() == [
        "sample: prompts 10/300 · responses 15 · 100 tokens/s · 2 h 34 min left",
        "sample: prompts 11/300 · responses 30 · 100 tokens/s · 2 h 34 min left",
    ]
    assert note.read_text() == "sample: prompts 11/300 · responses 30 · 100 tokens/s · 2 h 34 min left"
    progress.finish(32, 6400)
    progress.close()
    assert note.read_text().startswith("sample: prompts 12/300 · responses 32 ")
    assert capsys.readouterr().err == ""


def test_an_engine_that_reports_nothing_is_counted_by_shards(capsys):
    clock = Clock()
    progress = Progress("score", "responses", 100, clock=clock)
    for second in (10, 20, 30):
        clock.now = second
        progress.finish(20)
    assert capsys.readouterr().err == "score: responses 60/100 · 2 responses/s · 20 s left\n"


def test_the_rate_is_of_the_last_minutes(capsys):
    clock = Clock()
    progress = Progress("score", clock=clock)
    for second in range(0, 3000, 10):
        clock.now = second
        progress.report(100 if second < 1500 else 20)
    assert capsys.readouterr().err.splitlines()[-1].endswith(" · 2 rows/s")


def test_in_a_terminal_the_line_stays_in_its_place(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    clock = Clock()
    with Progress("pairs", "trees", 2, clock=clock) as progress:
        for second in (0.1, 1):
            clock.now = second
            progress.report(1)
    line = "\r\x1b[Kpairs: trees 2/2 · 2 trees/s"
    assert capsys.readouterr().err == f"{line}{line}\n"


def test_rows_pass_through(capsys):
    assert list(shown(iter("abc"), "pairs")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599.6, "1 h 0 min"), (90_000, "25 h 0 min")]
)
def test_durations(seconds: float, text: str):
    assert duration(seconds) == text


def test_parts_of_rows_add_up(capsys):
    clock = Clock()
    progress = Progress("judge", "candidates", 30, clock=clock)
    for second in range(1, 31):
        clock.now = second
        progress.report(1 / 3, 5)
    assert capsys.readouterr().err == "judge: candidates 10/30 · 5 tokens/s · 1 min left\n"
