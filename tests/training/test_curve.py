from pathlib import Path

import pytest

from openprm.training.curve import by_step, curve, mean_loss, plot_curves, read_curve, write_curve

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


def test_the_means_of_some_steps_of_each_run():
    runs = [
        [{"step": 1.0, "loss": 0.5}, {"step": 2.0, "loss": 0.25}, {"step": 3.0, "loss": 1.0}],
        [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 4.0, "eval_loss": 7.0}],  # it ended early
    ]
    assert by_step(runs, "loss") == {1: [0.5, 2.0], 2: [0.25, 4.0], 3: [1.0]}
    assert by_step(runs, "loss", 2) == {2: [0.375, 3.0], 4: [1.0]}
    assert by_step(runs, "eval_loss") == {2: [7.0]}
    assert by_step(runs, "eval_accuracy") == {}


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_curve_is_kept_as_csv_and_as_a_picture(tmp_path: Path, length: int):
    history = HISTORY[:length]
    write_curve(history, tmp_path)
    assert read_curve(tmp_path) == curve(history)
    plot_curves({"": [read_curve(tmp_path)]}, tmp_path / "curve.png", kept=2)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_picture_shows(tmp_path: Path):
    """Of one variant every accuracy, and the kept step; of several a line each, by name."""
    plot_curves({"orm": [curve(HISTORY)]}, tmp_path / "one.svg", kept=1)
    one = (tmp_path / "one.svg").read_text()
    plot_curves({"orm": [curve(HISTORY)] * 2, "openprm": [curve(HISTORY)]}, tmp_path / "two.svg")
    two = (tmp_path / "two.svg").read_text()
    shown = {"loss", "eval_loss", "eval_accuracy_process", "step 1 is kept", "orm", "openprm"}
    assert {text for text in shown if f"<!-- {text} -->" in one} == shown - {"orm", "openprm"}
    assert {text for text in shown if f"<!-- {text} -->" in two} == {"loss", "orm", "openprm"}
