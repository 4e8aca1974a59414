import csv
from pathlib import Path

import pytest

from openprm.training.curve import curve, mean_loss, plot_curve, write_curve

HISTORY = [
    {"loss": 0.7, "grad_norm": 2.0, "learning_rate": 1e-3, "epoch": 0.5, "step": 1},
    {"loss": 0.5, "grad_norm": 1.0, "learning_rate": 5e-4, "epoch": 1.0, "step": 2},
    {"eval_loss": 0.6, "eval_accuracy": 0.75, "eval_accuracy_process": 0.75, "eval_runtime": 3.0, "step": 2},
    {"train_runtime": 9.0, "total_flos": 0.0, "train_loss": 0.6, "epoch": 1.0, "step": 2},
]


def test_a_curve_has_a_row_for_each_step_and_no_times():
    assert curve(HISTORY) == [
        HISTORY[0],
        {**HISTORY[1], "eval_loss": 0.6, "eval_accuracy": 0.75, "eval_accuracy_process": 0.75},
    ]


def test_the_mean_loss_is_that_of_the_steps_after_one():
    assert mean_loss(HISTORY) == pytest.approx(0.6)
    assert mean_loss(HISTORY, after=1) == 0.5
    assert mean_loss([]) == 0


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_curve_is_kept_as_csv_and_as_a_picture(tmp_path: Path, length: int):
    history = HISTORY[:length]
    write_curve(history, tmp_path)
    with (tmp_path / "curve.csv").open(newline="") as file:
        rows = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
    assert rows == curve(history)
    plot_curve(history, tmp_path)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
