from pathlib import Path
from typing import Any

import pytest

from openprm.runs.progress import Progress
from openprm.training.monitor import Monitor
from tests.small_training import pairs, trainer


def watched(folder: Path, *numbers: Any, held: Any = None, **options: Any) -> Any:
    """A trainer of 40 pairs in five steps, with `Monitor(len(held), *numbers)`."""
    output = folder / "work" / "checkpoints"
    output.mkdir(parents=True)
    monitor = Monitor(len(held or ()), *numbers)
    equal: Any = [{**row, "weight": 1.0} for row in pairs(40)]  # so that means over pairs are those of the loss
    run = trainer(output, equal, held, logging_steps=1, **options)
    run.add_callback(monitor)
    run.on_batch = monitor.on_batch
    return run


def test_a_run_shows_its_first_loss_its_mean_losses_and_held_out_accuracies(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    run = watched(tmp_path, 3, 2, 60, held=pairs(6, start=100))
    run.train()
    lines = [line.partition(": ") for line in capsys.readouterr().err.splitlines() if line.startswith("step")]
    assert [step for step, _, text in lines if text.startswith("loss")] == [f"step {n}/5" for n in (1, 2, 4, 5)]
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert lines[1][2].startswith(f"loss {(losses[0] + losses[1]) / 2:.4f}, learning rate 0.008")
    measured = [(step, text) for step, _, text in lines if text.startswith("held-out")]
    assert [step for step, _ in measured] == ["step 3/5", "step 5/5"]
    last = [entry for entry in run.state.log_history if "eval_accuracy" in entry][-1]
    assert measured[-1][1] == (
        f"held-out accuracy {last['eval_accuracy']:.3f} (process {last['eval_accuracy_process']:.3f}, "
        f"outcome {last['eval_accuracy_outcome']:.3f})"
    )


@pytest.mark.parametrize(("held", "steps"), [(6, [1, 2, 3, 4, 5]), (13, [2, 4, 5])])
def test_held_out_pairs_are_not_measured_more_often_than_they_are_trained_on(
    tmp_path: Path, held: int, steps: list[int]
):
    run = watched(tmp_path, None, 10, 60, held=pairs(held, start=100))
    run.train()
    assert [entry["step"] for entry in run.state.log_history if "eval_loss" in entry] == steps


def test_the_first_loss_is_shown_within_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shown: list[tuple[int, str]] = []
    monkeypatch.setattr(Progress, "report", lambda self, rows, tokens=0: shown.append((rows, self.detail)))
    run = watched(tmp_path, None, 10, 60, tokens_per_device=100)
    run.train()
    first = run.state.log_history[0]["loss"]
    assert sum(rows for rows, _ in shown) == 40
    passes = next(count for count in range(1, len(shown)) if sum(rows for rows, _ in shown[:count]) == 8)
    assert passes > 1
    total = sum(rows * float(text.removeprefix("loss ")) for rows, text in shown[:passes])
    assert total / 8 == pytest.approx(first, abs=1e-3)
    assert shown[passes][1] == f"loss {first:.3f}"


def test_a_run_is_saved_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = iter(range(0, 1000, 40))
    monkeypatch.setattr("openprm.training.monitor.time.monotonic", lambda: next(clock))
    run = watched(tmp_path, None, 10, 1.0)
    run.train()
    names = sorted(path.name for path in (tmp_path / "work" / "checkpoints").glob("checkpoint-*"))
    assert names == ["checkpoint-2", "checkpoint-4"]
    assert (tmp_path / "work" / "progress.txt").read_text().startswith("train: steps ")
