"""Several runs of one stage at once: whatever their order, nothing is lost, doubled or mixed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.runs import sharding, shared_stage
from openprm.runs.dataset import finish_dataset, write_shards
from openprm.runs.folder import read_rows
from openprm.runs.sharding import Made, Work, check_finished, rows_in_order, work_through
from openprm.runs.shared_stage import run_shared_stage, unfinished
from openprm.runs.store import Share, Store, Unfinished, workers
from openprm.schema import Prompt

SHARDS = [["a", "b"], ["c", "d"], ["e"]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_stage, "POLL", 0.01)
    monkeypatch.setattr(sharding, "_POLL", 0.01)


def row(name: str, answer: str) -> dict[str, Any]:
    question = [{"role": "user", "content": name}]
    return {"schema_version": 1, "prompt_id": name, "source": "s", "question": question, "reference": answer}


def work_of(answer: Callable[[str], str | None]) -> Work:
    """Answers each of `SHARDS`' names; None: a failure that another try may mend."""

    def made(item: Any) -> Made:
        name = item["prompt_id"]
        said = answer(name)
        if said is None:
            return Made([], Unfinished(name, "down", "start it", transient=True))
        return Made([row(name, said)])

    def compute(taken: Iterable[tuple[int, Sequence[Any]]]) -> Iterator[tuple[int, list[Made]]]:
        for index, items in taken:
            yield index, [made(item) for item in items]

    return Work(
        name="answers",
        unit="prompts",
        total=5,
        shards=lambda: [[row(name, "") for name in shard] for shard in SHARDS],
        compute=compute,
        key=lambda row: row["prompt_id"],
        count=lambda items, rows: {"prompts": len(items)},
    )


def stage(
    out: Path, answer: Callable[[str], str | None], *, seed: int = 0, share: Share | None = None, **options: Any
) -> Any:
    allowed = options.pop("allow_failures", False)

    def work(shared: Path) -> bool:
        return work_through(work_of(answer), Store(shared, Prompt), share, quiet=True)

    def finish(shared: Path, folder: Path) -> dict[str, Any]:
        store = Store(shared, Prompt)
        check_finished(store, out, allow_failures=allowed)
        return finish_dataset(folder, Prompt, "prompts", write_shards(folder, rows_in_order(store), Prompt, 100), {})

    return run_shared_stage(out, "answers", {"seed": seed}, {}, work, finish, **options)


def answers(out: Path) -> dict[str, str]:
    return {row["prompt_id"]: row["reference"] for row in read_rows(out)}


def failing(names: str, say: str = "first") -> Callable[[str], str | None]:
    return lambda name: None if name in names else say


class Elsewhere:
    """The same stage in a thread, stopped at an item until it is let go."""

    def __init__(self, out: Path, at: str, say: str | None, **options: Any) -> None:
        self.here, self.go_on = threading.Event(), threading.Event()
        self.result: Any = None

        def answer(name: str) -> str | None:
            if name == at:
                self.here.set()
                assert self.go_on.wait(20)
            return say

        def run() -> None:
            try:
                self.result = stage(out, answer, **options)
            except Exception as error:
                self.result = error
                self.here.set()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        assert self.here.wait(20)

    def end(self) -> Any:
        self.go_on.set()
        self.thread.join(20)
        return self.result


def test_what_another_has_mended_stays(tmp_path: Path):
    """B finds two failures, mends the first and is slow; A mends the second; B must not try it again."""
    with pytest.raises(InputError, match="2 failed"):
        stage(tmp_path / "out", failing("ae"))
    b = Elsewhere(tmp_path / "out", at="a", say="B")
    a = Elsewhere(tmp_path / "out", at="e", say="A")
    a.go_on.set()
    shared, _ = unfinished(tmp_path / "out") or (tmp_path, None)
    store = Store(shared, Prompt)
    while not (note := store.note(2)) or note.unfinished:
        store.take(2) and store.release(2)  # type: ignore[func-returns-value]
    manifest = b.end()
    assert a.end() == manifest
    assert answers(tmp_path / "out") == {"a": "B", "b": "first", "c": "first", "d": "first", "e": "A"}


@pytest.mark.parametrize("allow", [False, True])
def test_nobody_finishes_while_another_tries_again(tmp_path: Path, allow: bool):
    with pytest.raises(InputError, match="1 failed"):
        stage(tmp_path / "out", failing("a"))
    b = Elsewhere(tmp_path / "out", at="a", say="B")
    found: list[Any] = []
    a = threading.Thread(target=lambda: found.append(stage(tmp_path / "out", failing("a"), allow_failures=allow)))
    a.start()
    a.join(0.3)
    assert not (tmp_path / "out").exists()
    manifest = b.end()
    a.join(20)
    assert found == [manifest]
    assert answers(tmp_path / "out")["a"] == "B"


