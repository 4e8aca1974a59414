from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerControl

from openprm.training.checkpoints import Keeping, best_first, remove_torn


def measured(step: int, accuracy: float, loss: float = 0.5) -> dict[str, float]:
    return {"step": step, "eval_accuracy": accuracy, "eval_loss": loss}


def test_the_best_step_is_that_of_the_highest_accuracy_then_of_the_least_loss_then_the_earliest():
    history = [measured(1, 0.75, 0.4), {"step": 2, "loss": 0.1}, measured(2, 0.875, 0.5), measured(3, 0.875, 0.4)]
    assert best_first(history) == [3, 2, 1]
    assert best_first([*history, measured(4, 0.875, 0.4)]) == [3, 4, 2, 1]
    assert best_first([]) == []


@pytest.mark.parametrize(
    ("accuracies", "patience", "best", "saved", "stopped"),
    [
        ([0.5, 0.6, 0.7], 2, True, [1, 2, 3], None),  # step 4 of 4 is not measured here
        ([0.5, 0.6, 0.55, 0.6, 0.7], 2, True, [1, 2], 4),  # a tie is no better
        ([0.5, 0.6, 0.55, 0.6, 0.7], None, True, [1, 2, 5], None),
        ([0.5, 0.6, 0.55, 0.6, 0.7], 2, False, [], 4),
        ([0.5, 0.4], 1, True, [1], 2),
    ],
)
def test_what_is_saved_and_where_training_ends(
    accuracies: list[float], patience: int | None, best: bool, saved: list[int], stopped: int | None
):
    keeping = Keeping(patience)
    state: Any = SimpleNamespace(log_history=[], global_step=0, max_steps=9, best_model_checkpoint=None)
    args = SimpleNamespace(load_best_model_at_end=best, output_dir="out")
    found = []
    for step, accuracy in enumerate(accuracies, 1):
        state.global_step, control = step, TrainerControl()
        state.log_history.append(measured(step, accuracy))
        keeping.on_evaluate(args, state, control)
        if control.should_save:
            found.append(step)
            assert Path(state.best_model_checkpoint) == Path("out", f"checkpoint-{step}")
        if control.should_training_stop:
            break
    assert found == saved
    assert (state.global_step if control.should_training_stop else None) == stopped


def test_the_last_step_needs_no_checkpoint_and_a_stop_leaves_none():
    keeping, args = Keeping(1), SimpleNamespace(load_best_model_at_end=True, output_dir="out")
    history = [measured(1, 0.5), measured(2, 0.6)]
    state: Any = SimpleNamespace(log_history=history, global_step=2, max_steps=2, best_model_checkpoint="out/1")
    control = TrainerControl()
    keeping.on_evaluate(args, state, control)
    assert (control.should_save, state.best_model_checkpoint) == (False, None)
    state.log_history, state.global_step, state.max_steps = [measured(1, 0.6), measured(2, 0.5)], 2, 9
    control.should_save = True  # by time: a run resumed from there would go on
    keeping.on_evaluate(args, state, control)
    assert (control.should_save, control.should_training_stop) == (False, True)


def test_checkpoints_that_a_kill_left_incomplete_are_removed(tmp_path: Path):
    for name, state in (("whole", "{}"), ("half", '{"a"'), ("weights", None)):
        (tmp_path / f"checkpoint-{name}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{name}" / "trainer_state.json").write_text(state)
    remove_torn(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-whole"]
