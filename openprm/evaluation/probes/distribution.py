"""How far apart the scores of better and worse answers are (paper, Figure 6), whatever their scale."""

from __future__ import annotations

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
        n = int((better[:, 0] > 0).sum())

        def overlap(weights: np.ndarray) -> np.ndarray:
            shares = [_means(weights, side)[:, 2:] for side in (better, worse)]
            found: np.ndarray = np.minimum(*shares).sum(1)
            return found

        def difference(weights: np.ndarray) -> np.ndarray:
            (mean, square), (other, squares) = (_means(weights, side)[:, :2].T for side in (better, worse))
            deviation = np.sqrt((square - mean**2 + squares - other**2).clip(0) / 2)
            return np.divide(mean - other, deviation, out=np.full_like(mean, np.nan), where=deviation > 0)

        differs = n and not np.isnan(difference(np.ones((1, len(better))))[0])
        found = [("overlap", overlap)] * bool(n) + [("standardized difference", difference)] * bool(differs)
        return [Statistic(name, of, n, part="distribution") for name, of in found]

    def details(self, views: Views) -> Any:
        """The share of answers in each bin, and the edges of the bins."""
        edges, *sides = _tables(views[""])
        found = {"edges": edges} | {
            name: _means(np.ones((1, len(side))), side)[0, 2:]
            for name, side in zip(("better", "worse"), sides, strict=True)
        }
        return {name: one.tolist() for name, one in found.items()} if sides[0].any() else None


def _tables(measured: Measured) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bins' edges; of the better and the worse answers of each item their number, the sum and sum of squares of
    their scores less the mean of all, and their number in each bin. An item without both has zeros."""
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for item, scores in zip(measured.items, map(np.array, measured.scores()), strict=True):
        best, there = np.array(golden(item)) == max(golden(item)), np.isfinite(scores)
        both = (best & there).any() and (there & ~best).any()
        for side, some in zip(sides, (best, ~best), strict=True):
            side.append(scores[some & there & both])
    everything = np.concatenate([*sides[0], *sides[1]])
    edges, middle = np.histogram_bin_edges(everything, BINS), everything.mean() if len(everything) else 0.0
    better, worse = (
        np.array([[len(x), (x - middle).sum(), ((x - middle) ** 2).sum(), *np.histogram(x, edges)[0]] for x in side])
        for side in sides
    )
    return edges, better, worse


def _means(weights: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Of each draw, the mean score, the mean square and the share in each bin."""
    sums = weights @ side
    with np.errstate(invalid="ignore"):
        found: np.ndarray = sums[:, 1:] / sums[:, :1]
    return found