def test_force_waits_for_nobody_and_mixes_nothing(tmp_path: Path):
    a = Elsewhere(tmp_path / "out", at="c", say="A", seed=1)
    with pytest.raises(InputError, match="another run is making"):
        stage(tmp_path / "out", failing("", "B"), seed=2, force=True)
    assert a.end()["parameters"] == {"seed": 1}
    assert set(answers(tmp_path / "out").values()) == {"A"}
    assert stage(tmp_path / "out", failing("", "B"), seed=2, force=True)["parameters"] == {"seed": 2}
    assert set(answers(tmp_path / "out").values()) == {"B"}


def test_a_run_that_lost_its_place_before_it_finished_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Between its last shard and the end, another comes with --force and other parameters."""
    locked = shared_stage.locked
    calls: list[bool] = []

    def late(out: Path, *, wait: bool = False) -> Any:
        calls.append(wait)
        if len(calls) == 2:
            with pytest.raises(InputError, match="1 failed"):
                stage(out, failing("a", "B"), seed=2, force=True)
        return locked(out, wait=wait)

    monkeypatch.setattr(shared_stage, "locked", late)
    with pytest.raises(InputError, match="another run took the place"):
        stage(tmp_path / "out", failing("", "A"), seed=1)
    monkeypatch.setattr(shared_stage, "locked", locked)
    assert stage(tmp_path / "out", failing("", "B"), seed=2)["parameters"] == {"seed": 2}
    assert set(answers(tmp_path / "out").values()) == {"B"}


def test_a_run_that_made_nothing_is_not_in_the_way(tmp_path: Path):
    def broken(_: str) -> str:
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        stage(tmp_path / "out", broken, seed=1)
    assert stage(tmp_path / "out", failing(""), seed=2)["rows"] == 5


def test_a_failure_in_another_part_is_tried_without_a_part(tmp_path: Path):
    assert stage(tmp_path / "out", failing("a"), share=Share(1, 2)) is None
    with pytest.raises(InputError, match="without --shard"):
        stage(tmp_path / "out", failing(""), share=Share(2, 2))
    assert stage(tmp_path / "out", failing(""))["rows"] == 5


def test_waiting_reads_nothing(tmp_path: Path):
    other = Elsewhere(tmp_path / "out", at="a", say="first")
    read: list[int] = []
    work = work_of(failing(""))
    shared, _ = unfinished(tmp_path / "out") or (tmp_path, None)

    def shards() -> Any:
        read.append(1)
        return work.shards()

    watching = Work(work.name, work.unit, work.total, shards, work.compute, work.key, work.count)
    waiter = threading.Thread(target=work_through, args=(watching, Store(shared, Prompt)), kwargs={"quiet": True})
    waiter.start()
    waiter.join(0.3)
    assert len(read) == 1
    other.end()
    waiter.join(20)


def test_what_is_left_of_a_killed_end_is_swept_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Killed(BaseException): ...

    rmtree = shared_stage.shutil.rmtree

    def die(path: Path, **options: Any) -> None:
        if path.name == ".out.partial":
            raise Killed
        rmtree(path, **options)

    monkeypatch.setattr(shared_stage.shutil, "rmtree", die)
    with pytest.raises(Killed):
        stage(tmp_path / "out", failing(""))
    monkeypatch.setattr(shared_stage.shutil, "rmtree", rmtree)
    assert (tmp_path / ".out.partial").exists()
    assert stage(tmp_path / "out", failing("abcde"))["rows"] == 5
    assert {path.name for path in tmp_path.iterdir()} == {"out", ".out.lock"}


def test_a_failed_end_leaves_nothing_but_the_work(tmp_path: Path):
    with pytest.raises(InputError, match="failed"):
        stage(tmp_path / "out", failing("a"))
    assert {path.name for path in tmp_path.iterdir()} == {".out.partial", ".out.lock"}


PROGRAM = """
import sys
from pathlib import Path
from tests.runs.test_shared_stage import failing, stage
stage(Path(sys.argv[1]), failing(""))
"""


@pytest.mark.slow
def test_many_processes_end_at_once(tmp_path: Path):
    for round_ in range(3):
        out = tmp_path / str(round_)
        command = [sys.executable, "-c", PROGRAM, str(out)]
        processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(6)]
        for process in processes:
            _, error = process.communicate()
            assert process.returncode == 0, error
        assert len(answers(out)) == 5
    assert {path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")} == {"0", "1", "2"}


def test_a_killed_worker_is_none(tmp_path: Path):
    assert stage(tmp_path / "out", failing("a"), share=Share(1, 2)) is None
    shared, _ = unfinished(tmp_path / "out") or (tmp_path, None)
    program = "import sys, time; from pathlib import Path; from openprm.runs.store import working\n"
    program += "with working(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program, str(shared)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert len(workers(shared)) == 1
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert workers(shared) == []
