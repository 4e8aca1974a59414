"""Origins are handed on from stage to stage, and what says nothing of its own is one."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.runs.folder import read_manifest
from openprm.runs.manifest import describe_input, run_stage
from openprm.runs.provenance import Origin, choose_license, inherited, with_licenses

MATH = Origin(name="math", kind="data", license="MIT")
POLICY = Origin(name="policy", kind="model", license="llama3.1")


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


def test_a_stage_may_say_its_origins_itself(tmp_path):
    (tmp_path / "copy.jsonl").write_text("{}")
    assert read_manifest(stage(tmp_path / "out", [tmp_path / "copy.jsonl"], [MATH]))["origins"] == [MATH]


def test_a_file_is_an_origin_without_a_license(tmp_path):
    (tmp_path / "answers.jsonl").write_text("{}")
    assert inherited({"candidates": tmp_path / "answers.jsonl"}) == [
        {"name": "answers.jsonl", "kind": "data", "license": None}
    ]


def test_a_folder_of_others_is_one_under_the_license_of_its_card(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    assert inherited({"base": model}) == [{"name": "model", "kind": "model", "license": None}]
    (model / "README.md").write_text("---\nlicense: llama3.1\n---\n# Model\n")
    assert inherited({"base": model}) == [{"name": "model", "kind": "model", "license": "llama3.1"}]
    (model / "README.md").write_text("# no YAML\n---\n: [\n---\n")
    assert inherited({"base": model}) == [{"name": "model", "kind": "model", "license": None}]


def test_a_published_folder_says_its_own(tmp_path):
    folder = tmp_path / "trees"
    folder.mkdir()
    said = {"published_by": "openprm 1", "kind": "trees", "license": "cc-by-nc-4.0", "origins": [MATH]}
    (folder / "manifest.json").write_text(json.dumps(said))
    itself = {"name": "trees", "kind": "data", "license": "cc-by-nc-4.0"}
    assert inherited({"trees": folder}) == inherited({"trees": f"{folder}:process"}) == [MATH, itself]
    (folder / "manifest.json").write_text(json.dumps({**said, "license": "mit"}))
    assert inherited({"trees": folder}) == [MATH]
    (folder / "manifest.json").write_text(json.dumps({**said, "origins": ["math"]}))
    with pytest.raises(InputError, match=r"trees: its manifest.json does not say what it derives from"):
        inherited({"trees": folder})


@pytest.mark.parametrize(
    ("lines", "license"),
    [
        ("license: [mit]", "mit"),
        ("license: [mit, cc-by-nc-4.0]", None),
        ("license: other\nlicense_name: my-own", "my-own"),
        ("license: other", None),
        ("license: unknown", None),
        ("license: {a: b}", None),
    ],
)
def test_the_license_of_a_card(tmp_path, lines: str, license: str | None):
    (tmp_path / "README.md").write_text(f"---\n{lines}\n---\n# Data\n")
    assert inherited({"data": tmp_path})[0]["license"] == license


def test_the_role_tells_a_model_from_a_dataset_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for letter, license in (("d", "mit"), ("m", "[llama3.1]")):
        (tmp_path / (letter * 40)).mkdir()
        (tmp_path / (letter * 40) / "README.md").write_text(f"---\nlicense: {license}\n---\n")

    def commit(repo_type: str) -> str:
        return repo_type[0] * 40

    monkeypatch.setattr(
        "huggingface_hub.HfApi.repo_info", lambda *_, repo_type, **__: SimpleNamespace(sha=commit(repo_type))
    )
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *_, repo_type, **__: str(tmp_path / commit(repo_type))
    )
    for role, kind, letter, license in (("base", "model", "m", "llama3.1"), ("pairs", "data", "d", "mit")):
        (origin,) = inherited({role: "somebody/both"})
        assert (origin["kind"], origin["revision"], origin["license"]) == (kind, letter * 40, license)
        assert describe_input("somebody/both", role) == {"name": "somebody/both", "hash": letter * 40}


@pytest.mark.parametrize("licenses", [("mit", "CC-BY-NC-4.0"), ("my-own",), (None,), ("mit", "isc"), ()])
def test_only_sources_under_one_permissive_license_need_no_choice(licenses: tuple[str | None, ...]):
    assert choose_license([Origin(name="a", license="MIT"), Origin(name="b", license="mit")], None) == "mit"
    origins = [Origin(name=f"data{index}", license=license) for index, license in enumerate(licenses)]
    with pytest.raises(InputError, match="--license") as told:
        choose_license(origins, None)
    assert all(f"{origin['name']} ({origin['license'] or 'unknown'})" in str(told.value) for origin in origins)
    assert choose_license(origins, "CC-BY-NC-4.0") == "cc-by-nc-4.0"


def test_licenses_named_by_the_user():
    origins: list[Origin] = [{"name": "a", "license": None}, MATH]
    assert with_licenses(origins, {"a": "CC0-1.0", "math": "CC0-1.0"}) == [{"name": "a", "license": "CC0-1.0"}, MATH]
