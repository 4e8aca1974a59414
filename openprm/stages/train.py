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
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runs.folder import is_folder, read_manifest, read_rows
from ..runs.manifest import WORK, files_hash, run_stage
from ..schema import Pair
from ..scoring.aggregation import DEFAULT_AGGREGATION

logger = logging.getLogger(__name__)

#: A training loss above this in the last quarter of the steps is a plateau: a model that tells the sides of a pair
#: apart no better than by chance has a loss of log 2.
PLATEAU = 0.95 * math.log(2)


def train_model(
    pairs: Mapping[str, str | Path],
    base: str | Path,
    out: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    levels: Sequence[str] = ("process", "outcome"),
    separator: str | None = None,
    aggregation: str | None = None,
    eval_pairs: str | Path | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: a reward model trained on pairs of the given levels. Returns the manifest.

    `pairs` are folders (or ids) by name; `options` are those of `OpenPRMConfig`. With levels
    ("outcome",) the result is an outcome reward model, the baseline, whose reward is that of the last step unless
    `aggregation` says otherwise. `separator`, how the model will split responses, is by default that of the trees the
    pairs are from, where all have the same one. A killed run resumes from its last checkpoint (`save_steps`). Several
    processes that see the same files train together: start them all with the same call, by `torchrun` or `accelerate
    launch`. `eval_pairs`, of all levels, are measured at the end.

    The manifest's `metrics` hold the mean training loss and that of the last quarter of the steps (`final_loss`);
    `plateau` says whether the latter is above `PLATEAU`, which is also a warning.
    """
    if taken := pairs.keys() & {"base", "model", "eval_pairs"}:
        raise InputError(f"pairs cannot be called {min(taken)!r}: that is another input's name; give them another")
    options = dict(options or {})
    if aggregation is None:  # not the base's: an outcome reward model is a good start for a process one
        aggregation = DEFAULT_AGGREGATION if "process" in levels else "last"
    separator = separator or _separator(pairs.values())

    def rows(path: str | Path) -> list[dict[str, Any]]:
        return [row for row in read_rows(path, Pair) if row["level"] in levels]

    def work(folder: Path) -> dict[str, Any]:
        import torch
        from transformers.trainer_utils import get_last_checkpoint

        from ..models.reward_checkpoint import load_reward_model
        from ..training.trainer import OpenPRMConfig, OpenPRMTrainer

        training = [row for path in pairs.values() for row in rows(path)]
        if not training:
            raise InputError(f"no pairs of level {' or '.join(levels)} in {', '.join(map(str, pairs.values()))}")
        checkpoints = folder / WORK / "checkpoints"
        # a limit of two survives a kill while the newest is being written
        arguments = OpenPRMConfig(
            output_dir=str(checkpoints),
            save_total_limit=2,
            disable_tqdm=not sys.stderr.isatty(),
            dataloader_pin_memory=torch.cuda.is_available(),
            **options,
        )
        model, tokenizer = load_reward_model(base, separator=separator, aggregation=aggregation, seed=arguments.seed)
        trainer = OpenPRMTrainer(
            model,
            arguments,
            training,
            list(read_rows(eval_pairs, Pair)) if eval_pairs else None,
            processing_class=tokenizer,
            callbacks=[_log_at_checkpoints()],
        )
        if trainer.is_world_process_zero():
            _remove_torn(checkpoints)
        trainer.accelerator.wait_for_everyone()
        trainer.train(resume_from_checkpoint=get_last_checkpoint(checkpoints))
        history, steps = trainer.state.log_history, trainer.state.global_step
        metrics = {"loss": mean_loss(history), "final_loss": mean_loss(history, after=steps * 3 // 4)}
        plateau = metrics["final_loss"] > PLATEAU
        if plateau and trainer.is_world_process_zero():
            logger.warning(
                "The training loss ends at %.3f, hardly below log 2 = 0.693, or chance: the model has learned next "
                "to nothing. Train longer, or with another learning rate, warmup or seed, or look at the pairs.",
                metrics["final_loss"],
            )
        if eval_pairs:
            metrics |= trainer.evaluate()
        trainer.save_model(str(folder))
        if trainer.is_world_process_zero():
            shutil.copyfile(checkpoints / "left_out.jsonl", folder / "left_out.jsonl")
        return {
            "files_hash": files_hash(folder),
            "counts": {"levels": dict(Counter(row["level"] for row in training)), **trainer.summary},
            # the rest of what Trainer measures are times
            "metrics": {name: value for name, value in metrics.items() if "loss" in name or "accuracy" in name},
            "plateau": plateau,
        }

    parameters = {
        "options": options,
        "levels": list(levels),
        "separator": separator,
        "aggregation": aggregation,
        "evaluated": eval_pairs is not None,
    }
    inputs: dict[str, str | Path] = {**pairs, "base": base}
    if eval_pairs:
        inputs["eval_pairs"] = eval_pairs

    def stage(work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        return run_stage(out, "model", parameters, inputs, work, force=force, replace_finished=True)

    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return stage(work)
    return _together(stage, work, out, cpu=bool(options.get("use_cpu")))


def _together(
    stage: Callable[[Callable[[Path], dict[str, Any]]], dict[str, Any]],
    work: Callable[[Path], dict[str, Any]],
    out: str | Path,
    cpu: bool,
) -> dict[str, Any]:
    """The first process runs the stage; the others do the stage's work with it, in the folder that it tells them."""
    import torch.distributed.nn  # noqa: F401 (imported later, its defaults would hold the group for good)
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    state = PartialState(cpu=cpu)
    told: list[str | None] = [None]
    if state.is_main_process:

        def lead(folder: Path) -> dict[str, Any]:
            told[0] = str(folder)
            broadcast_object_list(told)
            return work(folder)

        try:
            manifest = stage(lead)
        except BaseException:
            if told[0] is None:  # refused before any work: no process should wait for a folder
                broadcast_object_list(told)
            raise
        if told[0] is None:  # skipped
            broadcast_object_list(told)
    else:
        broadcast_object_list(told)
        if told[0] is not None:
            work(Path(told[0]))
    state.wait_for_everyone()  # until the first has put the folder in its place
    atexit.register(_leave_group)
    return manifest if state.is_main_process else read_manifest(out)


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
