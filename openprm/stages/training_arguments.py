"""The trainer's options, from those of the stage `train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from ..training.config import OpenPRMConfig
    from .train import Train

#: Options that transformers and the trainer call by the same names.
_ALIKE = """batch_size tokens_per_device pairs_together max_length process_weight mixed_weight margin point_loss
    warmup_steps seed bf16 report_to""".split()


def trainer_arguments(stage: Train, checkpoints: Path) -> OpenPRMConfig:
    """The trainer's options. Raises InputError for one that is unknown, or that the stage has itself."""
    import torch
    from transformers.integrations import get_available_reporting_integrations

    from ..training.config import OpenPRMConfig

    if stage.keep not in (None, "best", "last"):
        raise InputError(f"--keep is {stage.keep!r}; make it best or last")
    found = get_available_reporting_integrations()
    if missing := {*stage.report_to} - {"none", "all", *found}:
        raise InputError(f"--report-to {min(missing)}: is it installed? There are {', '.join(found) or 'none'}")
    options: dict[str, Any] = {
        "output_dir": str(checkpoints),
        "save_total_limit": 2,  # survives a kill while the newest is being written
        "save_strategy": "no",  # the monitor has it saved, and measured
        "eval_strategy": "no",
        "load_best_model_at_end": stage.keeps_best,
        "metric_for_best_model": "accuracy",
        "logging_steps": 1,
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "learning_rate": stage.learning_rate or 0.0,  # the default follows from the base
        "num_train_epochs": stage.epochs,
        "max_steps": stage.max_steps or -1,
        "lr_scheduler_type": stage.lr_scheduler,
        "label_smoothing_factor": stage.label_smoothing or 0.0,
        **{name: getattr(stage, name) for name in _ALIKE},
        "run_name": checkpoints.parents[1].name.removeprefix(".").removesuffix(".partial"),
        # newer versions of transformers warn of the name, older ones know no other
        **({"gradient_checkpointing": True} if stage.gradient_checkpointing else {}),
    }
    taken = {*options, "save_steps", "eval_steps"}
    for name in stage.trainer_options:
        if name in taken or name not in OpenPRMConfig.__dataclass_fields__:
            where = "`openprm train` sets it" if name in taken else "TrainingArguments has none of that name"
            raise InputError(f"--trainer-option {name}: {where}; see openprm train --help")
    on_cpu = {"use_cpu": not torch.accelerator.is_available()}  # unsaid, bfloat16 is refused there
    try:
        return OpenPRMConfig(**{**on_cpu, **options, **stage.trainer_options})
    except ValueError as error:
        raise InputError(str(error)) from error
