"""The last look before anything is sent: what it lets through, and what not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from openprm.push.layout import publish_locally, write_publication
from openprm.push.preflight import make_ready

from openprm.errors import InputError
from openprm.runs.dataset import finish_dataset
from openprm.runs.folder import write_shard
from openprm.runs.manifest import run_stage
from openprm.schema import Candidate
from tests.folders import candidate

ORIGINS = [{"name": "sums", "kind": "data", "license": "MIT"}]


def laid_out(folder: Path, response: str = "Two. Three.") -> Path:
    def work(part: Path) -> dict[str, Any]:
        write_shard(part, 0, [candidate("p", index, response, index % 2) for index in range(4)], Candidate)
        return {**finish_dataset(part, Candidate, "candidates", 1, {"prompts": 1}), "origins": ORIGINS}

    run_stage(folder / "candidates", "test", {}, {}, work)
    publish_locally(folder / "hub", candidates={"train": str(folder / "candidates")})
    return folder / "hub" / "openprm"


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid_out(tmp_path_factory.mktemp("layout"))


@pytest.fixture
def root(untouched: Path, tmp_path: Path) -> Path:
    return shutil.copytree(untouched, tmp_path / "openprm")


def manifest(root: Path) -> dict[str, Any]:
    return json.loads((root / "candidates" / "manifest.json").read_text("utf-8"))


def test_what_was_laid_out_is_ready(root: Path):
    before = manifest(root)
    assert make_ready(root) == {"candidates": before}
    assert manifest(root) == before


def test_a_card_edited_by_hand_is_entered(root: Path):
    card = root / "candidates" / "README.md"
    card.write_text(card.read_text("utf-8").replace("## Columns", "Ask us about them.\n\n## Columns"), "utf-8")
    before = manifest(root)
    ready = make_ready(root)["candidates"]
    assert ready == manifest(root)
    assert ready["files"].pop("README.md") != before["files"].pop("README.md")
    assert ready == before


def test_a_card_with_a_number_of_its_own_is_refused(root: Path):
    card = root / "candidates" / "README.md"
    card.write_text(card.read_text("utf-8") + "\nIt reaches an accuracy of 0.987.\n", "utf-8")
    before = manifest(root)
    with pytest.raises(InputError, match=r"README\.md: .*0\.987"):
        make_ready(root)
    assert manifest(root) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "notes.txt").write_text("x"), "notes.txt was added"),
        (lambda folder: (folder / "statistics.png").unlink(), "statistics.png is missing"),
        (lambda folder: (folder / "statistics.png").write_bytes(b"other"), "statistics.png was changed"),
    ],
)
def test_files_that_are_not_as_laid_out_are_told(root: Path, change: Any, message: str):
    change(root / "candidates")
    with pytest.raises(InputError, match=message):
        make_ready(root)


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"published_by": "openprm 1", "kind": "trees"}'])
def test_a_stray_folder_is_told(root: Path, manifest: str | None):
    (root / "notes").mkdir()
    if manifest is not None:
        (root / "notes" / "manifest.json").write_text(manifest)
    with pytest.raises(InputError, match=r"notes has no manifest\.json of a publication; .*move it elsewhere"):
        make_ready(root)


def test_a_stray_file_is_told(root: Path):
    (root / ".DS_Store").write_text("x")
    with pytest.raises(InputError, match=r"\.DS_Store is no repository; move it elsewhere"):
        make_ready(root)


def test_a_card_that_is_gone_or_no_text_is_told(root: Path):
    card = root / "candidates" / "README.md"
    card.write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"README\.md cannot be read"):
        make_ready(root)
    card.unlink()
    with pytest.raises(InputError, match=r"README\.md is missing"):
        make_ready(root)


def test_results_that_no_manifest_has_are_refused(root: Path):
    results = root / "candidates" / ".eval_results" / "best_of_n.yaml"
    results.parent.mkdir()
    results.write_text("- value: 0.987654\n")
    before = manifest(root)
    del before["files"]
    write_publication(root / "candidates", before)
    with pytest.raises(InputError, match=r"best_of_n\.yaml: value 0\.987654: no manifest has it"):
        make_ready(root)


def test_secrets_and_places_are_told_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    secret = "a-secret-of-mine-1234"
    monkeypatch.setenv("SOME_API_KEY", secret)
    root = laid_out(tmp_path, f"The key is {secret}.")
    with pytest.raises(InputError, match=r"candidates/data/train-00000\.parquet") as told:
        make_ready(root)
    assert secret not in str(told.value)
    make_ready(root, allow=[secret])
    place = "/srv/somewhere/runs"
    path = laid_out(tmp_path / "other", f"It lies in {place}/tiny")
    with pytest.raises(InputError, match=r"train-00000\.parquet"):
        make_ready(path, allow=[secret], places=[place])


def test_a_token_in_a_text_is_told_with_its_row(tmp_path: Path):
    root = laid_out(tmp_path, "Use hf_" + "abcdefGHIJ" * 3 + "abcd as the token.")
    with pytest.raises(InputError, match="row 1, column response"):
        make_ready(root)
    assert os.listdir(root) == ["candidates"]
