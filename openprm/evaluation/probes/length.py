"""Whether long answers are rewarded for their length (paper, Figure 4b and section 6.2).

Length is counted in characters, which are the same for every model. Coefficients are within items, so that a question
with long answers and high rewards is none: the paper's own coefficient (0.05 for OpenPRM) may be over all answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..benchmarks.items import Measured
from ..bootstrap import OfWeights, Statistic, mean
from .base import Probe, Views, few, golden

PART = "length"

#: Prompts whose answers are in the picture.
SHOWN = 200


class Length(Probe):
    """Correlation of score and length, and accuracy where the better answer is the shorter or the longer one.

    `correlation`: Pearson's, of the values less their item's mean. `rank correlation`: the mean over items with more
    than two answers of Spearman's. An answer without a score is left out; so is an item whose answers are equally
    long, or for ranks equally scored. `pair accuracy`: of the pairs of a better and a worse answer in an item; a tie
    is a loss. Each item counts as one.
    """

    def statistics(self, views: Views) -> list[Statistic]:
        found = [_correlation(views[""]), _rank_correlation(views[""]), *_accuracies(views[""])]
        return [one for one in found if one is not None and one.n]

    def details(self, views: Views) -> Any:
        """A point for each answer of `SHOWN` prompts: its length, its score, and its golden reward."""
        measured = views[""]
        shown = {item.id for item in few(measured.items, SHOWN)}
        points = [
            {"length": len(response.text), "score": score, "golden": good}
            for item, scores in zip(measured.items, measured.scores(), strict=True)
            if item.id in shown and len(scores) > 1
            for response, score, good in zip(item.responses, scores, golden(item), strict=True)
            if np.isfinite(score)
        ]
        return {"unit": "characters", "points": points}


def _scored(measured: Measured) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lengths and scores of each item's answers that have a score."""
    found = []
    for item, scores in zip(measured.items, measured.scores(), strict=True):
        lengths = np.array([len(one.text) for one in item.responses], dtype=float)
        there = np.isfinite(scores)
        found.append((lengths[there], np.array(scores)[there]))
    return found


def _correlation(measured: Measured) -> Statistic | None:
    centered = [(x - x.mean(), y - y.mean()) if len(x) else (x, y) for x, y in _scored(measured)]
    xy, xx, yy = np.array([(x @ y, x @ x, y @ y) for x, y in centered]).reshape(-1, 3).T
    if not (xx.sum() and yy.sum()):
        return None
    return Statistic("correlation", pearson(xy, xx, yy), int((xx > 0).sum()), part=PART)


def pearson(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray) -> OfWeights:
    """Pearson's coefficient from the sums of products that each item adds, (items,) each."""

    def of(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            found: np.ndarray = weights @ xy / np.sqrt((weights @ xx) * (weights @ yy))
        return found

    return of


def _rank_correlation(measured: Measured) -> Statistic:
    return Statistic("rank correlation", *mean([_spearman(x, y) for x, y in _scored(measured)]), part=PART)


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    """NaN of fewer than three values, and where all are equal."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Equal values share the mean of their ranks."""
    ranks: np.ndarray = (values[:, None] > values).sum(1) + (values[:, None] == values).sum(1) / 2
    return ranks


def _accuracies(measured: Measured) -> list[Statistic]:
    found: dict[str, list[float]] = {"the better is shorter": [], "the better is longer": []}
    for item, scores in zip(measured.items, measured.scores(), strict=True):
        lengths, good, scored = (
            np.array(one) for one in ([len(r.text) for r in item.responses], golden(item), scores)
        )
        better = good[:, None] > good
        wins = scored[:, None] > scored
        for subset, compared in zip(found, (lengths[:, None] < lengths, lengths[:, None] > lengths), strict=True):
            some = wins[better & compared]
            found[subset].append(some.mean() if some.size else np.nan)
    return [Statistic("pair accuracy", *mean(values), subset, PART) for subset, values in found.items()]
