"""The last look before anything is sent: what it lets through, and what not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openprm.push.preflight import check_layout, laid_out
from openprm.push.publish import Publish

from openprm.errors import InputError
from openprm.schema import Candidate
from tests.folders import candidate, dataset
from tests.publication import change_manifest
from tests.push.uploads import ORDER, TYPES, contents


def check(root: Path, **options: Any) -> None:
    check_layout(laid_out(root), **options)


def test_repositories_are_found_in_the_order_of_sending(root: Path, tmp_path: Path):
    found = laid_out(root)
    assert [publication.name for publication in found] == [f"openprm/{name}" for name in ORDER]
    assert {name: publication.type for name, publication in zip(ORDER, found, strict=True)} == TYPES
    assert found[0].sizes() == {path: len(content) for path, content in contents(root / "candidates").items()}
    with pytest.raises(InputError, match="there is no repository to publish"):
        laid_out(tmp_path / "nothing")
    (root / "notes").mkdir()
    with pytest.raises(InputError, match=r"notes was not published by openprm: it has no manifest\.json"):
        laid_out(root)
    (root / "notes").rmdir()
    (root / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"notes\.txt is not a repository; move it elsewhere"):
        laid_out(root)


def test_a_layout_that_was_left_alone_is_ready(layout: Path):
    check(layout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "notes.txt").write_text("x"), "notes.txt is not listed in manifest.json"),
        (lambda folder: (folder / "statistics.png").unlink(), "statistics.png is missing"),
        (lambda folder: (folder / "statistics.png").write_bytes(b"other"), "statistics.png was changed.*"),
        (lambda folder: (folder / "README.md").write_text("mine"), "README.md was changed.*"),
        (lambda folder: (folder / "README.md").unlink(), "README.md is missing"),
        (lambda folder: (folder / ".eval_results" / "best_of_n.yaml").write_text("- value: 0.98\n"), "was changed.*"),
        (
            lambda folder: change_manifest(folder, lambda manifest: manifest.update(license="gpl-3.0")),
            "README.md is not what its manifest says",
        ),
    ],
)
def test_files_that_are_not_as_laid_out_are_told(root: Path, change: Any, message: str):
    """A card is what its manifest says."""
    change(root / "prm")
    with pytest.raises(InputError, match=f"{message}; lay it out again"):
        check(root)


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
