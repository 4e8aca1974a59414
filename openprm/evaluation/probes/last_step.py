"""How often a response's last step has the lowest reward (Zhang et al., 2025, "The lessons of developing PRMs")."""

from __future__ import annotations

import numpy as np

from ..bootstrap import Statistic, share
from .base import Probe, Views


class LastStep(Probe):
    """The share of responses of several steps whose last one has a lower reward than all before it.

    Of rewards that say nothing it is the mean of one over the number of steps; it is high where outcomes are rewarded.
    """

    def statistics(self, views: Views) -> list[Statistic]:
        counts = np.zeros((len(views[""].items), 2))
        for index, rewarded in enumerate(views[""].rewarded):
            for one in rewarded:
                rewards = [reward for reward in one.rewards if reward is not None]
                if one.whole and len(rewards) > 1:
                    counts[index] += (rewards[-1] < min(rewards[:-1]), 1)
        found = Statistic("lowest step is the last", *share(*counts.T), part="last-step")
        return [found] if found.n else []
