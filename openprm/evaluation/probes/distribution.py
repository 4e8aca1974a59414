"""How far apart the scores of better and worse answers are (paper, Figure 6), whatever their scale."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..benchmarks.items import Measured
from ..bootstrap import Statistic
from .base import Probe, Views, golden

BINS = 20


class Distribution(Probe):
    """`overlap`: what the histograms of both share, 0 to 1, in 20 bins from a model's lowest score to its highest
    (chance alone makes it smaller where answers are few). `standardized difference`: of the means, in root mean square
    standard deviations (Cohen's d).

    An item's better answers are its best, the worse ones all others. An answer without a score is left out.
    """

    def statistics(self, views: Views) -> list[Statistic]:
        _, better, worse = _tables(views[""])
        compare, n = partial(_compared, better, worse), int((better[:, 0] > 0).sum())
        found = [
            Statistic("overlap", lambda weights: _of_all(weights, compare(weights)[0]), n, part="distribution"),
            Statistic("standardized difference", lambda weights: compare(weights)[1], n, part="distribution"),
        ]
        return [one for one in found if np.isfinite(one.of(np.ones((1, len(better)))))]

    def details(self, views: Views) -> Any:
        """The share of answers in each bin, and the edges of the bins."""
        edges, *sides = _tables(views[""])
        better, worse = (side[:, 3:].sum(0) / max(side[:, 0].sum(), 1) for side in sides)
        return {"edges": edges.tolist(), "better": better.tolist(), "worse": worse.tolist()} if better.any() else None


def _of_all(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """NaN of resampled items: they have fewer distinct scores, so their histograms overlap less, and would make an
    interval beside the number."""
    return np.where((weights == 1).all(1), values, np.nan)


def _tables(measured: Measured) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bins' edges; of the better and the worse answers of each item their number, the sum and sum of squares of
    their scores less the mean of all, and their number in each bin. An item without both has zeros."""
    n, scores = len(measured.items), [np.array(one) for one in measured.scores()]
    places, x = np.repeat(np.arange(n), [len(one) for one in scores]), np.concatenate(scores)
    best = np.concatenate([np.array(golden(item)) == max(golden(item)) for item in measured.items])
    there = [side & np.isfinite(x) for side in (best, ~best)]
    both = np.all([np.bincount(places[side], minlength=n) for side in there], axis=0)
    some = [side & both[places] for side in there]
    used = x[some[0] | some[1]]
    edges, middle = np.histogram_bin_edges(used, BINS), used.mean() if len(used) else 0.0
    better, worse = (
        np.column_stack(
            [np.bincount(places[side], (x[side] - middle) ** power, minlength=n) for power in range(3)]
            + [np.histogram2d(places[side], x[side], (np.arange(n + 1) - 0.5, edges))[0]]
        )
        for side in some
    )
    return edges, better, worse


def _compared(better: np.ndarray, worse: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Overlap and standardized difference of each draw, (2, draws); NaN where there is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = ((sums[:, 1:] / sums[:, :1]).T for sums in (weights @ better, weights @ worse))
        deviation = np.sqrt((a[1] - a[0] ** 2 + b[1] - b[0] ** 2).clip(0) / 2)
        return np.array([np.minimum(a[2:], b[2:]).sum(0), np.where(deviation > 0, (a[0] - b[0]) / deviation, np.nan)])
