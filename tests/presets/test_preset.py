"""Presets: how they are read."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from openprm.errors import InputError
from openprm.presets import preset as preset_module
from openprm.presets.preset import load_preset


def write(folder: Path, stages: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(
        stages if isinstance(stages, str) else yaml.safe_dump({"stages": stages}, sort_keys=False), "utf-8"
    )
    return str(path)


PROMPTS = {"run": "toy-prompts", "split": "train", "n": 2}

BROKEN = {
    "not YAML": ("stages: [", "not YAML"),
    "a list": ("- a", "a preset has a mapping `stages`"),
    "no stages": ("steps: {}", "a preset has a mapping `stages`"),
    "a kind there is not": (
        {"one": {"run": "smaple"}},
        "stage 'one': there is no stage 'smaple'; did you mean 'sample'",
    ),
    "an unknown parameter": ({"mine": {**PROMPTS, "splt": "x"}}, "stage 'mine': .*'splt'; did you mean 'split'"),
    "a missing parameter": ({"mine": {"run": "toy-prompts", "n": 2}}, "stage 'mine': toy-prompts needs `split`"),
    "a number in words": ({"mine": {**PROMPTS, "n": "two"}}, "stage 'mine': n is 'two': .*valid integer"),
    "no mapping": ({"one": 3}, "stage 'one' needs `run`"),
    "a misspelt input": (
        {"prompts": PROMPTS, "c": {"run": "sample", "prompts": "promts", "model": "meta-llama/Llama-3.1-8B"}},
        r"stage 'c' takes 'promts' for its prompts: that is no stage before it \(prompts\)",
    ),
    "a stage that comes later": (
        {"trees": {"run": "trees", "candidates": "c"}, "c": {"run": "sample", "prompts": "x/y", "model": "x/y"}},
        "stage 'trees' takes 'c' for its candidates: that is no stage before it",
    ),
    "a misspelt one among several": (
        {"p": PROMPTS, "orm": {"run": "train", "base": "x/y", "pairs": {"one": "x/y", "two": "pears"}}},
        "stage 'orm' takes 'pears' for its pairs",
    ),
    "a path that is not there": (
        {"trees": {"run": "trees", "candidates": "./nowhere/candidates"}},
        "takes './nowhere/candidates'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_preset_is_refused_before_anything_runs(tmp_path: Path, name: str):
    stages, message = BROKEN[name]
    with pytest.raises(InputError, match=message):
        load_preset(write(tmp_path, stages))


def test_an_unknown_preset_is_named_with_those_there_are(tmp_path: Path):
    with pytest.raises(InputError, match=r"no preset 'tny'; there are .*tiny"):
        load_preset("tny")
    with pytest.raises(InputError, match="no preset"):
        load_preset(str(tmp_path / "nowhere.yaml"))
    (tmp_path / "latin.yaml").write_bytes("stages: {é: 1}".encode("latin-1"))
    with pytest.raises(InputError, match="not YAML"):
        load_preset(str(tmp_path / "latin.yaml"))


def test_inputs_may_be_stages_paths_and_ids(tmp_path: Path):
    stages = {
        "prompts": PROMPTS,
        "candidates": {"run": "sample", "prompts": "prompts", "model": "meta-llama/Llama-3.1-8B"},
        "trees": {"run": "trees", "candidates": str(tmp_path)},
    }
    assert list(load_preset(write(tmp_path, stages))["stages"]) == [*stages]


def test_installed_presets_can_be_read():
    names = [item.name[:-5] for item in files("openprm.presets").iterdir() if item.name.endswith(".yaml")]
    assert "tiny" in names
    needed: dict[str, dict[str, str]] = {"own": {"data": "x/y", "base": "x/z"}}
    asked = ("prompts", "test_prompts", "policy", "base")
    needed |= dict.fromkeys(("math-shepherd", "mips", "omega", "step-dpo", "table8"), dict.fromkeys(asked, "x/y"))
    needed["lessons"] = {**needed["mips"], "judge": "some", "servers": "[http://127.0.0.1:9]"}
    needed["prm800k"] = dict.fromkeys(("train", "test", "base"), "x/y")
    for name in names:
        assert load_preset(name, needed.get(name))["stages"]


def test_presets_of_the_evidence_can_be_read():
    """What they read is given: it lies in the folder of a run, or in a user's file."""
    folder = Path(__file__).parents[2] / "evidence"
    given = {
        "levers": dict.fromkeys(("trees", "candidates", "policy", "test"), "x/y"),
        "options": dict.fromkeys(("pairs", "policy", "candidates"), "x/y"),
        "smol": {"ifeval": "x/y"},
        "stored": dict.fromkeys(("data", "base"), "x/y"),
    }
    assert {path.stem for path in folder.glob("*.yaml")} == {*given}
    for name, settings in given.items():
        assert load_preset(str(folder / f"{name}.yaml"), settings)["stages"]


def test_tiny_needs_nothing_but_its_own_stages():
    stages = load_preset("tiny")["stages"]
    earlier: set[str] = set()
    for name, entry in stages.items():
        assert {value for _, value in preset_module._references(entry)} <= earlier, name
        earlier.add(name)


@pytest.mark.parametrize("name", ["tiny", "paper", "own"])
def test_presets_name_what_trees_are_merged_by(name: str):
    stages = yaml.safe_load((files("openprm") / "presets" / f"{name}.yaml").read_text("utf-8"))["stages"]
    trees = [stage for stage in stages.values() if stage["run"] == "trees"]
    assert all(stage.keys() >= {"separator", "similarity", "threshold"} for stage in trees), trees
