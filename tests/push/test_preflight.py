"""The last look before anything is sent: what it lets through, and what not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from openprm.push.preflight import check_layout
from openprm.push.publish import Publish
from openprm.push.repositories import repositories

from openprm.errors import InputError
from openprm.schema import Candidate
from tests.folders import candidate, dataset


@pytest.fixture
def root(layout: Path, tmp_path: Path) -> Path:
    return shutil.copytree(layout, tmp_path / "somebody")


def check(root: Path, **options: Any) -> None:
    check_layout(repositories(root, root.name), **options)


def test_a_layout_that_was_left_alone_is_ready(layout: Path):
    check(layout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "notes.txt").write_text("x"), "notes.txt was added"),
        (lambda folder: (folder / "statistics.png").unlink(), "statistics.png is missing"),
        (lambda folder: (folder / "statistics.png").write_bytes(b"other"), "statistics.png was changed"),
        (lambda folder: (folder / "README.md").write_text("mine"), "README.md was changed"),
        (lambda folder: (folder / "README.md").unlink(), "README.md is missing"),
        (lambda folder: (folder / ".eval_results" / "best_of_n.yaml").write_text("- value: 0.98\n"), "was changed"),
        (lambda folder: change_manifest(folder, "license: mit", "license: gpl-3.0"), "README.md was changed"),
    ],
)
def test_files_that_are_not_as_laid_out_are_told(root: Path, change: Any, message: str):
    """A card is what its manifest says."""
    change(root / "prm")
    with pytest.raises(InputError, match=f"{message}; lay it out again"):
        check(root)


def change_manifest(folder: Path, old: str, new: str) -> None:
    path = folder / "manifest.json"
    old, new = (text.replace("license: ", '"license": "') for text in (old, new))
    path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")


def test_secrets_and_places_are_told_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    secret, place = "a-secret-of-mine-1234", "/srv/somewhere/runs"
    monkeypatch.setenv("SOME_API_KEY", secret)
    rows = [candidate("p", index, f"It is {text}.", index % 2) for index, text in enumerate((secret, f"in {place}/x"))]
    candidates = dataset(tmp_path / "candidates", Candidate, rows)
    Publish(candidates={"train": str(candidates)}, license="mit").run(tmp_path / "hub")
    root = tmp_path / "hub" / "openprm"
    with pytest.raises(InputError, match=r"candidates/data/train-00000\.parquet, row 1, column response") as told:
        check(root)
    assert secret not in str(told.value)
    check(root, allow=[secret])
    with pytest.raises(InputError, match=r"train-00000\.parquet, row 2, column response: place on this machine"):
        check(root, allow=[secret], places=[place])
