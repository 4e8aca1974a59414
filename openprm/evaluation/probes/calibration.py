"""Whether the sigmoid of a step's reward is the probability that the step is right, or its value."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...scoring.units import LOG_ODDS
from ..benchmarks.items import Measured
from ..benchmarks.labelled_steps import rewards_of
from ..bootstrap import Statistic
from .base import Probe, Views

_BINS = 10


class Calibration(Probe):
    """Reliability of step rewards in log-odds, against labels of steps, in bins of equal width (Guo et al., 2017).

    A label from 0 to 1, such as a value, counts as that share of a right step.
    """

    def statistics(self, views: Views) -> list[Statistic]:
        """ECE: the mean over steps of the distance between their bin's share of right steps and mean probability."""
        bins = np.zeros(0) if _why_not(views[""]) else _bins(views[""])
        if not bins.any():
            return []

        def ece(weights: np.ndarray) -> np.ndarray:
            counts, right, expected = np.moveaxis(np.tensordot(weights, bins, 1), -1, 0)
            found: np.ndarray = np.abs(right - expected).sum(1) / counts.sum(1)
            return found

        return [Statistic("ECE", ece, int(bins[..., 0].sum()), part="calibration")]

    def details(self, views: Views) -> Any:
        """The reliability diagram: of each bin the number of steps, the share of right ones, the mean probability."""
        if why := _why_not(views[""]):
            return {"why": why}
        rows = _bins(views[""]).sum(0)
        return {"bins": [{"steps": int(n), "right": y / n, "probability": p / n} for n, y, p in rows.tolist() if n]}


def _why_not(measured: Measured) -> str:
    if measured.unit != LOG_ODDS:
        return f"rewards in {measured.unit} are no probabilities; calibration is of {LOG_ODDS}"
    return "" if all("labels" in item.facts for item in measured.items) else "the benchmark has no labels of steps"


def _bins(measured: Measured) -> np.ndarray:
    """Of each item and bin: steps with a reward, right ones, and the sum of probabilities; (items, bins, 3)."""
    found = np.zeros((len(measured.items), _BINS, 3))
    for index, (item, (one,)) in enumerate(zip(measured.items, measured.rewarded, strict=True)):
        pairs = zip(item.facts["labels"], rewards_of(item, one), strict=True)
        known = np.array([(label, reward) for label, reward in pairs if label is not None and not np.isnan(reward)])
        labels, rewards = known.reshape(-1, 2).T
        chance = (1 + np.tanh(rewards / 2)) / 2  # the sigmoid, which does not overflow so
        place = np.minimum((chance * _BINS).astype(int), _BINS - 1)
        np.add.at(found[index], place, np.stack([np.ones_like(chance), labels, chance], axis=1))
    return found
