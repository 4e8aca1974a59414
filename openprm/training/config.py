"""The options of training."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from transformers import TrainingArguments

CROSS_ENTROPY, SQUARED_ERROR = POINT_LOSSES = ("cross-entropy", "squared-error")


@dataclass
class OpenPRMConfig(TrainingArguments):
    """Training options. Defaults are the paper's (appendix B.2) for training that starts from a reward model.

    batch_size: pairs per optimizer step, over all processes. `per_device_train_batch_size` follows from it, so that a
      run is the same on any hardware.
    tokens_per_device: tokens computed in one forward pass, padding included, which bounds the memory: a process takes
      its share of a step in as many passes as it needs, and a single longer pair in a pass of its own. What pairs of a
      pass share is computed once.
    pairs_together: pairs of a prompt that come in one global batch, and share most; 1 shuffles all pairs.
    process_weight: lambda in equation 2, the weight of a process pair; an outcome pair has weight 1.
    mixed_weight: the weight of a pair of a whole answer and a beginning; None is `process_weight`.
    source_weights: a further factor for the pairs of a source; by default 1.
    margin: factor of the gap in a pair's margin, log sigmoid(r_c - r_r - margin * gap / scale of its source); 0: none.
      The scale (root mean square) removes the units; without a margin, units do not matter.
    center_rewards_coefficient: factor of (r_c + r_r)^2 in the loss (Eisenstein et al., 2023), which keeps rewards near
      0; 0 is off.
    label_smoothing_factor: e, the share of pairs taken to be mislabeled, in (1 - e) l(d) + e l(-d); 0 is off.
    point_loss: of labelled steps: `cross-entropy`, or `squared-error` of sigmoid(r).
    max_length: tokens of one side, question included; at most the model's. Longer pairs are left out and reported.
    """

    learning_rate: float = field(default=1e-6)
    num_train_epochs: float = field(default=1.0)
    logging_steps: float = field(default=10)
    logging_nan_inf_filter: bool = field(default=False)  # True hides a loss that is not finite
    remove_unused_columns: bool = field(default=False)
    ddp_find_unused_parameters: bool | None = field(default=False)

    batch_size: int = field(default=64)
    tokens_per_device: int = field(default=4096)
    pairs_together: int = field(default=1)
    process_weight: float = field(default=1.0)
    mixed_weight: float | None = field(default=None)
    source_weights: dict | str | None = field(default=None)
    margin: float = field(default=0.0)
    center_rewards_coefficient: float = field(default=0.0)
    point_loss: str = field(default=CROSS_ENTROPY)
    max_length: int = field(default=2048)

    _VALID_DICT_FIELDS = [*TrainingArguments._VALID_DICT_FIELDS, "source_weights"]  # noqa: RUF012 (as in the base class)

    def __post_init__(self) -> None:
        # Every launcher sets WORLD_SIZE. (`self.world_size` is set by the base class, which needs the steps.)
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        if self.batch_size % processes:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of the {processes} processes")
        share = self.batch_size // processes
        if self.gradient_accumulation_steps != 1 or self.per_device_train_batch_size not in (8, share):
            raise ValueError(
                "gradient_accumulation_steps and per_device_train_batch_size follow from batch_size; "
                "set tokens_per_device to bound the memory"
            )
        self.per_device_train_batch_size = share  # 8 was the default of transformers
        super().__post_init__()
        if self.world_size != processes:
            raise ValueError(f"WORLD_SIZE is {processes}, but there are {self.world_size} processes: use `torchrun`")
        for name in ("process_weight", "mixed_weight", "margin", "center_rewards_coefficient"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it should not be negative")
        if self.point_loss not in POINT_LOSSES:
            raise ValueError(f"point_loss is {self.point_loss!r}; make it {' or '.join(POINT_LOSSES)}")
        if not 0 <= self.label_smoothing_factor < 0.5:
            smoothing = f"label_smoothing_factor is {self.label_smoothing_factor}"
            raise ValueError(f"{smoothing}; make it at least 0 and below 0.5")
        if any(weight < 0 for weight in self.weights_of_sources.values()):
            raise ValueError(f"source_weights should not be negative: {self.source_weights}")
        if self.auto_find_batch_size or self.train_sampling_strategy != "random":
            raise ValueError("auto_find_batch_size and train_sampling_strategy would break up the global batches")
        if self.n_gpu > 1:
            raise ValueError("several GPUs take one process each: start with `accelerate launch` or `torchrun`")

    @property
    def weights_of_sources(self) -> dict[str, float]:
        """`source_weights`, which the command line may give as JSON, as a dictionary."""
        return self.source_weights if isinstance(self.source_weights, dict) else {}
