"""How well a threshold on rewards tells right steps from wrong ones, and finds the first wrong one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from .bootstrap import OfWeights

#: Of counts (..., 4), a number (...): right units judged right (TP), right ones judged wrong (FN), wrong ones judged
#: wrong (TN), wrong ones judged right (FP).
Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Judged:
    """Units of known classes; unit i is judged rightly at the thresholds t with low[i] < t <= high[i].

    For a right step with reward r: t <= r; for a wrong one: r < t. For a response: up to its lowest reward; if its
    first wrong step has r: above r, up to the lowest reward before. Where a bound is NaN there is none.
    Arrays (units,); right: the class; item: the index of the unit's item.
    """

    low: np.ndarray
    high: np.ndarray
    right: np.ndarray
    item: np.ndarray

    @classmethod
    def of(cls, units: Sequence[tuple[float, float, bool, int]]) -> Judged:
        columns = zip(*units, strict=True) if units else ((), (), (), ())
        return cls(*(np.array(one, kind) for one, kind in zip(columns, (float, float, bool, int), strict=True)))

    def of_items(self, kept: np.ndarray) -> Judged:
        """The units of the items that are kept, a boolean for each item."""
        some = kept[self.item]
        return Judged(self.low[some], self.high[some], self.right[some], self.item[some])

    def best_threshold(self, score: Score) -> float | None:
        """The best of those that are rewards, the lowest of equal ones; None without units of both classes."""
        ends = np.unique([self.low, self.high])
        ends = ends[np.isfinite(ends)]
        if self.right.all() or not self.right.any() or not len(ends):
            return None
        columns: list[np.ndarray] = []
        for ours in (self.right, ~self.right):
            low, high = (np.sort(bound[ours & (self.low < self.high)]) for bound in (self.low, self.high))
            hits = np.searchsorted(low, ends) - np.searchsorted(high, ends)
            columns += [hits, ours.sum() - hits]
        return float(ends[np.argmax(score(np.stack(columns, axis=-1)))])


def at_threshold(
    judged: Judged, thresholds: np.ndarray | None, score: Score, kept: np.ndarray
) -> tuple[OfWeights, int]:
    """The score over the items that are kept, and over how many units.

    thresholds: of each item, which stay as they are when items are resampled; NaN leaves it out. None: the one that
    is best for these items, which gives an upper bound.
    """
    if thresholds is None:
        thresholds = np.full(len(kept), judged.of_items(kept).best_threshold(score), dtype=float)
    some = judged.of_items(kept & ~np.isnan(thresholds))
    hit = (some.low < thresholds[some.item]) & (thresholds[some.item] <= some.high)
    counts = np.zeros((len(kept), 4))
    np.add.at(counts, (some.item, np.where(some.right, 0, 2) + ~hit), 1)
    return lambda weights: score(weights @ counts), len(some.item)


def auc(steps: Judged, kept: np.ndarray) -> tuple[OfWeights, int]:
    """How often a right step has a higher reward than a wrong one, of all such pairs; a tie counts half."""
    some = steps.of_items(kept)
    rewards = np.where(some.right, some.high, some.low)
    rewards = np.where(np.isnan(rewards), np.where(some.right, -np.inf, np.inf), rewards)
    values, place = np.unique(rewards, return_inverse=True)

    def one(weights: np.ndarray) -> float:
        right, wrong = (np.bincount(place, weights[some.item] * of, len(values)) for of in (some.right, ~some.right))
        pairs = right.sum() * wrong.sum()
        return float(right @ (np.cumsum(wrong) - wrong / 2) / pairs) if pairs else np.nan

    return lambda weights: np.array([one(row) for row in weights]), len(some.item)


@np.errstate(invalid="ignore")
def _accuracy(counts: np.ndarray, of: int) -> np.ndarray:
    """The share of units of one class, whose counts begin at `of`, that are judged rightly."""
    found: np.ndarray = counts[..., of] / (counts[..., of] + counts[..., of + 1])
    return found


@np.errstate(invalid="ignore")
def _f1(counts: np.ndarray, of: int) -> np.ndarray:
    """The F1 of finding units of one class, whose counts begin at `of`."""
    found: np.ndarray = 2 * counts[..., of] / (2 * counts[..., of] + counts[..., 1] + counts[..., 3])
    return found


right_accuracy, wrong_accuracy = partial(_accuracy, of=0), partial(_accuracy, of=2)
right_f1, wrong_f1 = partial(_f1, of=0), partial(_f1, of=2)


def balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    """The mean of both accuracies."""
    return (right_accuracy(counts) + wrong_accuracy(counts)) / 2


@np.errstate(divide="ignore")
def harmonic_mean(counts: np.ndarray) -> np.ndarray:
    """ProcessBench's F1 (Zheng et al., 2024): the harmonic mean of both accuracies."""
    return np.asarray(2 / (1 / right_accuracy(counts) + 1 / wrong_accuracy(counts)))


def prm_score(counts: np.ndarray) -> np.ndarray:
    """PRMBench's PRMScore (Song et al., 2025): the mean of both F1s; where there are no wrong units, the first."""
    both = (right_f1(counts) + wrong_f1(counts)) / 2
    return np.where(counts[..., 2] + counts[..., 3] == 0, right_f1(counts), both)
