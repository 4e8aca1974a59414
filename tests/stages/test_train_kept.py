"""Which step the training stage keeps, where it ends, and adapters: also after a kill, and on two processes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from openprm.errors import InputError
from openprm.runs.folder import read_manifest
from openprm.schema import Pair
from openprm.stages.train import Train
from openprm.training.trainer import OpenPRMTrainer
from tests.folders import Killed, contents, dataset
from tests.small_training import pairs

#: Held-out accuracies that a run of eight steps is told of: the best is the fourth.
ACCURACIES = [0.5, 0.6, 0.6, 0.8, 0.7, 0.8, 0.7, 0.75]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, base: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("kept")
    return {
        "pairs": {"pairs": str(dataset(folder / "pairs", Pair, pairs(24)))},
        "eval_pairs": str(dataset(folder / "held", Pair, pairs(6, start=100))),
        "base": str(base),
        "batch_size": 8,
        "max_steps": 8,
        "eval_steps": 1,
        "learning_rate": 1e-3,
        "trainer_options": {"use_cpu": True},
    }


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The held-out accuracies are those of `ACCURACIES`, the losses all equal."""
    measure = OpenPRMTrainer._metrics

    def metrics(self: Any, prediction: Any) -> dict[str, float]:
        return {**measure(self, prediction), "accuracy": ACCURACIES[self.state.global_step - 1], "loss": 0.5}

    monkeypatch.setattr(OpenPRMTrainer, "_metrics", metrics)


def kill_at(patch: pytest.MonkeyPatch, step: int) -> None:
    train_step = OpenPRMTrainer.training_step

    def training_step(self: Any, *args: Any) -> Any:
        if self.state.global_step + 1 == step:
            raise Killed
        return train_step(self, *args)

    patch.setattr(OpenPRMTrainer, "training_step", training_step)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("lora", [None, 4])
def test_the_best_step_is_kept_and_training_ends_where_none_is_better(
    tmp_path: Path, given: dict[str, Any], lora: int | None, monkeypatch: pytest.MonkeyPatch
):
    given = {**given, "lora": lora}
    manifest = Train(**given, patience=3).run(tmp_path / "early")
    assert manifest["kept"] == {"step": 4, "of": 7, "ended": "no better in 3 measurements"}
    assert manifest["metrics"]["eval_accuracy"] == 0.8
    with (tmp_path / "early" / "curve.csv").open(newline="") as file:
        assert len([*csv.DictReader(file)]) == 7
    best = Train(**given, keep="best").run(tmp_path / "best")
    assert best["kept"] == {"step": 4, "of": 8, "ended": "all steps done"}
    last = Train(**given, keep="last", patience=3).run(tmp_path / "last")
    assert last["kept"] == {"step": 7, "of": 7, "ended": "no better in 3 measurements"}
    assert last["metrics"]["eval_accuracy"] == 0.7
    early, kept, other = (weights(tmp_path / name) for name in ("early", "best", "last"))
    assert all(torch.equal(early[name], kept[name]) for name in early)
    assert not torch.equal(early["score.weight"], other["score.weight"])
    # stopped by hand at its fourth step, a run ends with the same weights
    stop = OpenPRMTrainer.log
    monkeypatch.setattr(OpenPRMTrainer, "log", lambda self, *args: (stop(self, *args), end(self))[0])

    def end(trainer: Any) -> None:
        trainer.control.should_training_stop |= trainer.state.global_step == 4

    Train(**given).run(tmp_path / "fourth")
    fourth = weights(tmp_path / "fourth")
    assert all(torch.equal(early[name], fourth[name]) for name in early)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(("lora", "killed"), [(None, 6), (None, 5), (4, 6)])
def test_the_best_step_survives_a_kill_and_a_move(
    tmp_path: Path, given: dict[str, Any], lora: int | None, killed: int, monkeypatch: pytest.MonkeyPatch
):
    fields = {**given, "patience": 3, "lora": lora, "save_minutes": 0.0}
    whole = Train(**fields).run(tmp_path / "whole" / "model")
    with monkeypatch.context() as patch:
        kill_at(patch, killed)
        with pytest.raises(Killed):
            Train(**fields).run(tmp_path / "killed" / "model")
    (tmp_path / "killed").rename(tmp_path / "moved")
    checkpoints = tmp_path / "moved" / ".model.partial" / ".work" / "checkpoints"
    names = {path.name for path in checkpoints.glob("checkpoint-*")}
    assert names == {"checkpoint-4", f"checkpoint-{killed - 1}"} | ({"checkpoint-3"} if killed == 5 else set())
    assert Train(**fields).run(tmp_path / "moved" / "model") == whole
    assert contents(tmp_path / "moved" / "model") == contents(tmp_path / "whole" / "model")


@pytest.mark.usefixtures("told")
def test_when_held_out_pairs_are_measured_is_recorded_where_they_decide(tmp_path: Path, given: dict[str, Any]):
    assert "eval_steps" not in Train(**given).recorded()
    Train(**given, keep="best").run(tmp_path / "best")
    with pytest.raises(InputError, match="eval_steps"):
        Train(**{**given, "eval_steps": 2}, keep="best").run(tmp_path / "best")


def test_the_result_with_adapters_is_a_plain_checkpoint(tmp_path: Path, given: dict[str, Any], base: Path):
    fields = {**given, "max_steps": 2}
    Train(**fields, lora=4).run(tmp_path / "lora")
    Train(**fields).run(tmp_path / "plain")
    assert {path.name for path in (tmp_path / "lora").iterdir()} == {
        path.name for path in (tmp_path / "plain").iterdir()
    }
    adapted, plain = weights(tmp_path / "lora"), weights(tmp_path / "plain")
    assert {name: value.shape for name, value in adapted.items()} == {
        name: value.shape for name, value in plain.items()
    }
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("lora", "plain")]
    assert configs[0] == configs[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "bets"}, "--keep is 'bets'; make it best or last"),
        ({"keep": "best", "eval_pairs": None, "holdout": 0}, "--keep best and --patience need held-out pairs"),
        ({"patience": 2, "eval_pairs": None, "holdout": 0}, "--keep best and --patience need held-out pairs"),
        ({"patience": 0}, "--patience is 0; make it more than 0"),
        ({"label_smoothing": 0.5}, "label_smoothing_factor is 0.5; make it at least 0 and below 0.5"),
    ],
)
def test_what_is_refused(tmp_path: Path, given: dict[str, Any], options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Train(**{**given, **options}).run(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, 4])
def test_two_processes_keep_the_same_step(tmp_path: Path, given: dict[str, Any], lora: int | None):
    fields = {**given, "keep": "best", "lora": lora, "learning_rate": 1e-2}
    alone = Train(**fields).run(tmp_path / "alone")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, torch\ntorch.set_num_threads(1)\nfrom openprm.stages.train import Train\n"
        "fields, out = sys.argv[1:]\nTrain(**eval(fields)).run(out)\n"
    )
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launch, str(script), repr(fields), str(tmp_path / "together")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=180, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert read_manifest(tmp_path / "together")["kept"] == alone["kept"]
    expected = weights(tmp_path / "alone")
    for name, weight in weights(tmp_path / "together").items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-4)
