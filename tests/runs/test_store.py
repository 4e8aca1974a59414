"""The store: shards are complete or absent, and one process at a time makes one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from openprm.runs.store import Note, Store, Unfinished, look, workers, working
from openprm.schema import Prompt

ROW = {"schema_version": 1, "prompt_id": "p", "source": "s", "question": [{"role": "user", "content": "é\n?"}]}
ROWS = [{**ROW, "reference": None}, {**ROW, "prompt_id": "q", "reference": "4"}]
FAILED = Unfinished("prompt 'r'", "down", "start it", transient=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path, Prompt)
    made.describe("sampling", "prompts", 5)
    return made


def test_what_is_written_is_read(tmp_path: Path, store: Store):
    assert store.take(3)
    store.write(3, ROWS, [FAILED], {"prompts": 3})
    for there in (store, Store(tmp_path, Prompt)):
        assert there.rows(3) == ROWS
        ((index, note),) = there.notes().items()
        assert (index, note.unfinished, note.counts) == (3, [FAILED], {"prompts": 3})
        assert 0 < note.started <= note.finished
    found = look(tmp_path)
    assert found == ({"name": "sampling", "unit": "prompts", "total": 5}, [store.notes()[3]])
    assert isinstance(found[1][0], Note)


def test_a_shard_without_rows(store: Store):
    assert store.take(0)
    store.write(0, [], [FAILED], {"prompts": 1})
    assert store.rows(0) == []
    assert store.notes()[0].unfinished == [FAILED]


def test_one_process_at_a_time(tmp_path: Path, store: Store):
    other = Store(tmp_path, Prompt)
    assert store.take(1)
    assert not other.take(1)
    assert other.take(2)
    store.release(1)
    assert other.take(1)


def test_a_dead_process_holds_nothing(tmp_path: Path, store: Store):
    program = (
        "import os, sys; from pathlib import Path; from openprm.schema import Prompt\n"
        "from openprm.runs.store import *\n"
        "store = Store(Path(sys.argv[1]), Prompt); held = working(Path(sys.argv[1])); held.__enter__()\n"
        "print(store.take(1), len(workers(Path(sys.argv[1]))), flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-9, "True 1\n")
    assert store.take(1)
    assert workers(tmp_path) == []


def test_those_at_work_are_told(tmp_path: Path):
    assert workers(tmp_path) == []
    with working(tmp_path):
        assert len(workers(tmp_path)) == 1
    assert workers(tmp_path) == []


def test_a_store_that_is_gone_is_not_made_again(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    store = Store(folder, Prompt)
    store.describe("sampling", "prompts", 1)
    assert store.take(0)
    folder.rename(tmp_path / "finished")
    with pytest.raises(FileNotFoundError):
        store.write(0, ROWS, [], {})
    with pytest.raises(FileNotFoundError):
        store.take(1)
    assert not folder.exists()


def test_nothing_to_look_at(tmp_path: Path):
    assert look(tmp_path) is None
