"""The loss of pairs and points, and metrics of how well rewards rank and judge them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..schema import TRAINED
from .data import TERMS


def pair_loss(
    chosen: Tensor,
    rejected: Tensor,
    weights: Tensor,
    margins: Tensor,
    targets: Tensor,
    points: Tensor | None = None,
    *,
    centering: float = 0.0,
    squared: bool = False,
) -> Tensor:
    """sum(w * (y l(d) + (1 - y) l(-d) + centering * (r_c + r_r)^2)) over B pairs (equations 1 to 3) and points.

    l(d) = -log sigmoid(d), d = r_c - r_r - margin. The target y is the probability that the chosen side is the better
    one: 1 less label smoothing (conservative DPO, Mitchell 2023). A point (where `points` is 1) has r_r = 0 and a
    label as its target, which makes this the cross-entropy; with `squared`, (sigmoid(d) - y)^2 takes its place. It is
    not centered. All tensors are [B]. The result is a scalar: divided by the weight of the global batch, it is the
    loss.
    """
    points = torch.zeros_like(weights) if points is None else points
    logits = chosen - rejected - margins
    losses = (1 - targets) * logits - logsigmoid(logits)  # since l(-d) = l(d) + d
    if squared:
        losses = torch.where(points.bool(), (logits.sigmoid() - targets) ** 2, losses)
    return (weights * (losses + (1 - points) * centering * (chosen + rejected) ** 2)).sum()


def plateau_loss(targets: np.ndarray, points: np.ndarray | None = None, squared: bool = False) -> float:
    """The loss a fifth of the way from chance to the least that the targets allow; both are means over the items.

    Chance is log 2 for a pair; for points it is the loss of their mean target. The least is the entropy of the
    targets (of squared errors 0). A training loss above it in the last fifth of the steps is called a plateau. The
    fifth is a choice: of the nine runs of `tiny`, those that learn end below 0.3 log 2, those on shuffled rewards at
    0.99 log 2.
    """
    points = np.zeros(len(targets), dtype=bool) if points is None else points.astype(bool)
    chance, least = np.full(len(targets), math.log(2)), _entropy(targets)
    if points.any():
        mean = targets[points].mean()
        chance[points] = ((targets[points] - mean) ** 2).mean() if squared else _entropy(np.array([mean]))
        least[points] *= not squared
    return float(0.8 * chance.mean() + 0.2 * least.mean())


def _entropy(shares: np.ndarray) -> np.ndarray:
    """Of yes and no, in nats."""
    both = np.stack([shares, 1 - shares])
    terms = np.where(both > 0, -both * np.log(np.where(both > 0, both, 1.0)), 0.0)
    found: np.ndarray = terms.sum(axis=0)
    return found


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
    *,
    centering: float = 0.0,
    squared: bool = False,
) -> dict[str, float]:
    """Loss and accuracies of n pairs and points.

    A pair is right where the chosen side has the higher reward (a tie counts as wrong, as on RewardBench), a point
    where its reward is above 0 and its target above a half, or neither.

    rewards: [n, 2], of chosen and rejected sides (0 for that of a point)
    ids: [n, 2], positions in `TRAINED` and in `sources`
    terms: [n, 4], as `TERMS`

    Levels and sources without pairs are left out, and so is the loss if all weights are 0.
    """
    chosen, rejected, *rest = (torch.from_numpy(column).double() for column in (*rewards.T, *terms.T))
    metrics = {}
    if rest[0].sum() > 0:
        total = pair_loss(chosen, rejected, *rest, centering=centering, squared=squared)
        metrics["loss"] = (total / rest[0].sum()).item()
    above = rewards[:, 0] > rewards[:, 1]
    correct = np.where(terms[:, TERMS.index("points")] > 0, above == (terms[:, TERMS.index("targets")] > 0.5), above)
    groups = [("accuracy", np.ones(len(correct), dtype=bool))]
    groups += [(f"accuracy_{level}", ids[:, 0] == index) for index, level in enumerate(TRAINED)]
    groups += [(f"accuracy_source_{source}", ids[:, 1] == index) for index, source in enumerate(sources)]
    metrics.update({name: float(correct[rows].mean()) for name, rows in groups if rows.any()})
    return metrics
