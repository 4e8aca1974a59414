"""What a person sees of a training run, and when it is measured and saved."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from huggingface_hub.utils import are_progress_bars_disabled
from torch import Tensor
from transformers import TrainerCallback
from transformers.utils.logging import disable_progress_bar, enable_progress_bar

from ..runs.progress import Progress
from ..schema import TRAINED
from .curve import mean_loss

_MEASURED = 10  # times in a run


@dataclass
class Monitor(TrainerCallback):
    """Shows the progress of a run on standard error, has held-out pairs measured, and the run saved by time.

    held: the number of held-out pairs, measured every `eval_steps` steps; by default ten times, but never more of them
    than are trained on in between. logging_steps: steps between lines of mean losses. save_minutes: of checkpoints.
    """

    held: int
    eval_steps: int | None
    logging_steps: int
    save_minutes: float
    progress: Progress | None = None  # of the first process only

    def close(self) -> None:
        """Ends the line that moves."""
        if not are_progress_bars_disabled():
            enable_progress_bar()
        if self.progress:
            self.progress.close()
            self.progress = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved, self.first = time.monotonic(), state.global_step + 1
        disable_progress_bar()  # those of single checkpoints
        often = max(state.max_steps / _MEASURED, self.held / args.batch_size)
        self.eval_steps = self.eval_steps or math.ceil(often)
        if state.is_world_process_zero:
            note = Path(args.output_dir).with_name("progress.txt")
            total, done = state.max_steps, state.global_step
            self.progress = Progress("train", "steps", total, done, rows_per_unit=args.batch_size, note=note)

    def on_batch(self, loss: Tensor, pairs: int, tokens: int, step: int) -> None:
        """The mean loss of a pass, its pairs and their tokens in all processes, and the steps before."""
        if self.progress:
            if step < self.first:  # until the step's own is known; later, the device need not wait for it
                self.progress.detail = f"loss {loss.item():.3f}"
            self.progress.report(pairs, tokens)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        last = state.global_step >= state.max_steps
        control.should_evaluate |= bool(self.held) and (last or state.global_step % self.eval_steps == 0)
        due = time.monotonic() - self.saved >= 60 * self.save_minutes and not last  # then the model itself is saved
        control.should_save |= broadcast_object_list([due])[0]  # one clock for all processes

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.progress:
            self.progress.detail = "measuring held-out pairs"
            self.progress.report(0)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if self.progress is None:
            return
        step, line = state.global_step, ""
        if "loss" in logs:
            self.progress.detail = f"loss {logs['loss']:.3f}"
            if step in (self.first, state.max_steps) or step % self.logging_steps == 0:
                mean = mean_loss(state.log_history, after=step - self.logging_steps)
                line = f"loss {mean:.4f}, learning rate {logs['learning_rate']:.2g}"
        elif "eval_accuracy" in logs:
            self.progress.detail = f"held-out accuracy {logs['eval_accuracy']:.3f}"
            found = {level: logs[name] for level in TRAINED if (name := f"eval_accuracy_{level}") in logs}
            line = f"{self.progress.detail} ({', '.join(f'{level} {value:.3f}' for level, value in found.items())})"
        if line:
            self.progress.say(f"step {step}/{state.max_steps}: {line}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved = time.monotonic()
