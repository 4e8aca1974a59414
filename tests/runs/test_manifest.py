"""A stage is skipped, made again, resumed or refused; a folder that exists is whole."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.runs.manifest import WORK, Part, describe_input, files_hash, is_running, run_stage

from ..answers import times
from ..folders import Killed


class Stage:
    """Writes `text`; counts how often it was asked to, and remembers what it found."""

    def __init__(self, text: str = "result", fail: bool = False):
        self.text, self.fail, self.calls, self.found = text, fail, 0, [""]

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.calls += 1
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        self.found = [name for name in names if name not in (f"{WORK}/stage.json", "log.jsonl")]
        (folder / "data.txt").write_text(self.text)
        (folder / WORK / "00000.parquet").write_text("a finished shard")
        if self.fail:
            raise Killed
        return {"files_hash": files_hash(folder), "counts": {}}


@pytest.fixture
def input_file(tmp_path: Path) -> Path:
    path = tmp_path / "input.txt"
    path.write_text("content")
    return path


def killed(out: Path, **options: Any) -> None:
    with pytest.raises(Killed):
        run_stage(out, "test", options.pop("parameters", {}), {}, Stage(fail=True), **options)


def test_made_once(tmp_path, input_file):
    work = Stage()
    first = run_stage(tmp_path / "out", "test", {"a": 1}, {"file": input_file}, work)
    before = times(tmp_path / "out")
    (tmp_path / "moved").mkdir()
    moved = input_file.rename(tmp_path / "moved" / "input.txt")
    assert run_stage(tmp_path / "out", "test", {"a": 1}, {"file": moved}, work) == first
    assert work.calls == 1
    assert times(tmp_path / "out") == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"data.txt", "manifest.json", "log.jsonl"}
    assert not (tmp_path / ".out.partial").exists()


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("parameters", "a 1, not 2, c 'x', not None"),
        ("content", "another content of file (input.txt)"),
        ("name", "file 'input.txt', not 'renamed.txt'"),
    ],
)
def test_another_result_is_replaced_only_on_purpose(tmp_path, input_file, change, difference):
    arguments: dict[str, Any] = {"name": "test", "parameters": {"a": 1, "b": 0, "c": "x"}}
    arguments["inputs"] = {"file": input_file}
    run_stage(tmp_path / "out", **arguments, work=Stage("old"))
    if change == "parameters":
        arguments["parameters"] = {"a": 2, "b": 0}
    elif change == "content":
        input_file.write_text("other content")
    else:
        arguments["inputs"] = {"file": input_file.rename(tmp_path / "renamed.txt")}
    with pytest.raises(InputError) as refused:
        run_stage(tmp_path / "out", **arguments, work=Stage("new"))
    assert f"out was made with {difference}; choose another --out, or replace it by --force" in str(refused.value)
    assert (tmp_path / "out" / "data.txt").read_text() == "old"
    manifest = run_stage(tmp_path / "out", **arguments, work=Stage("new"), replace=True)
    assert (tmp_path / "out" / "data.txt").read_text() == "new"
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest


def test_force_makes_the_same_again(tmp_path):
    for text in ("old", "new"):
        run_stage(tmp_path / "out", "test", {}, {}, Stage(text), force=True)
        assert (tmp_path / "out" / "data.txt").read_text() == text


def test_a_killed_run_finds_its_finished_shards_and_nothing_else(tmp_path):
    killed(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    work = Stage()
    run_stage(tmp_path / "out", "test", {}, {}, work)
    assert work.found == [f"{WORK}/00000.parquet"]
    assert not (tmp_path / "out" / WORK).exists()


@pytest.mark.parametrize("force", [True, False])
def test_unfinished_work_is_discarded_only_on_purpose(tmp_path, force):
    killed(tmp_path / "out", parameters={"a": {"b": 1}})
    with pytest.raises(InputError, match=r"unfinished work with a \{'b': 1\}, not 2; finish it .* or .*--force"):
        run_stage(tmp_path / "out", "test", {"a": 2}, {}, Stage())
    mark = tmp_path / ".out.partial" / WORK / "stage.json"
    mark.write_text("{")
    with pytest.raises(InputError, match="a damaged description"):
        run_stage(tmp_path / "out", "test", {"a": 2}, {}, Stage())
    work = Stage()
    run_stage(tmp_path / "out", "test", {"a": 2}, {}, work, force=force, replace=not force)
    assert work.found == []


def test_work_without_a_finished_shard_is_not_in_the_way(tmp_path):
    killed(tmp_path / "out")
    (tmp_path / ".out.partial" / WORK / "00000.parquet").unlink()
    work = Stage()
    run_stage(tmp_path / "out", "test", {"a": 2}, {}, work)
    assert work.found == []


def test_a_kill_leaves_the_earlier_result(tmp_path):
    run_stage(tmp_path / "out", "test", {}, {}, Stage())
    before = times(tmp_path / "out")
    killed(tmp_path / "out", parameters={"a": 2}, replace=True)
    assert times(tmp_path / "out") == before


@pytest.mark.parametrize("parameters", [{"a": 1}, {"a": 2}])
def test_a_forced_run_that_was_killed_resumes(tmp_path, parameters):
    """The same command, --force and all, loses nothing; forced for the first time, it begins anew."""
    run_stage(tmp_path / "out", "test", {"a": 1}, {}, Stage())
    killed(tmp_path / "out", parameters=parameters, force=True)
    work = Stage()
    run_stage(tmp_path / "out", "test", parameters, {}, work, force=True)
    assert work.found == [f"{WORK}/00000.parquet"]
    killed(tmp_path / "other")
    work = Stage()
    run_stage(tmp_path / "other", "test", {}, {}, work, force=True)
    assert work.found == []


def test_a_run_killed_at_its_very_end_is_finished(tmp_path, monkeypatch):
    remove = shutil.rmtree

    def die(path: Path, **options: Any) -> None:
        if path.name == WORK:
            raise Killed
        remove(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", die)
        with pytest.raises(Killed):
            run_stage(tmp_path / "out", "test", {}, {}, Stage())
    work = Stage()
    run_stage(tmp_path / "out", "test", {}, {}, work)
    assert work.calls == 0
    assert not (tmp_path / "out" / WORK).exists()


def test_the_manifest_knows_no_time_and_no_place(tmp_path):
    manifests = []
    for name in ("here", "there/below"):
        place = tmp_path / name
        place.mkdir(parents=True)
        (place / "input.txt").write_text("content")
        run_stage(place / "out", "test", {"a": 1}, {"file": place / "input.txt"}, Stage())
        manifests.append((place / "out" / "manifest.json").read_text())
    assert manifests[0] == manifests[1]
    assert str(tmp_path) not in manifests[0]
    assert "time" not in manifests[0]
    assert "time" in (tmp_path / "here" / "out" / "log.jsonl").read_text()


class Running:
    """A stage at work in another thread, until `end`. (Locks are the same between processes.)"""

    def __init__(self, out: Path, part: Part | None = None) -> None:
        self.started, self.released = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=run_stage, args=(out, "test", {}, {}, self.work), kwargs={"part": part})
        self.thread.start()
        assert self.started.wait(20)

    def work(self, folder: Path) -> dict[str, Any]:
        self.started.set()
        assert self.released.wait(20)
        return {"files_hash": "x", "counts": {}}

    def end(self) -> None:
        self.released.set()
        self.thread.join()


def test_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("openprm.runs.locks._WAIT", 0.1)
    first, work = Running(tmp_path / "out"), Stage()
    for part in (None, Part(1, 2)):
        with pytest.raises(InputError, match=r"another process is making .*out; wait for it"):
            run_stage(tmp_path / "out", "test", {}, {}, work, part=part)
    assert is_running(tmp_path / "out")
    assert (work.calls, (tmp_path / "out").exists()) == (0, False)
    first.end()
    assert run_stage(tmp_path / "out", "test", {}, {}, work)["files_hash"] == "x"


def test_parts_run_at_once_and_a_run_without_finishes(tmp_path):
    out, work = tmp_path / "out", Stage()
    parts = [Running(out, Part(index, 2)) for index in (1, 2)]
    for options in ({"part": Part(2, 2)}, {}, {"force": True}, {"part": Part(3, 3), "force": True}):
        with pytest.raises(InputError, match=r"parts of .*out are running|another process is making"):
            run_stage(out, "test", {}, {}, work, **options)
    assert is_running(out)
    for part in parts:
        part.end()
    assert not is_running(out)
    assert (work.calls, out.exists()) == (0, False)
    assert run_stage(out, "test", {}, {}, work)["counts"] == {}


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/2", "1/", "-1/2"])
def test_parts_that_there_are_not(text: str):
    with pytest.raises(ValueError, match=r"/"):
        Part.parse(text)


@pytest.mark.parametrize(
    "name", ["/nowhere/a", "a/b/c", "a.jsonl", "data/a.csv.gz", "no such name", "a.parquet", "nowhere:config"]
)
def test_an_input_that_is_not_there(tmp_path, name):
    with pytest.raises(InputError, match="there is no such file or folder"):
        run_stage(tmp_path / "out", "test", {}, {"file": name}, Stage())
    assert not (tmp_path / "out").exists()


def test_what_identifies_a_folder(tmp_path):
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub" / "b.txt").write_text("b")
    before = describe_input(folder)
    assert before == {"name": "data", "hash": files_hash(folder)}
    assert describe_input(f"{folder}:config") == {"name": "data:config", "hash": before["hash"]}
    for name in ("README.md", "log.jsonl", ".hidden"):
        (folder / name).write_text("not data")
    assert describe_input(folder) == before
    (folder / "a.txt").rename(folder / "c.txt")
    assert describe_input(folder) != before
    manifest = run_stage(tmp_path / "out", "test", {}, {}, Stage())
    assert describe_input(tmp_path / "out") == {"name": "out", "hash": manifest["files_hash"]}


def test_the_folder_of_a_published_dataset_is_an_input(tmp_path):
    """It has a manifest.json too, of the stages that made its splits."""
    (tmp_path / "manifest.json").write_text('{"train": {"row_hash": "x"}}')
    (tmp_path / "a.txt").write_text("a")
    assert describe_input(tmp_path)["hash"] == files_hash(tmp_path)


def test_the_result_of_another_stage_and_an_input_are_never_written_over(tmp_path):
    run_stage(tmp_path / "model", "model", {}, {}, lambda folder: {"files_hash": "m"})
    with pytest.raises(InputError, match=r"another stage \(model\)"):
        run_stage(tmp_path / "model", "pairs", {}, {}, lambda folder: {"files_hash": "p"}, force=True)
    with pytest.raises(InputError, match="is an input"):
        run_stage(tmp_path / "model", "model", {}, {"base": tmp_path / "model"}, lambda folder: {"files_hash": "p"})
    assert json.loads((tmp_path / "model" / "manifest.json").read_text())["files_hash"] == "m"
