"""A stage is skipped, made again, resumed or refused; a folder that exists is whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.runs import manifest as stages
from openprm.runs.manifest import describe_input, files_hash, run_stage

from ..answers import times


class Work:
    """Writes `text`; counts how often it was asked to, and remembers what it found."""

    def __init__(self, text: str = "result", fail: bool = False):
        self.text, self.fail, self.calls, self.found = text, fail, 0, [""]

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.calls += 1
        self.found = [path.name for path in folder.iterdir() if path.name not in (".stage.json", "log.jsonl")]
        (folder / "data.txt").write_text(self.text)
        if self.fail:
            raise RuntimeError("half-way")
        return {"files_hash": files_hash(folder), "counts": {}}


@pytest.fixture
def input_file(tmp_path: Path) -> Path:
    path = tmp_path / "input.txt"
    path.write_text("content")
    return path


def test_made_once(tmp_path, input_file):
    work = Work()
    first = run_stage(tmp_path / "out", "test", {"a": 1}, {"file": input_file}, work)
    before = times(tmp_path / "out")
    assert run_stage(tmp_path / "out", "test", {"a": 1}, {"file": input_file}, work) == first
    assert work.calls == 1
    assert times(tmp_path / "out") == before
    assert {path.name for path in tmp_path.iterdir()} <= {"out", ".out.lock", "input.txt"}


@pytest.mark.parametrize("change", ["parameters", "content", "input's name", "force", "version"])
def test_made_again(tmp_path, input_file, monkeypatch, change):
    arguments: dict[str, Any] = {"name": "test", "parameters": {"a": 1}, "inputs": {"file": input_file}}
    run_stage(tmp_path / "out", **arguments, work=Work("old"))
    if change == "parameters":
        arguments["parameters"] = {"a": 2}
    elif change == "content":
        input_file.write_text("other content")
    elif change == "input's name":
        arguments["inputs"] = {"file": input_file.rename(tmp_path / "renamed.txt")}
    elif change == "force":
        arguments["force"] = True
    else:
        monkeypatch.setattr(stages, "version", lambda package: "9.9.9")
    work = Work("new")
    manifest = run_stage(tmp_path / "out", **arguments, work=work)
    assert work.found == [], "it starts afresh"
    assert (tmp_path / "out" / "data.txt").read_text() == "new"
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest


def test_the_same_input_elsewhere_is_the_same(tmp_path, input_file):
    run_stage(tmp_path / "out", "test", {}, {"file": input_file}, Work())
    (tmp_path / "moved").mkdir()
    moved, work = input_file.rename(tmp_path / "moved" / "input.txt"), Work()
    run_stage(tmp_path / "out", "test", {}, {"file": moved}, work)
    assert work.calls == 0


def test_a_failed_stage_is_gone_on_with(tmp_path, input_file):
    with pytest.raises(RuntimeError, match="half-way"):
        run_stage(tmp_path / "out", "test", {}, {"file": input_file}, Work(fail=True))
    assert not (tmp_path / "out").exists()
    work = Work()
    run_stage(tmp_path / "out", "test", {}, {"file": input_file}, work)
    assert work.found == ["data.txt"]


@pytest.mark.parametrize("options", [{"parameters": {"a": 2}}, {"parameters": {}, "force": True}])
def test_a_failed_stage_is_not_gone_on_with_for_another(tmp_path, options):
    with pytest.raises(RuntimeError):
        run_stage(tmp_path / "out", "test", {}, {}, Work(fail=True))
    work = Work()
    run_stage(tmp_path / "out", "test", inputs={}, work=work, **options)
    assert work.found == []


def test_a_failure_leaves_the_earlier_result(tmp_path):
    run_stage(tmp_path / "out", "test", {}, {}, Work())
    before = times(tmp_path / "out")
    with pytest.raises(RuntimeError):
        run_stage(tmp_path / "out", "test", {"a": 2}, {}, Work(fail=True))
    assert times(tmp_path / "out") == before


def test_the_manifest_knows_no_time_and_no_place(tmp_path):
    manifests = []
    for name in ("here", "there/below"):
        place = tmp_path / name
        place.mkdir(parents=True)
        (place / "input.txt").write_text("content")
        run_stage(place / "out", "test", {"a": 1}, {"file": place / "input.txt"}, Work())
        manifests.append((place / "out" / "manifest.json").read_text())
    assert manifests[0] == manifests[1]
    assert str(tmp_path) not in manifests[0]
    assert "time" not in manifests[0]
    assert "seconds" in (tmp_path / "here" / "out" / "log.jsonl").read_text()


def test_two_at_once(tmp_path):
    program = """
import sys
from openprm.runs.manifest import run_stage
def work(folder):
    print("working", flush=True)
    sys.stdin.readline()
    return {"files_hash": "x", "counts": {}}
run_stage(sys.argv[1], "test", {}, {}, work)
"""
    out = tmp_path / "out"
    command = [sys.executable, "-c", program, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin
        assert first.stdout
        assert first.stdout.readline() == "working\n"
        work = Work()
        with pytest.raises(
            InputError, match=r"another process is making .*out; wait for it, or choose another folder"
        ):
            run_stage(out, "test", {}, {}, work)
        assert work.calls == 0
        assert not out.exists()
        first.communicate("go on\n")
    assert run_stage(out, "test", {}, {}, work)["files_hash"] == "x"


@pytest.mark.parametrize(
    "name", ["/nowhere/a", "a/b/c", "a.jsonl", "data/a.csv.gz", "no such name", "a.parquet", "nowhere:config"]
)
def test_an_input_that_is_not_there(tmp_path, name):
    with pytest.raises(InputError, match="there is no such file or folder"):
        run_stage(tmp_path / "out", "test", {}, {"file": name}, Work())
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
    manifest = run_stage(tmp_path / "out", "test", {}, {}, Work())
    assert describe_input(tmp_path / "out") == {"name": "out", "hash": manifest["files_hash"]}


def test_the_folder_of_a_published_dataset_is_an_input(tmp_path):
    """It has a manifest.json too, of the stages that made its splits."""
    (tmp_path / "manifest.json").write_text('{"train": {"row_hash": "x"}}')
    (tmp_path / "a.txt").write_text("a")
    assert describe_input(tmp_path)["hash"] == files_hash(tmp_path)


@pytest.mark.parametrize("mark", ["", "half"])
def test_a_mark_cut_short_by_a_kill(tmp_path, mark):
    partial = tmp_path / ".out.partial"
    partial.mkdir()
    (partial / ".stage.json").write_text(mark)
    (partial / "data.txt").write_text("nobody knows whose")
    work = Work()
    run_stage(tmp_path / "out", "test", {}, {}, work)
    assert work.found == []


def test_the_result_of_another_stage_and_an_input_are_never_written_over(tmp_path):
    run_stage(tmp_path / "model", "model", {}, {}, lambda folder: {"files_hash": "m"})
    with pytest.raises(InputError, match=r"another stage \(model\)"):
        run_stage(tmp_path / "model", "pairs", {}, {}, lambda folder: {"files_hash": "p"})
    with pytest.raises(InputError, match="is an input"):
        run_stage(tmp_path / "model", "model", {}, {"base": tmp_path / "model"}, lambda folder: {"files_hash": "p"})
    assert json.loads((tmp_path / "model" / "manifest.json").read_text())["files_hash"] == "m"
