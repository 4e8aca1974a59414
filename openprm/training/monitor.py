"""What a person sees of a training run, and when it is measured and saved."""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from torch import Tensor
from transformers import TrainerCallback
from transformers.integrations import TensorBoardCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from ..runs.progress import Progress
from ..schema import LEVELS
from .curve import mean_loss, write_curve
from .trainer import OpenPRMTrainer

_MEASURED = 10  # times in a run


class Monitor(TrainerCallback):
    """Shows the progress of a run on standard error, has held-out pairs measured, and the run saved by time.

    folder: gets the curve of what is saved. held: the number of held-out pairs; they are measured every `eval_steps`
    steps, by default ten times, but never more pairs than are trained on in between. logging_steps: steps between
    lines with the mean loss. save_minutes: between checkpoints.
    """

    def __init__(self, folder: Path, held: int, eval_steps: int | None, logging_steps: int, save_minutes: float):
        self.folder, self._held, self._eval_steps = folder, held, eval_steps
        self._logging_steps, self._save_seconds = logging_steps, 60 * save_minutes
        self._progress: Progress | None = None  # in the first process only
        self._first, self._bars = 0, False

    def close(self) -> None:
        """Ends the line that moves."""
        if self._bars:
            enable_progress_bar()
        if self._progress:
            self._progress.close()
            self._progress = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved, self._first = time.monotonic(), state.global_step + 1
        often = max(state.max_steps / _MEASURED, self._held / args.batch_size)
        self._eval_steps = self._eval_steps or math.ceil(often)
        self._bars = is_progress_bar_enabled()
        disable_progress_bar()  # those of single checkpoints
        if state.is_world_process_zero:
            self._progress = Progress(
                "train",
                "steps",
                state.max_steps,
                state.global_step,
                rows_per_unit=args.gradient_accumulation_steps,
                note=Path(args.output_dir).with_name("progress.txt"),
            )

    def on_batch(self, loss: Tensor, tokens: int, step: int) -> None:
        """The mean loss of the pairs of a batch, the tokens that all processes have computed, and the steps before."""
        if self._progress:
            if step < self._first:  # until the step's own is known; later, the device need not wait for it
                self._progress.detail = f"loss {loss.item():.3f}"
            self._progress.report(1, tokens)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        last = state.global_step >= state.max_steps
        control.should_evaluate |= bool(self._held) and (last or state.global_step % self._eval_steps == 0)
        due = time.monotonic() - self._saved >= self._save_seconds and not last  # then the model itself is saved
        control.should_save |= broadcast_object_list([due])[0]  # one clock for all processes

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress:
            self._progress.detail = "measuring held-out pairs"
            self._progress.report(0)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if self._progress is None:
            return
        step, line = state.global_step, ""
        if "loss" in logs:
            self._progress.detail = f"loss {logs['loss']:.3f}"
            if step in (self._first, state.max_steps) or step % self._logging_steps == 0:
                mean = mean_loss(state.log_history, after=step - self._logging_steps)
                line = f"loss {mean:.4f}, learning rate {logs['learning_rate']:.2g}"
        elif "eval_accuracy" in logs:
            names = [name for name in LEVELS if f"eval_accuracy_{name}" in logs]
            levels = ", ".join(f"{name} {logs[f'eval_accuracy_{name}']:.3f}" for name in names)
            self._progress.detail = f"held-out accuracy {logs['eval_accuracy']:.3f}"
            line = f"{self._progress.detail} ({levels})"
        if line:
            self._progress.say(f"step {step}/{state.max_steps}: {line}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved = time.monotonic()
        if state.is_world_process_zero:
            write_curve(state.log_history, self.folder)


class MonitoredTrainer(OpenPRMTrainer):
    """An `OpenPRMTrainer` that tells a `Monitor` of every batch."""

    def __init__(self, *positional: Any, monitor: Monitor, **options: Any):
        super().__init__(*positional, callbacks=[monitor], **options)
        self.remove_callback(PrinterCallback)
        self._monitor = monitor
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
                # where Trainer has it write its files, they would be removed in the end
                callback.logging_dir = f"{monitor.folder.with_name(str(self.args.run_name))}.tensorboard"

    def training_step(self, model: Any, inputs: dict, num_items_in_batch: Any = None) -> Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        processes = self.accelerator.num_processes
        tokens = sum(len(side) for pair in inputs["sequences"].groups for side in pair)
        mean = loss * num_items_in_batch / processes / inputs["weights"].sum()
        self._monitor.on_batch(mean, tokens * processes, self.state.global_step)
        return loss


def remove_torn(checkpoints: Path) -> None:
    """Removes the checkpoints that a kill left incomplete: Trainer writes the state last, and not atomically."""
    for path in checkpoints.glob("checkpoint-*"):
        try:
            json.loads((path / TRAINER_STATE_NAME).read_text("utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path)
