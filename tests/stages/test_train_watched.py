"""What a person sees of a training run and may change about it, and what it refuses."""

from __future__ import annotations

import builtins
import csv
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, LlamaForCausalLM

from openprm import cli
from openprm.errors import InputError
from openprm.runs.folder import read_manifest
from openprm.schema import Pair
from openprm.stages.train import Train
from openprm.training.trainer import OpenPRMTrainer
from tests import tiny_models
from tests.folders import dataset
from tests.small_training import pairs


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, base: Path) -> dict[str, Any]:
    """A stage's fields: 24 pairs in three steps, and held-out ones."""
    folder = tmp_path_factory.mktemp("watched")
    return {
        "pairs": {"pairs": str(dataset(folder / "pairs", Pair, pairs(24)))},
        "eval_pairs": str(dataset(folder / "held", Pair, pairs(6, start=100))),
        "base": str(base),
        "batch_size": 8,
        "trainer_options": {"use_cpu": True},
    }


def interrupt_at(patch: pytest.MonkeyPatch, step: int) -> None:
    taken, original = [], OpenPRMTrainer.training_step

    def training_step(self: Any, *args: Any) -> Any:
        taken.append(0)
        if len(taken) == step:
            raise KeyboardInterrupt
        return original(self, *args)

    patch.setattr(OpenPRMTrainer, "training_step", training_step)


def command(given: dict[str, Any], out: Path, *options: str) -> list[str]:
    words = ["openprm", "train", given["pairs"]["pairs"], "--base", given["base"], "--eval-pairs", given["eval_pairs"]]
    return [*words, "--batch-size", "8", "--trainer-option", "use_cpu=true", "--out", str(out), *options]


def run(given: dict[str, Any], out: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Any:
    monkeypatch.setattr(sys, "argv", command(given, out, *options))
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def test_an_interrupted_run_says_what_is_kept_and_goes_on_with_other_ways_to_run_it(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    out = tmp_path / "model"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        assert run(given, out, patch, "--save-minutes", "0") == 130
    kept = tmp_path / ".model.partial" / ".work" / "checkpoints" / "checkpoint-2"
    said = capsys.readouterr().err
    assert said.endswith(f"\nopenprm: interrupted; step 2 is kept ({kept}), and the same command resumes\n")
    others = ["--save-minutes", "7", "--logging-steps", "1", "--eval-steps", "2", "--tokens-per-device", "4"]
    assert run(given, out, monkeypatch, *others, "--gradient-checkpointing") == 0
    said = capsys.readouterr()
    assert f"resumes from step 2: {kept}\n" in said.err
    accuracy = read_manifest(out)["metrics"]["eval_accuracy"]
    assert re.search(rf"^ held-out accuracy +{accuracy:.3f} *$", said.out, re.MULTILINE)
    with (out / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["eval_accuracy"]) == accuracy
    assert {"eval_accuracy_process", "eval_accuracy_outcome"} <= rows[0].keys()


def test_a_run_that_is_interrupted_early_says_that_nothing_is_kept(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    interrupt_at(monkeypatch, 2)
    assert run(given, tmp_path / "model", monkeypatch) == 130
    assert capsys.readouterr().err.endswith("interrupted; no step was kept yet, and the same command resumes\n")


def test_the_default_learning_rate_follows_from_the_base(
    tmp_path: Path, given: dict[str, Any], capsys: pytest.CaptureFixture
):
    config = AutoConfig.from_pretrained(given["base"])
    LlamaForCausalLM(config).save_pretrained(tmp_path / "language-model")
    tiny_models.tokenizer().save_pretrained(tmp_path / "language-model")
    fields = {**given, "max_steps": 1, "eval_pairs": None, "base": str(tmp_path / "language-model")}
    first = Train(**fields).run(tmp_path / "new")
    second = Train(**{**fields, "base": str(tmp_path / "new")}).run(tmp_path / "from-reward-model")
    third = Train(**fields, learning_rate=1e-3).run(tmp_path / "given")
    assert [made["counts"]["learning_rate"] for made in (first, second, third)] == [5e-6, 1e-6, 1e-3]
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("learning rate")] == [
        "learning rate 5e-06, as in the paper, since LlamaForSequenceClassification gets a new head",
        "learning rate 1e-06, as in the paper, since the base is a reward model",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"trainer_options": {"max_steps": 5}},
            "--trainer-option max_steps: `openprm train` sets it",
        ),
        ({"trainer_options": {"save_steps": 5}}, "--trainer-option save_steps: `openprm train` sets it"),
        ({"trainer_options": {"lerning_rate": 1}}, "--trainer-option lerning_rate: TrainingArguments has none"),
        ({"logging_steps": 0}, "--logging-steps is 0; make it more than 0"),
        ({"report_to": ["wandb"]}, "--report-to wandb: is it installed? There are ".replace("?", r"\?")),
    ],
)
def test_what_is_refused(tmp_path: Path, given: dict[str, Any], options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Train(**{**given, **options}).run(tmp_path / "out")


def test_without_matplotlib_there_is_no_picture_and_the_result_is_the_same(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    manifest = Train(**given).run(tmp_path / "with")
    original = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert Train(**given).run(tmp_path / "without") == manifest
    assert "pictures need matplotlib: pip install 'openprm[plots]'; curve.csv is there\n" in capsys.readouterr().err
    assert [(tmp_path / name / "curve.png").exists() for name in ("with", "without")] == [True, False]


def test_tensorboard_gets_the_curve_and_it_is_said_where(
    tmp_path: Path, given: dict[str, Any], capsys: pytest.CaptureFixture
):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = tmp_path / "model"
    Train(**given, report_to=["tensorboard"], eval_steps=2).run(out)
    said = [line.rpartition(" ")[2] for line in capsys.readouterr().err.splitlines() if "TensorBoard's" in line]
    assert said == [str(tmp_path / ".model.partial/.work/checkpoints/runs"), str(tmp_path / "model.tensorboard")]
    (events,) = Path(said[1]).rglob("events.out.tfevents.*")
    found = accumulators.EventAccumulator(str(events)).Reload()
    with (out / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for tag, column in {"train/loss": "loss", "eval/accuracy": "eval_accuracy", "eval/loss": "eval_loss"}.items():
        expected = [(int(row["step"]), float(row[column])) for row in rows if row[column]]
        assert [(one.step, one.value) for one in found.Scalars(tag)] == [
            (step, pytest.approx(value, rel=1e-6)) for step, value in expected
        ]
        assert len(expected) == (3 if tag == "train/loss" else 2)


def test_one_process_of_accelerate_launch_is_told(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    fields = {**given, "max_steps": 1}
    Train(**fields).run(tmp_path / "alone")
    assert "accelerate" not in capsys.readouterr().err
    monkeypatch.setenv("ACCELERATE_USE_CPU", "False")
    Train(**fields).run(tmp_path / "launched")
    assert (
        "accelerate launch started one process; on CPUs, torchrun --nproc-per-node N starts N\n"
        in capsys.readouterr().err
    )
