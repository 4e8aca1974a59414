"""Origins are handed on from stage to stage, and what says nothing of its own is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openprm.folder import read_manifest
from openprm.origins import Origin, inherited, unique, with_licences
from openprm.shared_stage import run_shared_stage
from openprm.stages import run_stage

MATH = Origin(name="math", kind="data", licence="MIT")
POLICY = Origin(name="policy", kind="model", licence="llama3.1")


def stage(out: Path, inputs: list[Path], own: list[Origin] | None = None) -> Path:
    def work(folder: Path) -> dict[str, Any]:
        return {"files_hash": out.name, "counts": {}, **({} if own is None else {"origins": own})}

    run_stage(out, "test", {}, {str(index): path for index, path in enumerate(inputs)}, work)
    return out


def test_a_stage_takes_over_those_of_its_inputs_once(tmp_path):
    prompts = stage(tmp_path / "prompts", [], [MATH])
    policy = stage(tmp_path / "policy", [prompts], [POLICY, MATH])
    last = stage(tmp_path / "last", [prompts, policy])
    assert read_manifest(last)["origins"] == [MATH, POLICY]


def test_a_stage_that_knows_better_says_so(tmp_path):
    (tmp_path / "copy.jsonl").write_text("{}")
    assert read_manifest(stage(tmp_path / "out", [tmp_path / "copy.jsonl"], [MATH]))["origins"] == [MATH]


def test_a_shared_stage_hands_on_too(tmp_path):
    prompts = stage(tmp_path / "prompts", [], [MATH])

    def finish(shared: Path, folder: Path) -> dict[str, Any]:
        return {"files_hash": "x", "counts": {}}

    manifest = run_shared_stage(tmp_path / "out", "test", {}, {"prompts": prompts}, lambda shared: True, finish)
    assert manifest is not None
    assert manifest["origins"] == [MATH]


def test_origins_are_no_part_of_what_a_stage_is_known_by(tmp_path):
    first = read_manifest(stage(tmp_path / "a", [], [MATH]))
    assert first["fingerprint"] == read_manifest(stage(tmp_path / "b", [], [POLICY]))["fingerprint"]


def test_a_file_is_an_origin_without_a_licence(tmp_path):
    (tmp_path / "answers.jsonl").write_text("{}")
    assert inherited([tmp_path / "answers.jsonl"]) == [{"name": "answers.jsonl", "kind": "data", "licence": None}]


def test_a_folder_of_others_is_one_under_the_licence_of_its_card(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    assert inherited([model]) == [{"name": "model", "kind": "model", "licence": None}]
    (model / "README.md").write_text("---\nlicense: llama3.1\n---\n# Model\n")
    assert inherited([model]) == [{"name": "model", "kind": "model", "licence": "llama3.1"}]
    (model / "README.md").write_text("# no YAML\n---\n: [\n---\n")
    assert inherited([model]) == [{"name": "model", "kind": "model", "licence": None}]


def test_a_published_folder_says_its_own(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"published_by": "openprm 1", "origins": [MATH]}))
    assert inherited([tmp_path]) == [MATH]


def test_licences_named_by_hand():
    assert with_licences([{"name": "a", "licence": None}, MATH], {"a": "CC0-1.0"}) == [
        {"name": "a", "licence": "CC0-1.0"},
        MATH,
    ]
    assert unique([MATH, POLICY, MATH]) == [MATH, POLICY]
