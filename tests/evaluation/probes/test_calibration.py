"""Calibration of log-odds against labels of steps."""

from __future__ import annotations

import numpy as np
import pytest

from openprm.evaluation.probes import PROBES

from ..benchmarks.steps import benchmark, given, items_of
from .measuring import item, measured, values

OF = benchmark("step-labels")


def steps(*labels: bool) -> list:
    wrong = [i for i, right in enumerate(labels, 1) if not right]
    return items_of(OF, [{"question": "q", "steps": [f"step {i}" for i in range(len(labels))], "wrong": wrong}])


def test_by_hand():
    # probabilities 0.75 (twice, one right), 0.25 (wrong), and 0.5 without a reward
    log3 = float(np.log(3))
    views = {"": given(steps(True, False, False, True), [[log3, log3, -log3, None]], "log-odds")}
    ((name, (ece, n)),) = values(PROBES["calibration"].statistics(views), 1).items()
    assert (name, n) == ("ECE", 3)
    assert ece == pytest.approx((abs(1 - 1.5) + abs(0 - 0.25)) / 3)
    bins = PROBES["calibration"].details(views)["bins"]
    assert bins == [
        {"steps": 1, "right": 0.0, "probability": pytest.approx(0.25)},
        {"steps": 2, "right": 0.5, "probability": pytest.approx(0.75)},
    ]


def test_values_count_as_shares():
    items = items_of(
        benchmark("step-values"), [{"question": "q", "steps": ["a", "b", "c"], "values": [0.5, 0.25, None]}]
    )
    views = {"": given(items, [[0, 0, 9]], "log-odds")}
    assert PROBES["calibration"].details(views)["bins"] == [{"steps": 2, "right": 0.375, "probability": 0.5}]


def test_extremes_and_nothing():
    """Rewards as large as a model's may be, and none at all."""
    views = {"": given(steps(True, False), [[1e4, -1e4]], "log-odds")}
    ((ece, n),) = values(PROBES["calibration"].statistics(views), 1).values()
    assert (ece, n) == (0, 2)
    unscored = {"": given(steps(True, False), [[]], "log-odds")}
    assert PROBES["calibration"].statistics(unscored) == []
    assert PROBES["calibration"].details(unscored) == {"bins": []}


def test_true_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    items = steps(*(rng.random(20_000) < 1 / (1 + np.exp(-logits))).tolist())
    for scale, low, high in [(1, 0, 0.015), (3, 0.1, 0.3)]:  # overconfident by a factor
        views = {"": given(items, [(scale * logits).tolist()], "log-odds")}
        ((ece, _),) = values(PROBES["calibration"].statistics(views), 1).values()
        assert low <= ece < high


def test_why_there_is_none():
    probe = PROBES["calibration"]
    strengths = {"": given(steps(True, False), [[1, 2]])}
    assert probe.statistics(strengths) == []
    assert probe.details(strengths) == {"why": "rewards in strength are no probabilities; calibration is of log-odds"}
    unlabelled = measured([item("a", "b")], len)
    unlabelled = {"": type(unlabelled)(unlabelled.items, unlabelled.rewarded, unit="log-odds")}
    assert probe.statistics(unlabelled) == []
    assert probe.details(unlabelled) == {"why": "the benchmark has no labels of steps"}
