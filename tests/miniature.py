"""The preset `tiny` with less of everything, one seed of each model, run once for all tests that need a whole run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from openprm.presets.preset import load_preset
from openprm.presets.run import PRESET, run_preset

LESS: dict[str, dict[str, Any]] = {
    "toy-prompts": {"n": 12},
    "toy-policy": {"steps": 40},
    "sample": {"n": 4, "max_new_tokens": 40},
    "pairs": {"min_gap": 0.01},
    "search": {"budget": 4},
    "train": {"max_steps": 3, "batch_size": 8, "warmup_steps": 1},
}


def miniature(owner: str = "openprm") -> dict[str, Any]:
    """The preset; whoever changes it changes a copy."""
    preset = load_preset("tiny")
    preset["stages"] = {
        name: {**entry, **LESS.get(entry["run"], {})}
        for name, entry in preset["stages"].items()
        if not name.endswith(("-1", "-2"))
    }
    for entry in preset["stages"].values():
        if entry["run"] == "choices":
            entry["scores"] = {name: path for name, path in entry["scores"].items() if name.endswith("-0")}
            entry["kinds"] = {}
    preset["stages"]["hub"]["owner"] = owner
    return preset


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of a finished run, which nobody may change: pytest's workers share it."""
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "miniature"
    with FileLock(f"{root}.lock"):
        if not (root / "done").exists():
            root.mkdir(exist_ok=True)
            (root / PRESET).write_text(yaml.safe_dump(miniature(), sort_keys=False), "utf-8")
            run_preset(load_preset(str(root / PRESET)), root / "run", say=lambda _: None)
            (root / "done").touch()
    return root / "run"


@pytest.fixture
def run_folder(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to change at will."""
    return shutil.copytree(finished_run, tmp_path / "run")
