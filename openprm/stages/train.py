"""The stage that trains a reward model, on one process or several."""

from __future__ import annotations

import atexit
import gc
import json
import logging
import math
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.holdout import shared_questions
from ..errors import InputError
from ..runs.declaration import Stage, execution, input_path, nearest, parameter
from ..runs.folder import is_folder, read_manifest, read_rows
from ..runs.manifest import WORK, files_hash, run_stage
from ..schema import LEVELS, Pair
from ..scoring.aggregation import DEFAULT_AGGREGATION

logger = logging.getLogger(__name__)

#: A training loss above this in the last fifth of the steps is called a plateau; a model that tells the sides of a
#: pair apart no better than by chance has a loss of log 2. Of 56 runs of the toy, the 41 that learned ended at 0.12 to
#: 0.68 times log 2, the 12 that stuck at 0.82 to 0.88, and the 3 on shuffled rewards at 1.00.
PLATEAU = 0.8 * math.log(2)


@dataclass(frozen=True, kw_only=True)
class Train(Stage, kind="train"):
    """Train one reward model on process and outcome pairs (paper, equations 1 to 3).

    A killed run resumes from its last checkpoint. Several processes, which see the same files, train together: start
    them all with the same command, by `torchrun` or `accelerate launch`. The manifest's `metrics` hold the mean
    training loss and that of the last fifth of the steps (`final_loss`); `plateau` says whether the latter is above
    `PLATEAU`, which is also a warning.
    """

    pairs: dict[str, str] = input_path("Folders of pairs, or ids of published ones.", argument=True)
    base: str = input_path("Reward model or language model to start from.")
    eval_pairs: str | None = input_path("Held-out pairs to measure the accuracy on.", None)
    levels: list[str] = parameter(
        "process, mixed or outcome; may be repeated. Outcome alone makes an outcome reward model.",
        [*LEVELS],
        flag="--level",
    )
    aggregation: str | None = parameter("Of step rewards, to record; default: min, and last for outcome alone.", None)
    separator: str | None = parameter(
        "Where steps end, to record; default: that of the pairs' trees, or the base's.", None, escapes=True
    )
    learning_rate: float = parameter("The paper's: 1e-6 from a reward model, 5e-6 from a language model.", 1e-6)
    epochs: float = parameter("Passes over the pairs.", 1.0)
    max_steps: int | None = parameter("Number of optimizer steps, instead of epochs.", None)
    batch_size: int = parameter("Pairs of one step, over all devices.", 64)
    per_device_batch_size: int = parameter("Pairs that fit on one device.", 8)
    max_length: int = parameter("Longest side in tokens, at most the model's; longer pairs are listed.", 2048)
    process_weight: float = parameter(
        "Lambda of equation 2: what a process pair weighs beside an outcome pair of its batch. Where all pairs are "
        "process pairs it does nothing.",
        1.0,
    )
    mixed_weight: float | None = parameter("Weight of mixed pairs; default: that of process pairs.", None)
    margin: float = parameter("Scale of the margin by a pair's gap; 0 is off.", 0.0)
    warmup_steps: int = parameter("Steps over which the learning rate rises.", 0)
    lr_scheduler: str = parameter("How the learning rate falls: linear, cosine, constant, ...", "linear")
    save_steps: int = execution("Steps between checkpoints.", 500)
    logging_steps: int = parameter("Steps between logged losses.", 10)
    seed: int = parameter("Seed of the head's weights and of the order of the pairs.", 0)
    bf16: bool = parameter("Compute in bfloat16.", False)
    gradient_checkpointing: bool = parameter("Compute activations again in the backward pass, to save memory.", False)
    trainer_options: dict[str, Any] = parameter(
        "Any other option of transformers' TrainingArguments, NAME=VALUE; may be repeated.",
        {},
        flag="--trainer-option",
    )

    def run(self, out: str | Path, *, force: bool = False, replace: bool = False) -> dict[str, Any]:
        """Of several processes the first runs the stage; the others work with it, in the folder that it names."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return super().run(out, force=force, replace=replace)
        import torch.distributed.nn  # noqa: F401 (imported later, its defaults would hold the group for good)
        from accelerate import PartialState
        from accelerate.utils import broadcast_object_list

        state = PartialState(cpu=bool(self.trainer_options.get("use_cpu")))
        chosen: list[str | None] = [None]

        def lead(folder: Path) -> Mapping[str, Any]:
            chosen[0] = str(folder)
            broadcast_object_list(chosen)
            return self.work(folder)

        if state.is_main_process:
            try:
                parameters, inputs = self.recorded(), self.inputs()
                run_stage(out, self.kind, parameters, inputs, lead, force=force, replace=replace)
            finally:
                if chosen[0] is None:  # finished before, or refused: no process should wait for a folder
                    broadcast_object_list(chosen)
        else:
            broadcast_object_list(chosen)
            if chosen[0] is not None:
                self.work(Path(chosen[0]))
        state.wait_for_everyone()  # until the first has put the folder in its place
        atexit.register(_leave_group)
        return read_manifest(out)

    def work(self, folder: Path) -> Mapping[str, Any]:
        import torch
        from transformers.trainer_utils import get_last_checkpoint

        from ..models.reward_checkpoint import load_reward_model
        from ..training.trainer import OpenPRMConfig, OpenPRMTrainer

        for level in self.levels:
            if level not in LEVELS:
                raise InputError(f"--level: there is no level {level!r}{nearest(level, LEVELS)}")
        aggregation = self.aggregation  # not the base's: an outcome reward model is a good start for a process one
        if aggregation is None:
            aggregation = DEFAULT_AGGREGATION if "process" in self.levels else "last"
        rows = [row for path in self.pairs.values() for row in read_rows(path, Pair) if row["level"] in self.levels]
        if not rows:
            raise InputError(f"no pairs of level {' or '.join(self.levels)} in {', '.join(self.pairs.values())}")
        held = list(read_rows(self.eval_pairs, Pair)) if self.eval_pairs else None
        if held and (leaked := shared_questions(rows, held)):
            raise InputError(
                f"{self.eval_pairs}: {len(leaked)} questions are trained on (but for case, space and punctuation), "
                f"such as {leaked[0]!r}; hold out pairs of other prompts"
            )
        checkpoints = folder / WORK / "checkpoints"
        options: dict[str, Any] = {
            "save_total_limit": 2,  # survives a kill while the newest is being written
            "disable_tqdm": not sys.stderr.isatty(),
            "dataloader_pin_memory": torch.cuda.is_available(),
            "learning_rate": self.learning_rate,
            "num_train_epochs": self.epochs,
            "max_steps": self.max_steps or -1,
            "batch_size": self.batch_size,
            "per_device_train_batch_size": self.per_device_batch_size,
            "max_length": self.max_length,
            "process_weight": self.process_weight,
            "mixed_weight": self.mixed_weight,
            "margin": self.margin,
            "warmup_steps": self.warmup_steps,
            "lr_scheduler_type": self.lr_scheduler,
            "save_steps": self.save_steps,
            "logging_steps": self.logging_steps,
            "seed": self.seed,
            "bf16": self.bf16,
            # newer versions of transformers warn of the name, older ones know no other
            **({"gradient_checkpointing": True} if self.gradient_checkpointing else {}),
            **self.trainer_options,
        }
        arguments = OpenPRMConfig(output_dir=str(checkpoints), **options)
        model, tokenizer = load_reward_model(
            self.base,
            separator=self.separator or _separator(self.pairs.values()),
            aggregation=aggregation,
            seed=arguments.seed,
        )
        trainer = OpenPRMTrainer(
            model,
            arguments,
            rows,
            held,
            processing_class=tokenizer,
            callbacks=[_log_at_checkpoints()],
        )
        if trainer.is_world_process_zero():
            _remove_torn(checkpoints)
        trainer.accelerator.wait_for_everyone()
        trainer.train(resume_from_checkpoint=get_last_checkpoint(checkpoints))
        history, steps = trainer.state.log_history, trainer.state.global_step
        metrics = {"loss": mean_loss(history), "final_loss": mean_loss(history, after=steps * 4 // 5)}
        plateau = metrics["final_loss"] > PLATEAU
        if plateau and trainer.is_world_process_zero():
            logger.warning(
                "The training loss ends at %.3f, where log 2 = 0.693 is chance: the model has learned little or "
                "nothing. Train longer, with another learning rate, warmup or seed, or look at the pairs: noisy "
                "preferences may end there too.",
                metrics["final_loss"],
            )
        if self.eval_pairs:
            metrics |= trainer.evaluate()
        trainer.save_model(str(folder))
        if trainer.is_world_process_zero():
            shutil.copyfile(checkpoints / "left_out.jsonl", folder / "left_out.jsonl")
        return {
            "files_hash": files_hash(folder),
            "counts": {"levels": dict(Counter(row["level"] for row in rows)), **trainer.summary},
            # the rest of what Trainer measures are times
            "metrics": {name: value for name, value in metrics.items() if "loss" in name or "accuracy" in name},
            "plateau": plateau,
        }


def _leave_group() -> None:
    """Ends the threads of the group of processes: Python's end, while they are at work, aborts now and then."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    gc.collect()  # the trainer, whose parts refer to one another, holds the group too


