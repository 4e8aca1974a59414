"""Whether long answers are rewarded for their length (paper, Figure 4b and section 6.2).

Length is in characters, the same for every model. Correlations are within items, so that a question with long answers
and high rewards is no bias; the paper does not say whether its own (0.05 for OpenPRM) are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..benchmarks.items import Item
from ..bootstrap import Statistic, mean
from ..correlation import rank_correlation
from .base import Probe, Views, few, golden

#: Prompts whose answers are in the picture.
SHOWN = 200
SUBSETS = ("the better is shorter", "the better is longer")


class Length(Probe):
    """`correlation`: Pearson's, of scores and lengths less their item's mean. `rank correlation`: the mean of
    Spearman's over items with more than two answers. `pair accuracy`, where the better answer is the shorter or the
    longer one: of the pairs of a better and a worse answer, where a tie is a loss; each item counts as one.

    An answer without a score loses its pairs, and has no part in correlations.
    """

    def statistics(self, views: Views) -> list[Statistic]:
        scored = zip(views[""].items, views[""].scores(), strict=True)
        xy, xx, yy, ranks, *wins = np.array([_of_item(item, scores) for item, scores in scored]).reshape(-1, 6).T

        def correlation(weights: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore"):
                found: np.ndarray = weights @ xy / np.sqrt((weights @ xx) * (weights @ yy))
            return found

        n = int((xx > 0).sum()) if yy.any() else 0
        found = [
            Statistic("correlation", correlation, n, part="length"),
            Statistic("rank correlation", *mean(ranks), part="length"),
            *(Statistic("pair accuracy", *mean(won), one, "length") for one, won in zip(SUBSETS, wins, strict=True)),
        ]
        return [one for one in found if one.n]

    def details(self, views: Views) -> Any:
        """A point for each answer of `SHOWN` prompts: its length, its score, and how good it is."""
        scored = dict(zip([item.id for item in views[""].items], views[""].scores(), strict=True))
        points = [
            {"length": len(response.text), "score": score, "golden": good}
            for item in few([item for item in views[""].items if len(item.responses) > 1], SHOWN)
            for response, score, good in zip(item.responses, scored[item.id], golden(item), strict=True)
            if np.isfinite(score)
        ]
        return {"unit": "characters", "points": points} if points else None


def _of_item(item: Item, scores: Sequence[float]) -> list[float]:
    """Sums of products of lengths and scores (xy, xx, yy), Spearman's coefficient, and the share of won pairs where
    the better answer is the shorter and the longer one; NaN where there is none."""
    x, y = np.array([len(one.text) for one in item.responses], dtype=float), np.array(scores)
    better, wins = np.array(golden(item))[:, None] > golden(item), y[:, None] > y
    pairs = [wins[better & (x[:, None] < x)], wins[better & (x[:, None] > x)]]
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    a, b = (one - one.mean() if len(one) else one for one in (x, y))
    return [a @ b, a @ a, b @ b, rank_correlation(x, y), *(won.mean() if won.size else np.nan for won in pairs)]
