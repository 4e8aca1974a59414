"""Train a reward model on process and outcome pairs with one Bradley-Terry loss (paper, equations 1 to 3), and on
points: labelled steps."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer import TRAINING_ARGS_NAME

from ..models.reward_checkpoint import check_reward_model
from ..scoring.forward import longest_sequence
from ..scoring.rewarder import SequenceRewarder
from ..scoring.scored_answer import ScoringSettings
from ..scoring.units import LOG_ODDS, STRENGTH
from .batching import PARITY, GlobalBatchSampler, plan_passes
from .config import SQUARED_ERROR, OpenPRMConfig
from .data import (
    TERMS,
    EncodedPair,
    LeftOut,
    PairDataset,
    Sequences,
    collate_pairs,
    count_left_out,
    encode_pairs,
    gap_scales,
)
from .loss import check_loss, pair_loss, pair_metrics, plateau_loss

logger = logging.getLogger(__name__)

Rows = Iterable[Mapping[str, Any]]


class OpenPRMTrainer(Trainer):
    """Trains `model`, from `openprm.models.reward_checkpoint.load_reward_model`, on rows of `schema.Pair`.

    The loss of a step is sum(w * l) / sum(w) over the global batch, however that is split over processes and
    passes. Pairs of weight 0 are left out of training.

    Evaluation reports `loss` (the same, over all pairs), `accuracy`, `accuracy_process`, `accuracy_outcome` and
    `accuracy_source_NAME`: the share of pairs whose chosen side has the higher reward (unweighted; a tie counts as
    wrong, as in RewardBench). `eval_dataset` may be a dictionary of several sets of pairs.

    left_out: the pairs that could not be used, also in `left_out.jsonl` in the output folder
    summary: for a manifest: counts, the scales of the gaps, and whether sequences are packed
    on_batch: called after each forward pass with the mean loss of its pairs, their number and tokens in all processes,
      and the number of finished steps
    """

    args: OpenPRMConfig
    on_batch: Callable[[Tensor, int, int, int], None] | None = None

    def __init__(
        self,
        model: Any,
        args: OpenPRMConfig,
        train_dataset: Rows | None = None,
        eval_dataset: Rows | Mapping[str, Rows] | None = None,
        *,
        processing_class: Any,
        **options: Any,
    ):
        check_reward_model(model, processing_class)
        dtypes = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
        for dtype in dtypes & {torch.bfloat16, torch.float16}:
            lost = f"Weights are {dtype}: updates as small as a learning rate of {args.learning_rate} are rounded away"
            logger.warning("%s. Load the model in float32 and compute in bfloat16 by bf16=True.", lost)
        self.args = args
        self.left_out: list[LeftOut] = []
        self.sources: list[str] = []
        self._trained_on: set[int] = set()
        self.gap_scales: dict[str, float] = {}
        self.summary: dict[str, Any] = {"pairs": {}}
        self._tokenizer = processing_class
        most = min(args.max_length, longest_sequence(model))
        self._settings = ScoringSettings.of(model.config, processing_class, max_length=most)
        train = None if train_dataset is None else self._encode(train_dataset, "train")
        # a ranking loss keeps no zero that the base model's rewards had; points alone give them one
        of_points = train is not None and all(pair.rejected is None for pair in train.pairs)
        model.config.openprm["unit"] = LOG_ODDS if of_points else STRENGTH
        evaluated: Any = None
        if isinstance(eval_dataset, Mapping):
            evaluated = {name: self._encode(rows, name) for name, rows in eval_dataset.items()}
        elif eval_dataset is not None:
            evaluated = self._encode(eval_dataset, "eval")
        super().__init__(
            model,
            args,
            train_dataset=train,
            eval_dataset=evaluated,
            processing_class=processing_class,
            data_collator=partial(collate_pairs, sources=self.sources),
            compute_metrics=self._metrics,
            **options,
        )
        # `compute_loss` divides by `num_items_in_batch`, so that Trainer need not
        self.model_accepts_loss_kwargs = True
        self.rewarder = SequenceRewarder(self.model)
        self.summary["packed"] = self.rewarder.packed
        self._write_left_out()

    # ---- Data ----

    def _encode(self, rows: Rows, split: str) -> PairDataset:
        """Tokenizes the pairs, once and in each process."""
        pairs, left_out = encode_pairs(rows, self._tokenizer, self._settings, split)
        counts: dict[str, Any] = {"usable": len(pairs), "left_out": count_left_out(left_out)}
        self.left_out = [pair for pair in self.left_out if pair.split != split] + left_out
        sources = {pair.source for pair in pairs}
        self.sources += sorted(sources - set(self.sources))
        questions = {pair.question for pair in pairs}
        if split == "train":
            self._trained_on = questions
            self.gap_scales = self.summary["gap_scales"] = gap_scales(pairs)
            if unknown := self.args.weights_of_sources.keys() - sources:
                raise ValueError(f"source_weights names sources without usable pairs: {', '.join(sorted(unknown))}")
            weighty = [pair for pair in pairs if self._weight(pair) > 0]
            if not weighty:
                raise ValueError("every training pair has weight 0: see process_weight and source_weights")
            counts["of_weight_0"], pairs = len(pairs) - len(weighty), weighty
        scales = {**gap_scales(pairs), **self.gap_scales}
        margins = [
            self.args.margin * pair.gap / scales[pair.source] if pair.gap and pair.source in scales else 0.0
            for pair in pairs
        ]
        self.summary["pairs"][split] = counts
        if self.args.process_index == 0:
            if split != "train" and (leaked := len(questions & self._trained_on)):
                logger.warning("%d of %d questions of the %s pairs are trained on.", leaked, len(questions), split)
            if self.args.margin and (unclear := sum(pair.gap is None for pair in pairs)):
                logger.warning("%d of the %s pairs have no gap, so no margin.", unclear, split)
            if left_out:
                known = f"{len(left_out)} of {len(left_out) + counts['usable']} {split} pairs"
                logger.warning("%s are left out (see left_out.jsonl): %s", known, json.dumps(counts["left_out"]))
        smoothing = self.args.label_smoothing_factor
        targets = [pair.target * (1 - smoothing) + (1 - pair.target) * smoothing for pair in pairs]
        return PairDataset(pairs, [self._weight(pair) for pair in pairs], margins, targets)

    def _weight(self, pair: EncodedPair) -> float:
        mixed = self.args.process_weight if self.args.mixed_weight is None else self.args.mixed_weight
        level = {"process": self.args.process_weight, "mixed": mixed}.get(pair.level, 1.0)
        return level * pair.weight * self.args.weights_of_sources.get(pair.source, 1.0)

    def _write_left_out(self) -> None:
        if self.args.should_save:
            lines = [json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in self.left_out]
            Path(str(self.args.output_dir), "left_out.jsonl").write_text("".join(lines), encoding="utf-8")

    def _get_train_sampler(self, train_dataset: Any = None) -> GlobalBatchSampler:
        args = self.args
        train: Any = self.train_dataset
        return GlobalBatchSampler(
            [pair.question for pair in train.pairs],
            together=args.pairs_together,
            multiple=args.batch_size if args.world_size > 1 else 1,
            seed=args.seed if args.data_seed is None else args.data_seed,
            epoch=lambda: int(self.state.epoch),
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        return super().get_eval_dataloader(self._encoded(eval_dataset, "eval"))

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        return super().get_test_dataloader(self._encoded(test_dataset, "test"))

    def _encoded(self, rows: Any, split: str) -> Any:
        if rows is None or isinstance(rows, str | PairDataset):
            return rows
        encoded = self._encode(rows, split)
        self._write_left_out()
        return encoded

    # ---- Passes ----

    def _passes(self, inputs: dict) -> list[tuple[list[int], dict]]:
        """The inputs of each forward pass, and which of the pairs they are; padding is left out, but for one pair.

        Each process takes as many as any other, since wrappers like FSDP exchange weights in each: its last again,
        without weight.
        """
        groups = inputs["sequences"].groups
        used = inputs["weights"].nonzero()[:, 0].tolist() or [0]
        config = self.rewarder.model.config.get_text_config()
        parity = PARITY * config.hidden_size if self.rewarder.packed else None
        passes = []
        for packs in plan_passes([groups[index] for index in used], self.args.tokens_per_device, parity):
            indices = [[used[place] for place in pack] for pack in packs]
            rows = [index for pack in indices for index in pack]
            together = Sequences([[side for index in pack for side in groups[index]] for pack in indices])
            terms = {name: inputs[name][rows] for name in TERMS}
            passes.append((rows, {"sequences": together, **terms}))
        rows, part = passes[-1]
        again = {**part, "weights": torch.zeros_like(part["weights"])}
        most = self.accelerator.gather(torch.tensor([len(passes)], device=self.args.device)).max()
        return passes + [(rows, again)] * (int(most) - len(passes))

    def training_step(self, model: Any, inputs: dict, num_items_in_batch: Any = None) -> Tensor:
        """All passes of this process's share of a global batch. Gradients are exchanged in the last."""
        passes = self._passes(inputs)
        losses = []
        for left, (_, part) in zip(reversed(range(len(passes))), passes, strict=True):
            self.accelerator.gradient_state._set_sync_gradients(left == 0)  # as Trainer does between its batches
            with self.accelerator.no_sync(model) if left else nullcontext():
                losses.append(super().training_step(model, part, num_items_in_batch))
        return torch.stack(losses).sum()

    # ---- Loss ----

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list, Tensor]:
        """The batches of one optimizer step, and the weight of the global batch as their "number of items"."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        weight = torch.stack([batch["weights"].sum() for batch in batches]).sum().to(device)
        return batches, self.accelerator.gather(weight).sum()

    def compute_loss(
        self, model: Any, inputs: dict, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """This process's share of the loss, times the number of processes, since their gradients are averaged."""
        rewards = self._rewards(model, inputs)
        total = pair_loss(rewards[:, 0], rewards[:, 1], *(inputs[name] for name in TERMS), **self._objective)
        processes = self.accelerator.num_processes
        if self.on_batch:
            tokens = sum(len(side) for sides in inputs["sequences"].groups for side in sides)
            pairs, mean = len(rewards), total.detach() / inputs["weights"].sum().clamp(min=1e-9)
            self.on_batch(mean, pairs * processes, tokens * processes, self.state.global_step)
        loss = total * processes / num_items_in_batch
        return (loss, rewards) if return_outputs else loss

    @property
    def _objective(self) -> dict[str, Any]:
        return {"centering": self.args.center_rewards_coefficient, "squared": self.args.point_loss == SQUARED_ERROR}

    def _rewards(self, model: Any, inputs: dict) -> Tensor:
        """Rewards [B, 2] of chosen and rejected sides; 0 for the one that a point lacks."""
        # so that the attention mask has the dtype of the attention
        with self.accelerator.autocast():
            found = self.rewarder.forward(model, inputs["sequences"].groups)
        both = inputs["points"] == 0
        places = torch.stack([torch.ones_like(both), both], dim=1)  # in the order of the sequences
        return torch.zeros(places.shape, dtype=found.dtype, device=found.device).masked_scatter(places, found)

    def plateau_loss(self) -> float:
        """Of the training pairs: see `openprm.training.loss`."""
        train: Any = self.train_dataset
        points = np.array([pair.rejected is None for pair in train.pairs])
        return plateau_loss(np.array(train.targets), points, self._objective["squared"])

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # Trainer's estimate counts `input_ids`, which these batches do not have

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        super().log(logs, *args, **options)
        check_loss(logs.get("loss", 0.0), self.state.global_step)

    # ---- Evaluation ----

    def prediction_step(self, model: Any, inputs: dict, prediction_loss_only: bool, ignore_keys: Any = None) -> Any:
        """Without a loss: `_metrics` computes it from the rewards, after those of padding are removed."""
        inputs = self._prepare_inputs(inputs)
        rewards = torch.zeros(len(inputs["weights"]), 2, device=self.args.device)
        with torch.no_grad():
            for rows, part in self._passes({**inputs, "weights": torch.ones_like(inputs["weights"])}):
                rewards[rows] = self._rewards(model, part)
        return None, rewards, (inputs["ids"], torch.stack([inputs[name] for name in TERMS], dim=1))

    def _metrics(self, prediction: Any) -> dict[str, float]:
        rewards, (ids, terms) = prediction.predictions, prediction.label_ids
        return pair_metrics(rewards, ids, terms, self.sources, **self._objective)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """A plain reward checkpoint (see `openprm.models.reward_checkpoint`).

        The pickle of the options that Trainer writes is removed: nothing reads it, and it has local paths.
        """
        super().save_model(output_dir, _internal_call=_internal_call)
        if self.args.should_save:
            Path(str(output_dir or self.args.output_dir), TRAINING_ARGS_NAME).unlink(missing_ok=True)