def _separator(pairs: Iterable[str | Path]) -> str | None:
    """The one separator that the manifests of the pairs name, if there is exactly one."""
    found = {
        separator
        for path in pairs
        if is_folder(path)
        for separator in read_manifest(path)["counts"].get("separators", ())
    }
    return found.pop() if len(found) == 1 else None


_STATE = "trainer_state.json"


def _remove_torn(checkpoints: Path) -> None:
    """Removes the checkpoints that a kill left incomplete: Trainer writes the state last, and not atomically."""
    for path in checkpoints.glob("checkpoint-*"):
        try:
            json.loads((path / _STATE).read_text("utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path)


def _log_at_checkpoints() -> Any:
    """A callback that has the loss logged whenever a checkpoint is written, so that a kill loses no part of it."""
    from transformers import TrainerCallback

    class LogAtCheckpoints(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_log |= control.should_save or state.global_step >= state.max_steps

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_log |= control.should_save

    return LogAtCheckpoints()


def mean_loss(history: Sequence[Mapping[str, Any]], after: int = 0) -> float:
    """The training loss over what was logged after step `after`, before a kill too, which Trainer's own mean omits."""
    total, steps, last = 0.0, 0, 0
    for entry in history:
        if "loss" in entry:
            if entry["step"] > after:
                total += entry["loss"] * (entry["step"] - last)
                steps += entry["step"] - last
            last = entry["step"]
    return total / max(steps, 1)
