"""The loss of pairs, and metrics of how well rewards rank them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..schema import LEVELS


def pair_loss(
    chosen: Tensor,
    rejected: Tensor,
    weights: Tensor,
    margins: Tensor,
    centering: float = 0.0,
    smoothing: float = 0.0,
) -> Tensor:
    """sum(w * ((1 - e) l(d) + e l(-d) + centering * (r_c + r_r)^2)) over B pairs (equations 1 to 3).

    l(d) = -log sigmoid(d), d = r_c - r_r - margin; e is `smoothing`, the share of pairs taken to be
    mislabeled (conservative DPO, Mitchell 2023). All tensors are [B]. The result is a scalar: divided by the weight of
    the global batch, it is the loss.
    """
    logits = chosen - rejected - margins
    losses = smoothing * logits - logsigmoid(logits)  # since l(-d) = l(d) + d
    return (weights * (losses + centering * (chosen + rejected) ** 2)).sum()


def plateau_loss(smoothing: float = 0.0) -> float:
    """The loss a fifth of the way from chance, log 2, to the least that label smoothing allows (its entropy).

    A training loss above it in the last fifth of the steps is called a plateau. The fifth is a choice: of the
    nine runs of `tiny`, those that learn end below 0.3 log 2, those on shuffled rewards at 0.99 log 2.
    """
    least = -sum(share * math.log(share) for share in (smoothing, 1 - smoothing) if share)
    return 0.8 * math.log(2) + 0.2 * least


def check_loss(loss: float, step: int) -> None:
    """Raises ValueError for a training loss that is not finite: the weights are lost then."""
    if not math.isfinite(loss):
        raise ValueError(
            f"the training loss is {loss} at step {step}; start again with a lower learning rate, warmup or float32"
        )


def pair_metrics(
    rewards: np.ndarray,
    ids: np.ndarray,
    terms: np.ndarray,
    sources: list[str],
    centering: float = 0.0,
    smoothing: float = 0.0,
) -> dict[str, float]:
    """Loss and accuracies of n pairs. A tie counts as wrong, as on RewardBench.

    rewards: [n, 2], of chosen and rejected sides
    ids: [n, 2], positions in `LEVELS` and in `sources`
    terms: [n, 2], weight and margin in the loss

    Levels and sources without pairs are left out, and so is the loss if all weights are 0.
    """
    chosen, rejected, weights, margins = (torch.from_numpy(column).double() for column in (*rewards.T, *terms.T))
    metrics = {}
    if weights.sum() > 0:
        total = pair_loss(chosen, rejected, weights, margins, centering, smoothing)
        metrics["loss"] = (total / weights.sum()).item()
    correct = rewards[:, 0] > rewards[:, 1]
    groups = [("accuracy", np.ones(len(correct), dtype=bool))]
    groups += [(f"accuracy_{level}", ids[:, 0] == index) for index, level in enumerate(LEVELS)]
    groups += [(f"accuracy_source_{source}", ids[:, 1] == index) for index, source in enumerate(sources)]
    metrics.update({name: float(correct[rows].mean()) for name, rows in groups if rows.any()})
    return metrics
