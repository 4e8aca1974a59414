"""Whether a model knows when not to answer: only the prompts are answered whose best response has a high score.

Risk against coverage is of Geifman and El-Yaniv (2017), the distributional correctness score (DCS) of Burns (2025,
arXiv:2510.04302).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...decoding.selection import expected_best_of_n, has_weights, vote_weights
from ...scoring.aggregation import score_unit
from ..benchmarks.choice import prompts_of
from ..bootstrap import OfWeights, Statistic, mean
from .base import Probe, Views


class Abstention(Probe):
    """Of choices whose rewards are within 0 and 1, with the highest score as the confidence of best of N.

    `area under the risk` by coverage; `risk` where all is answered, which is also the area at random. `DCS`, weighted
    as a vote (none by scores whose unit weighs none), and `DCS of equal votes`: what states no answer counts as none
    given, since nobody was asked to abstain.
    """

    def statistics(self, views: Views) -> list[Statistic]:
        prompts, confidence, risk = _choices(views)
        found = [("area under the risk", (area_under_risk(confidence, risk), len(risk))), ("risk", mean(risk))]
        if any(answer is not None for one in prompts for answer in one["answers"]):
            unit = score_unit(views[""].aggregation, views[""].unit)
            for name, voting in (("DCS", True), ("DCS of equal votes", False)):
                if voting and not has_weights(unit):
                    continue
                weights = [
                    vote_weights(one["responses"], one["scores"][""] if voting else None, unit) for one in prompts
                ]
                scores = [
                    dcs(one["correct"], one["answers"], some) for one, some in zip(prompts, weights, strict=True)
                ]
                found.append((name, mean(scores)))
        return [Statistic(name, of, n, part="abstention") for name, (of, n) in found if n]

    def details(self, views: Views) -> Any:
        """The risk by coverage."""
        _, *curve = _choices(views)
        return risk_by_coverage(*curve) if curve[0] else None


def area_under_risk(confidence: Sequence[float], risk: Sequence[float]) -> OfWeights:
    """The mean risk over the coverages 1/n, 2/n, ... 1, each with the surest items answered (Geifman et al., 2019).

    Exactly the mean over all orders of items with equal confidence, and of the copies of one that is drawn twice.
    """
    order, starts = _groups(confidence)
    risks = np.asarray(risk, dtype=float)

    def of(weights: np.ndarray) -> np.ndarray:
        n = np.add.reduceat(weights[:, order], starts, axis=1).astype(int)
        wrong = np.add.reduceat((weights * risks)[:, order], starts, axis=1)
        until = n.cumsum(axis=1)
        harmonic = np.concatenate([[0.0], (1 / np.arange(1, until.max() + 1)).cumsum()])
        # of each group the sum of (wrong before + m * rate) / (before + m) over m = 1 ... n
        rest = wrong.cumsum(axis=1) - wrong - (until - n) * wrong / np.maximum(n, 1)
        found: np.ndarray = (wrong + rest * (harmonic[until] - harmonic[until - n])).sum(axis=1) / until[:, -1]
        return found

    return of


def risk_by_coverage(confidence: Sequence[float], risk: Sequence[float], points: int = 100) -> list[dict[str, float]]:
    """The curve, with up to so many points: `coverage` and the expected `risk`."""
    order, starts = _groups(confidence)
    sizes = np.diff([*starts, len(order)])
    wrong = np.repeat(np.add.reduceat(np.asarray(risk, dtype=float)[order], starts) / sizes, sizes).cumsum()
    answered = np.unique(np.linspace(1, len(order), min(points, len(order))).round().astype(int))
    return [{"coverage": float(n / len(order)), "risk": float(wrong[n - 1] / n)} for n in answered]


def dcs(correct: Sequence[float], answers: Sequence[str | None], weights: Sequence[float]) -> float:
    """(p_c - p_w)(1 - p_idk), by weights of the candidates, each right or wrong (1 or 0): from 1, certain and right,
    over 0 where none gives an answer, to -1, certain and wrong."""
    share, right = np.asarray(weights, dtype=float) / np.sum(weights), np.asarray(correct, dtype=float)
    p_right, p_none = share @ right, share @ ((1 - right) * [answer is None for answer in answers])
    return float((p_right - (1 - p_right - p_none)) * (1 - p_none))


def _groups(confidence: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The surest first, and where those of equal confidence begin."""
    values = np.asarray(confidence, dtype=float)
    order = np.argsort(-values, kind="stable")
    return order, np.flatnonzero(np.r_[True, values[order][1:] != values[order][:-1]])


def _choices(views: Views) -> Any:
    """The prompts, and of each choice the confidence and the risk; none where the items are no choices."""
    items = views[""].items
    if not all(0 <= value <= 1 for item in items for value in item.facts.get("correct", [-1])):
        return [], [], []
    prompts = prompts_of(items, views[""].scores())
    risk = [1 - expected_best_of_n(one["scores"][""], one["correct"]) for one in prompts]
    return prompts, [max(one["scores"][""]) for one in prompts], risk
