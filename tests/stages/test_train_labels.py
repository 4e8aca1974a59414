"""Training on labelled steps, alone and beside pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.labels.step_labels import VALUE, Kind
from openprm.runs.folder import read_manifest
from openprm.schema import Pair, StepLabels
from openprm.stages.train import Train

from ..folders import dataset
from ..labels.rows import labelled
from ..small_training import tree_pairs

OPTIONS: dict[str, Any] = {
    "max_steps": 3,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "trainer_options": {"use_cpu": True},
}


def labels(folder: Path, kind: Kind = VALUE, start: int = 0) -> str:
    rows = [labelled([0.75, 0.25, float(n % 2)], n, f"p{start + n}", kind=kind) for n in range(6)]
    return str(dataset(folder, StepLabels, rows))


def unit_of(model: Path) -> str:
    unit: str = json.loads((model / "config.json").read_text("utf-8"))["openprm"]["unit"]
    return unit


def test_labels_alone_give_rewards_a_zero(tmp_path: Path, base: Path):
    named, held = {"mine": labels(tmp_path / "labels")}, labels(tmp_path / "held", start=9)
    out = tmp_path / "model"
    manifest = Train(labels=named, eval_labels=held, base=str(base), aggregation="prod", **OPTIONS).run(out)
    assert manifest["counts"]["levels"] == {"point": 18}
    assert {"eval_accuracy_point", "eval_loss"} <= manifest["metrics"].keys()
    assert unit_of(out) == "log-odds"
    assert read_manifest(out)["inputs"].keys() == {"labels/mine", "eval_labels", "base"}


def test_pairs_and_labels_in_one_run(tmp_path: Path, base: Path):
    pairs = {"pairs": str(dataset(tmp_path / "pairs", Pair, tree_pairs(6)))}
    named = {"mine": labels(tmp_path / "labels")}
    out = tmp_path / "model"
    manifest = Train(pairs=pairs, labels=named, base=str(base), holdout=0.0, **OPTIONS).run(out)
    assert manifest["counts"]["levels"]["point"] == 18
    assert sum(manifest["counts"]["levels"].values()) == 24
    assert unit_of(out) == "strength"


def test_what_cannot_be_trained_on(tmp_path: Path, base: Path):
    values, hard = labels(tmp_path / "values"), labels(tmp_path / "hard", "correct")
    for options, problem in [
        ({}, "there is nothing to train on"),
        ({"labels": {"a": values, "b": hard}}, r"labels of two kinds: .*values \(value\) and .*hard \(correct\)"),
        ({"labels": {"a": values}, "eval_labels": values}, "6 questions are trained on"),
        ({"labels": {"a": values}, "point_loss": "square"}, "point_loss is 'square'"),
    ]:
        with pytest.raises(InputError, match=problem):
            Train(base=str(base), **{**OPTIONS, **options}).run(tmp_path / "model")
    with pytest.raises(ValueError, match="'prod' multiplies probabilities"):
        Train(base=str(base), pairs={"pairs": "x"}, aggregation="prod")
