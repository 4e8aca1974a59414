"""The stage that trains a reward model, on one process or several."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.holdout import question_rank, read_trained_on, write_trained_on
from ..errors import InputError
from ..runs.console import say
from ..runs.declaration import Stage, execution, input_path, parameter
from ..runs.folder import read_manifest
from ..runs.manifest import CURVE, WORK, files_hash, run_stage
from ..runs.progress import shown
from ..schema import LEVELS, POINT
from ..scoring.aggregation import DEFAULT_AGGREGATION, score_unit
from ..scoring.steps import DEFAULT_SEPARATOR, split
from ..scoring.units import LOG_ODDS, STRENGTH
from .training_arguments import trainer_arguments
from .training_pairs import training_pairs, tree_separator

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Train(Stage, kind="train"):
    """Train one reward model on process and outcome pairs (paper, equations 1 to 3), or on labelled steps, or on both.

    A killed run resumes from its last checkpoint. Several processes, which see the same files, train together: start
    them all with the same command, by `torchrun` or `accelerate launch`. The manifest's `metrics` hold the mean
    training loss and that of the last fifth of the steps (`final_loss`); `plateau` says whether the latter is above
    `training.loss.plateau_loss`, which is also a warning. `kept` says which of the steps is kept, and why training
    ended. curve.csv and curve.png hold the loss and the held-out accuracy by step.
    """

    pairs: dict[str, str] = input_path("Folders of pairs, or ids of published ones.", {}, argument=True)
    labels: dict[str, str] = input_path(
        "NAME=FOLDER of step labels, or the id of published ones; may be repeated. Each label is a target for the "
        "reward of its step.",
        {},
    )
    base: str = input_path("Reward model or language model to start from.")
    eval_pairs: str | None = input_path("Held-out pairs to measure the accuracy on.", None)
    eval_labels: str | None = input_path("Held-out step labels to measure the accuracy on.", None)
    holdout: float = parameter(
        "Without --eval-pairs and --eval-labels: share of the prompts that are held out to measure the accuracy on; "
        "0: none.",
        0.1,
    )
    levels: list[str] = parameter(
        "process, mixed or outcome; may be repeated. Outcome alone makes an outcome reward model.",
        [*LEVELS],
        flag="--level",
    )
    aggregation: str | None = parameter("Of step rewards, to record; default: min, and last for outcome alone.", None)
    separator: str | None = parameter(
        "Where steps end, to record; default: that of the pairs' trees, or the base's.", None, escapes=True
    )
    top_layers: int | None = parameter(
        "Train only so many decoder layers, with the final norm and the head; default: all.", None, above=0
    )
    states: str | None = execution(
        "With --top-layers: folder that keeps the states of the frozen layers for all runs; default: .states beside "
        "--out.",
        None,
    )
    learning_rate: float | None = parameter(
        "Default, the paper's: 1e-6 where the base is a reward model, 5e-6 where its head is new.", None, above=0
    )
    epochs: float = parameter("Passes over the pairs.", 1.0, above=0)
    max_steps: int | None = parameter("Number of optimizer steps, instead of epochs.", None, above=0)
    batch_size: int = parameter("Pairs of one step, over all devices.", 64, above=0)
    lora: int | None = parameter(
        "Rank of low-rank adapters (LoRA) to train instead of all weights, beside the head; merged at the end.",
        None,
        above=0,
    )
    tokens_per_device: int = execution(
        "Tokens that fit on one device: no more are computed at once, but for a longer pair.", 4096, above=0
    )
    pairs_together: int = parameter(
        "Pairs of a prompt taken together, in one step: faster, since what they share is computed once.", 1, above=0
    )
    max_length: int = parameter("Longest side in tokens, at most the model's; longer pairs are listed.", 2048, above=0)
    process_weight: float = parameter(
        "Lambda of equation 2: what a process pair weighs beside an outcome pair of its batch. Where all pairs are "
        "process pairs it does nothing.",
        1.0,
    )
    mixed_weight: float | None = parameter("Weight of mixed pairs; default: that of process pairs.", None)
    margin: float = parameter("Scale of the margin by a pair's gap; 0 is off.", 0.0)
    point_loss: str = parameter(
        "Of labelled steps: cross-entropy, or squared-error of probabilities.", "cross-entropy"
    )
    label_smoothing: float | None = parameter("Share of pairs taken to be mislabeled, below 0.5; default: 0.", None)
    warmup_steps: int = parameter("Steps over which the learning rate rises.", 0)
    lr_scheduler: str = parameter("How the learning rate falls: linear, cosine, constant, ...", "linear")
    keep: str | None = parameter(
        "Step to keep: `best` in held-out accuracy, then loss; or `last`. Default: last, with --patience best.", None
    )
    patience: int | None = parameter(
        "End training after so many measurements of held-out pairs that were no better than the best.", None, above=0
    )
    save_minutes: float = execution("Minutes between checkpoints, of which the last two are kept.", 5.0)
    logging_steps: int = execution("Steps between lines with the mean loss.", 10, above=0)
    eval_steps: int | None = execution(
        "Steps between measurements of held-out pairs; default: for ten in a run, or fewer.", None, above=0
    )
    report_to: list[str] = execution("tensorboard, wandb or another that transformers knows; may be repeated.", [])
    seed: int = parameter("Seed of the head's weights and of the order of the pairs.", 0)
    bf16: bool = parameter("Compute in bfloat16.", False)
    gradient_checkpointing: bool = execution("Compute activations again in the backward pass, to save memory.", False)
    trainer_options: dict[str, Any] = parameter(
        "Any other option of transformers' TrainingArguments, NAME=VALUE; may be repeated.",
        {},
        flag="--trainer-option",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        split("", self.separator or DEFAULT_SEPARATOR)
        score_unit(self.aggregation or DEFAULT_AGGREGATION, self._unit)

    @property
    def _unit(self) -> str:
        """What rewards will say: labels alone give them a zero."""
        return STRENGTH if self.pairs else LOG_ODDS

    @property
    def keeps_best(self) -> bool:
        """Whether the best step is kept, not the last."""
        return self.keep == "best" or (self.keep is None and self.patience is not None)

    def recorded(self) -> dict[str, Any]:
        """When held-out pairs are measured is a parameter of the result where they decide what is kept."""
        measured = {"eval_steps": self.eval_steps} if self.eval_steps and (self.keeps_best or self.patience) else {}
        return super().recorded() | measured

    def run(self, out: str | Path, *, force: bool = False, replace: bool = False) -> dict[str, Any]:
        """Of several processes the first runs the stage; the others work with it, in the folder that it names."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            if "ACCELERATE_USE_CPU" in os.environ:  # set by `accelerate launch` where it starts a single process
                say("accelerate launch started one process; on CPUs, torchrun --nproc-per-node N starts N", err=True)
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
        from transformers.trainer_callback import PrinterCallback
        from transformers.trainer_utils import get_last_checkpoint

        from ..models.reward_checkpoint import is_classifier, load_reward_model
        from ..training.checkpoints import Keeping, best_first, remove_torn
        from ..training.curve import curve, mean_loss, plot_curves, write_curve
        from ..training.lora import add_lora
        from ..training.monitor import Monitor
        from ..training.top_layers import train_top_layers
        from ..training.trainer import OpenPRMTrainer

        aggregation = self.aggregation  # not the base's: an outcome reward model is a good start for a process one
        if aggregation is None:
            aggregation = DEFAULT_AGGREGATION if "process" in self.levels else "last"
        if self.lora and self.top_layers:
            raise InputError("--lora adapts all layers, and --top-layers trains some whole: leave out one of them")
        rows, held = training_pairs(self)
        checkpoints = folder / WORK / "checkpoints"
        arguments = trainer_arguments(self, checkpoints)
        separator = self.separator or tree_separator(self.pairs.values())
        model, tokenizer = load_reward_model(
            self.base, separator=separator, aggregation=aggregation, unit=self._unit, seed=self.seed
        )
        leads = arguments.process_index == 0
        if self.learning_rate is None:
            is_reward_model = is_classifier(model.config)
            arguments.learning_rate = 1e-6 if is_reward_model else 5e-6
            why = "the base is a reward model" if is_reward_model else f"{type(model).__name__} gets a new head"
            if leads:
                say(f"learning rate {arguments.learning_rate:g}, as in the paper, since {why}", err=True)
        if self.lora:
            model = add_lora(model, self.lora, self.seed)
        monitor = Monitor(len(held), self.eval_steps, self.logging_steps, self.save_minutes)
        given = shown(rows, "tokenize", "pairs") if leads else rows
        callbacks = [monitor, Keeping(self.patience)]
        trainer: Any = OpenPRMTrainer(
            model, arguments, given, held or None, processing_class=tokenizer, callbacks=callbacks
        )
        trainer.remove_callback(PrinterCallback)
        trainer.on_batch = monitor.on_batch
        if self.top_layers:
            states = self.states or folder.with_name(".states")
            trainer.summary |= train_top_layers(trainer, self.top_layers, states, folder.name)
        if leads:
            remove_torn(checkpoints)
        trainer.accelerator.wait_for_everyone()
        events = checkpoints / "runs"
        if leads and "tensorboard" in self.report_to:
            say(f"TensorBoard's events, while it trains: tensorboard --logdir {events}", err=True)
        last = get_last_checkpoint(checkpoints)
        if last and leads:
            say(f"resumes from step {last.rpartition('-')[2]}: {last}", err=True)
        try:
            trainer.train(resume_from_checkpoint=last)
        except KeyboardInterrupt:
            remove_torn(checkpoints)
            last = get_last_checkpoint(checkpoints)
            said = f"step {last.rpartition('-')[2]} is kept ({last})" if last else "no step was kept yet"
            raise KeyboardInterrupt(said) from None
        finally:
            monitor.close()
        history, steps = trainer.state.log_history, trainer.state.global_step
        metrics = {"loss": mean_loss(history), "final_loss": mean_loss(history, after=steps * 4 // 5)}
        plateau = metrics["final_loss"] > trainer.plateau_loss()
        kept = best_first(history)[0] if self.keeps_best else steps
        early = steps < trainer.state.max_steps
        ended = f"no better in {self.patience} measurements" if early else "all steps done"
        by_step: dict[Any, Any] = {row["step"]: row for row in curve(history)}
        # the held-out pairs were measured after the last step
        metrics |= {name: value for name, value in by_step[kept].items() if name.startswith("eval_")}
        if self.lora:
            trainer.model = trainer.model.merge_and_unload()
        trainer.save_model(str(folder))
        if leads:
            if plateau:
                logger.warning(
                    "The training loss ends at %.3f, near that of chance (of pairs log 2 = 0.693): the model has "
                    "learned little or nothing. Train longer, with another learning rate, warmup or seed, or look at "
                    "the pairs or labels: noisy ones may end there too.",
                    metrics["final_loss"],
                )
            before = read_trained_on(self.base)
            write_trained_on(folder, before.union(question_rank(row["question"]) for row in rows))
            shutil.copyfile(checkpoints / "left_out.jsonl", folder / "left_out.jsonl")
            if events.exists():
                kept_events = folder.with_name(f"{arguments.run_name}.tensorboard")
                shutil.copytree(events, kept_events, dirs_exist_ok=True)
                say(f"TensorBoard's events: tensorboard --logdir {kept_events}", err=True)
            if early or kept != steps:
                say(f"training ended at step {steps} ({ended}); step {kept} is kept", err=True)
            write_curve(history, folder)
            try:
                plot_curves({"": [[*by_step.values()]]}, folder / CURVE[1], kept)
            except InputError as error:
                say(f"{error}; curve.csv is there", err=True)
        levels = dict(Counter(row.get("level", POINT) for row in rows))
        return {
            "files_hash": files_hash(folder),
            "counts": {"levels": levels, **trainer.summary, "learning_rate": arguments.learning_rate},
            "metrics": metrics,
            "plateau": plateau,
            "kept": {"step": kept, "of": steps, "ended": ended},
        }


def _leave_group() -> None:
    """Ends the threads of the group of processes: Python's end, while they are at work, aborts now and then."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    gc.collect()  # the trainer, whose parts refer to one another, holds the group too
