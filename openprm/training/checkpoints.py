"""Which step of a training run is kept, and when training ends for want of a better one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from .curve import History


def best_first(history: History) -> Sequence[int]:
    """The steps at which held-out pairs were measured, from the best on: by accuracy, then loss, then the earlier."""
    measured = [entry for entry in history if "eval_accuracy" in entry]
    ranked = sorted(measured, key=lambda entry: (-entry["eval_accuracy"], entry.get("eval_loss", 0.0), entry["step"]))
    return [entry["step"] for entry in ranked]


@dataclass
class Keeping(TrainerCallback):
    """Saves the step with the best held-out accuracy so far, and ends training after so many measurements since.

    It looks at nothing but what was measured, which every checkpoint has: a resumed run decides alike. With
    `load_best_model_at_end`, Trainer keeps that checkpoint beside the newest one, and loads it at the end.
    """

    patience: int | None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.load_best_model_at_end and (steps := best_first(state.log_history)):
            # a resumed run: Trainer drops a best checkpoint that is not where it was, as when the folder was moved
            state.best_model_checkpoint = _checkpoint(args, steps[0])

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        steps, last = best_first(state.log_history), state.global_step >= state.max_steps
        if steps[0] == state.global_step and args.load_best_model_at_end:
            # the last step needs no checkpoint: the model is as it is then
            state.best_model_checkpoint = None if last else _checkpoint(args, state.global_step)
            control.should_save |= not last
        if self.patience and sum(step > steps[0] for step in steps) >= self.patience:
            control.should_training_stop = True
            control.should_save = False  # a run that is killed now should stop here again


def _checkpoint(args: Any, step: int) -> str:
    return str(Path(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{step}"))


def remove_torn(checkpoints: Path) -> None:
    """Removes the checkpoints that a kill left incomplete: Trainer writes the state last, and not atomically."""
    for path in checkpoints.glob("checkpoint-*"):
        try:
            json.loads((path / TRAINER_STATE_NAME).read_text("utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path)
