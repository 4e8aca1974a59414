"""A small run of real stages, and its layout."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from openprm.push.publish import Publish

from tests.local_hub import Hub
from tests.publication import Fields, datasets_of


@pytest.fixture(scope="session")
def fields(run: Path) -> Fields:
    """The fields of `Publish` for the whole run."""
    made = {"models": {"prm": str(run / "openprm")}, "evaluation": str(run / "evaluation"), "demo": "prm"}
    return {**datasets_of(run), **made, "license": "mit"}


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory, fields: Fields) -> Path:
    """The owner's folder, which no test may change."""
    out = tmp_path_factory.mktemp("published") / "hub"
    Publish(**fields).run(out)
    return out / "openprm"


@pytest.fixture
def root(layout: Path, tmp_path: Path) -> Path:
    """The owner's folder, to change at will."""
    return shutil.copytree(layout, tmp_path / "openprm")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with Hub(tmp_path / "hub") as hub:
        yield hub
