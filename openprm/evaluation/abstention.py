"""What is gained by not answering where a choice is uncertain. Pure.

Risk against coverage (Geifman and El-Yaniv, 2017): of the prompts whose choice is surest, the share that is wrong, by
how many are answered. The distributional correctness score (Burns, 2025, arXiv:2510.04302) is of all answers to one
prompt, right, wrong or none at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .accuracy import PromptCandidates, has_votes
from .bootstrap import OfWeights, Statistic, mean

PART = "abstention"


def abstention(
    prompts: Sequence[PromptCandidates],
    confidence: Sequence[float],
    risk: Sequence[float],
    weights: Sequence[Sequence[float]],
) -> list[Statistic]:
    """The numbers of a choice with this confidence and risk at each prompt, and weights of its candidates.

    `area under the risk` (see `area_under_risk`); `risk` where all prompts are answered, which is also the area where
    they are left out at random; where there are answers `DCS` (see `distributional_correctness`).
    """
    found = [
        Statistic("area under the risk", area_under_risk(confidence, risk), len(prompts), part=PART),
        Statistic("risk", *mean(risk), part=PART),
    ]
    if has_votes(prompts):
        by_prompt = [
            distributional_correctness(prompt["correct"], prompt["answers"], some)
            for prompt, some in zip(prompts, weights, strict=True)
        ]
        found.append(Statistic("DCS", *mean(by_prompt), part=PART))
    return found


def area_under_risk(confidence: Sequence[float], risk: Sequence[float]) -> OfWeights:
    """The mean risk over all coverages 1/n, 2/n, ... 1, each with the surest items answered (Geifman et al., 2019).

    Equal confidence, and the copies of an item that is drawn several times, come in random order: the expected value
    is exact. It is the mean risk where confidence says nothing.
    """
    order, starts = _groups(confidence)
    risks = np.asarray(risk, dtype=float)

    def of(weights: np.ndarray) -> np.ndarray:
        n = np.add.reduceat(weights[:, order], starts, axis=1)
        wrong = np.add.reduceat((weights * risks)[:, order], starts, axis=1)
        until = n.cumsum(axis=1).astype(int)
        harmonic = np.concatenate([[0.0], (1 / np.arange(1, until.max() + 1)).cumsum()])
        before = until - n.astype(int)
        with np.errstate(invalid="ignore"):
            rate = np.where(n > 0, wrong / n, 0.0)
            # the sum of (wrong before + m * rate) / (before + m) over m = 1 ... n
            ratio = (wrong.cumsum(axis=1) - wrong - before * rate) * (harmonic[until] - harmonic[before])
            found: np.ndarray = (wrong + ratio).sum(axis=1) / until[:, -1]
        return found

    return of


def risk_by_coverage(confidence: Sequence[float], risk: Sequence[float], points: int = 100) -> list[dict[str, float]]:
    """The curve, with up to so many points: `coverage` and the expected `risk`."""
    order, starts = _groups(confidence)
    sizes = np.diff([*starts, len(order)])
    rates = np.add.reduceat(np.asarray(risk, dtype=float)[order], starts) / sizes
    wrong = np.repeat(rates, sizes).cumsum()
    answered = np.unique(np.linspace(1, len(order), min(points, len(order))).round().astype(int))
    return [{"coverage": float(n / len(order)), "risk": float(wrong[n - 1] / n)} for n in answered]


def distributional_correctness(
    correct: Sequence[float], answers: Sequence[str | None], weights: Sequence[float]
) -> float:
    """(p_c - p_w)(1 - p_idk) of one prompt: 1 is certain and right, 0 no answer, -1 certain and wrong.

    The shares of right and wrong candidates and of those that give no answer, by weight; both loadings are 1. A
    candidate is `correct` or not, 0 or 1.
    """
    share = np.asarray(weights, dtype=float) / np.sum(weights)
    right, given = np.asarray(correct, dtype=float), np.array([answer is not None for answer in answers])
    p_right, p_none = float(share @ right), float(share @ ((1 - right) * ~given))
    return (p_right - (1 - p_right - p_none)) * (1 - p_none)


def _groups(confidence: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The surest first, and where those of equal confidence begin."""
    values = np.asarray(confidence, dtype=float)
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    return order, np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
