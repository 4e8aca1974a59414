"""Responses whose lowest step is the last."""

from __future__ import annotations

import numpy as np
import pytest

from openprm.evaluation.benchmarks.baselines import RandomScore, rewarded_by
from openprm.evaluation.benchmarks.items import Measured, Rewarded
from openprm.evaluation.probes import PROBES

from .measuring import item, values


def share(*rewards: list[float | None]) -> dict:
    items = [item("A. B. C.", name=str(i)) for i in range(len(rewards))]
    rewarded = [[Rewarded(("s",) * len(one), tuple(one))] if one else [Rewarded()] for one in rewards]
    return values(PROBES["last-step"].statistics({"": Measured(items, rewarded)}), len(items))


def test_by_hand():
    # yes, no, no: a tie, and left out: one step, not wholly rewarded, not rewarded
    found = share([3, 2, 1], [1, 2, 3], [1, 2, 1], [1], [3, 2, None], [])
    assert found == {"lowest step is the last": (pytest.approx(1 / 3), 3)}
    assert share([1], []) == {}


def test_chance():
    items = [item("One is. " * n, name=str(i)) for i in range(2000) for n in [2 + i % 3]]
    found = values(PROBES["last-step"].statistics(rewarded_by(RandomScore(0), {"": items})), len(items))
    ((value, n),) = found.values()
    assert n == 2000
    assert value == pytest.approx(np.mean([1 / 2, 1 / 3, 1 / 4]), abs=0.03)
