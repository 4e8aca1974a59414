"""Presets are run whole, in part, and from what is published."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.presets.preset import load_preset
from openprm.presets.run import PRESET, check_published, run_preset
from openprm.runs.declaration import STAGES
from openprm.runs.folder import read_manifest
from openprm.runs.manifest import describe_input
from tests.folders import contents
from tests.miniature import finished_run, miniature, run_folder  # noqa: F401 (fixtures)
from tests.publication import change_manifest, make_run, publish

from .test_preset import PROMPTS, write


def test_until_ends_behind_the_last_stage_of_a_kind_or_name(tmp_path: Path):
    stages = {
        "first": PROMPTS,
        "model": {"run": "toy-policy", "steps": 2},
        "second": {**PROMPTS, "split": "test"},
        "third": {**PROMPTS, "n": 3},
    }
    preset = load_preset(write(tmp_path, stages))

    def run(until: str | None) -> list[str]:
        return [*run_preset(preset, tmp_path / "out", until=until, say=lambda _: None)]

    assert run("first") == ["first"]
    assert run("toy-policy") == ["first", "model"]
    assert run("toy-prompts") == run(None) == [*stages]
    with pytest.raises(InputError, match="no stage 'trees'; its kinds are toy-prompts, toy-policy"):
        run("trees")


def test_a_run_s_folder_holds_its_preset(tmp_path: Path):
    preset = load_preset(write(tmp_path, {"mine": PROMPTS}))
    run_preset(preset, tmp_path / "out", say=lambda _: None)
    assert load_preset(str(tmp_path / "out" / PRESET)) == preset


def test_a_changed_preset_is_refused_and_replaces_by_force_what_differs(tmp_path: Path):
    def stages(n: int) -> dict[str, Any]:
        return load_preset(write(tmp_path, {"first": PROMPTS, "second": {**PROMPTS, "n": n, "split": "test"}}))

    def run(n: int, **options: Any) -> list[str]:
        said: list[str] = []
        run_preset(stages(n), tmp_path / "out", say=said.append, **options)
        return [line.partition(" (")[0] for line in said if not line.endswith(" ...")]

    first, second = tmp_path / "out" / "first", tmp_path / "out" / "second"
    assert run(3) == [f"first: {first}", f"second: {second}"]
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match=r"out/second was made with n 3, not 4; .*--force"):
        run(4)
    assert contents(tmp_path / "out") == before  # with its preset
    assert run(4, force=True) == [f"first: {first} was already made", f"second: {second}"]
    assert read_manifest(second)["rows"] == 4
    assert load_preset(str(tmp_path / "out" / PRESET)) == stages(4)


#: What `tests.publication` publishes, as a preset would make it, and a control that is not published.
PUBLISHED: dict[str, dict[str, Any]] = {
    "prompts": PROMPTS,
    "samples": {"run": "sample", "prompts": "prompts", "model": "x/y"},
    "samples-test": {"run": "sample", "prompts": "prompts", "model": "x/y"},
    "candidates": {"run": "reward", "candidates": "samples", "by": "answer"},
    "candidates-test": {"run": "reward", "candidates": "samples-test", "by": "answer"},
    "trees": {"run": "trees", "candidates": "candidates", "separator": "line", "distinct_numbers": True},
    "trees-test": {"run": "trees", "candidates": "candidates-test", "separator": "line", "distinct_numbers": True},
    "pairs": {"run": "pairs", "trees": "trees", "min_gap": 0.2, "select": "all", "outcome": "best"},
    "pairs-test": {"run": "pairs", "trees": "trees-test", "min_gap": 0.2, "select": "all", "outcome": "best"},
    "control": {"run": "pairs", "trees": "trees", "min_gap": 0.2, "shuffle_rewards": 0},
    "trained": {"run": "train", "pairs": {"one": "control"}, "base": "x/y"},
    "hub": {
        "run": "publish",
        **{kind: {"train": kind, "test": f"{kind}-test"} for kind in ("candidates", "trees", "pairs")},
    },
}


@pytest.fixture(scope="module")
def published_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("reproduce") / "run")


@pytest.fixture
def owner(published_run: Path, tmp_path: Path) -> Path:
    return publish(published_run, tmp_path / "owner")


def begin(tmp_path: Path, owner: Path, start: str, until: str, **changed: Any) -> tuple[list[str], Path]:
    said: list[str] = []
    preset = {"stages": {**PUBLISHED, **changed}}
    given: dict[str, Any] = {"start": start, "until": until, "published": str(owner), "force": bool(changed)}
    run_preset(preset, tmp_path / "out", say=said.append, **given)
    return [line for line in said if not line.endswith((" ...", " s)", " already made"))], tmp_path / "out"


def test_a_run_begins_from_what_is_published(tmp_path: Path, owner: Path, published_run: Path):
    said, out = begin(tmp_path, owner, "pairs", "pairs")
    assert said == [
        f"trees: from {owner}/trees (train)",
        f"trees-test: from {owner}/trees (test)",
        f"pairs: identical to {owner}/pairs (train)",
        f"pairs-test: identical to {owner}/pairs (test)",
    ]
    assert sorted(folder.name for folder in out.iterdir() if folder.name[0] != ".") == [
        *("control", "pairs", "pairs-test", PRESET, "trees", "trees-test"),
    ]
    for name in ("pairs", "pairs-test", "trees", "trees-test"):
        made, before = contents(out / name), contents(published_run / name)
        before.pop("rejected.jsonl", None)
        said = [json.loads(files.pop("manifest.json")) for files in (made, before)]
        assert said[0].pop("origins")  # what was published is one, which the first run was not told
        said[1].pop("origins")
        assert said[0] == said[1]
        assert made == before


def test_a_run_begins_from_one_project_of_several(tmp_path: Path, owner: Path):
    for name in ("trees", "pairs"):
        (owner / name).rename(owner / f"psychology-{name}")
    said, _ = begin(tmp_path, owner, "pairs", "pairs", hub={**PUBLISHED["hub"], "prefix": "psychology-"})
    assert [line.split(owner.name)[-1] for line in said] == [
        *("/psychology-trees (train)", "/psychology-trees (test)"),
        *("/psychology-pairs (train)", "/psychology-pairs (test)"),
    ]


def test_a_run_begun_in_the_middle_does_nothing_twice(tmp_path: Path, owner: Path):
    _, out = begin(tmp_path, owner, "trees", "pairs")
    before = {file: file.stat().st_mtime_ns for file in out.glob("*/*.*")}
    begin(tmp_path, owner, "trees", "pairs")
    begin(tmp_path, owner, "pairs-test", "pairs-test")
    assert {file: file.stat().st_mtime_ns for file in out.glob("*/*.*")} == before


def test_what_is_needed_and_not_published_is_made(tmp_path: Path, owner: Path, monkeypatch: pytest.MonkeyPatch):
    trained: list[Any] = []
    monkeypatch.setattr(STAGES["train"], "run", lambda self, out, **_: trained.append((out, self.pairs)) or {})
    said, out = begin(tmp_path, owner, "trained", "train")
    assert said == [f"trees: from {owner}/trees (train)", "control: not published, so it is made here"]
    assert trained == [(out / "trained", {"one": str(out / "control")})]
    assert read_manifest(out / "control")["parameters"]["shuffle_rewards"] == 0


def test_a_name_goes_before_a_kind_of_stage(tmp_path: Path, owner: Path, monkeypatch: pytest.MonkeyPatch):
    for kind in ("sample", "reward"):
        monkeypatch.setattr(STAGES[kind], "run", lambda self, out, **_: {"row_hash": "0"})
    said, _ = begin(tmp_path, owner, "candidates", "candidates-test")
    assert said[:3] == [
        f"{name}: not published, so it is made here" for name in ("prompts", "samples", "samples-test")
    ]
    assert said[3].startswith(f"candidates: NOT identical to {owner}/candidates (train)")


def test_another_result_than_the_published_is_told(tmp_path: Path, owner: Path):
    said, _ = begin(tmp_path, owner, "pairs", "pairs-test", pairs={**PUBLISHED["pairs"], "min_gap": 0.6})
    assert said[2:] == [
        f"pairs: NOT identical to {owner}/pairs (train); `openprm verify --against` says where",
        f"pairs-test: identical to {owner}/pairs (test)",
    ]
    shutil.rmtree(owner / "pairs")
    said, _ = begin(tmp_path, owner, "pairs", "pairs", pairs=PUBLISHED["pairs"])
    assert said[2].startswith(f"pairs: not compared: {owner}/pairs is neither a folder that exists nor")


IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "no such stage": ({"start": "tree"}, "no stage 'tree'; its kinds are toy-prompts, sample,"),
    "an end before the start": (
        {"start": "pairs", "until": "trees"},
        r"would end \(at 'trees-test'\) before it starts \(at 'pairs'\)",
    ),
    "no start": ({"start": None}, "give both --start and --from"),
    "no owner": ({"published": None}, "give both --start and --from"),
    "no such owner": ({"published": "./nowhere"}, "neither a folder that exists nor OWNER"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_begun_is_said_before_anything_is_made(tmp_path: Path, owner: Path, name: str):
    changed, message = IMPOSSIBLE[name]
    arguments = {"start": "pairs", "until": "pairs", "published": str(owner), **changed}
    with pytest.raises(InputError, match=message):
        run_preset({"stages": PUBLISHED}, tmp_path / "out", say=lambda _: None, **arguments)
    assert not (tmp_path / "out").exists()


def test_what_the_preset_publishes_must_be_there(tmp_path: Path, owner: Path):
    change_manifest(owner / "trees", lambda manifest: manifest["parts"].pop("test"))
    with pytest.raises(InputError, match=r"trees has no part 'test'; there are: train"):
        begin(tmp_path, owner, "pairs", "pairs")
    shutil.rmtree(owner / "trees")
    with pytest.raises(InputError, match=r"trees is neither a folder that exists nor"):
        begin(tmp_path, owner, "pairs", "pairs")
    assert not (tmp_path / "out").exists()


def test_a_stage_called_like_a_later_one_s_input_is_a_path(tmp_path: Path, owner: Path, published_run: Path):
    """Only earlier stages are inputs; what a later one is called may be a folder."""
    stages = {
        "pairs": {"run": "pairs", "trees": str(published_run / "trees"), "min_gap": 0.2},
        "trees": PUBLISHED["trees"],
    }
    run_preset({"stages": stages}, tmp_path / "out", until="pairs", say=lambda _: None)
    assert read_manifest(tmp_path / "out" / "pairs")["inputs"]["trees"]["name"] == "trees"


@pytest.mark.slow
def test_a_whole_run_from_published_candidates_ends_as_it_ended(tmp_path: Path, finished_run: Path):  # noqa: F811
    said: list[str] = []
    out, published = tmp_path / "out", str(finished_run / "hub" / "openprm")
    run_preset(miniature(), out, start="trees", published=published, say=said.append)
    results = [line for line in said if "identical" in line]
    assert len(results) == 8
    assert not [line for line in results if "NOT" in line]
    for name in (folder.name for folder in out.iterdir() if folder.is_dir()):
        assert describe_input(out / name) == describe_input(finished_run / name), name


@pytest.mark.slow
def test_a_finished_run_is_not_repeated_and_loads_without_the_package(
    run_folder: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    preset = miniature()
    folders = {name: run_folder / name for name in preset["stages"]}
    logs = {name: (folder / "log.jsonl").read_text() for name, folder in folders.items()}
    manifests = run_preset(preset, run_folder, say=lambda _: None)
    assert {name: (folder / "log.jsonl").read_text() for name, folder in folders.items()} == logs  # nothing ran
    assert [*manifests] == [*preset["stages"]]
    for name, manifest in manifests.items():
        assert read_manifest(folders[name]) == manifest
        assert str(run_folder.parent.parent) not in (folders[name] / "manifest.json").read_text()
    assert manifests["candidates"]["rows"] == 12 * 4

    # a stale cache of the user's must not answer in the fresh process's place, nor this package
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "stale"))
    (tmp_path / "openprm.py").write_text("raise ImportError", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told = check_published(folders["hub"], "openprm")
    assert not (tmp_path / "stale").exists()
    assert "load_dataset('openprm/candidates', 'default'): {'train': 48, 'test': 48}" in told
    sizes = {split: manifests[name]["rows"] for split, name in (("train", "pairs"), ("test", "pairs-test"))}
    assert f"load_dataset('openprm/pairs', 'all'): {sizes}" in told
    for model in ("openprm", "orm"):
        assert f"pipeline('openprm-scoring', model='openprm/{model}'): {{'score': " in told
    (folders["hub"] / "openprm" / "orm" / "packing.py").unlink()
    with pytest.raises(InputError, match=r"a fresh process cannot load what was published"):
        check_published(folders["hub"], "openprm")
    assert os.environ["HF_DATASETS_CACHE"] == str(tmp_path / "stale")
