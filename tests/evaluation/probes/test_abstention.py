"""Answering only where the best response has a high score: by hand and by a plain loop."""

from __future__ import annotations

from itertools import permutations
from math import exp
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.evaluation.probes import PROBES
from openprm.evaluation.probes.abstention import area_under_risk, dcs, risk_by_coverage

from .measuring import item, seen, values


def area(confidence, risk, weights=None):
    return area_under_risk(confidence, risk)(np.array([weights or [1.0] * len(risk)]))[0]


def slow_area(confidence, risk):
    """The mean over all orders of equal confidence."""
    orders = [
        order
        for order in permutations(range(len(risk)))
        if all(confidence[a] >= confidence[b] for a, b in zip(order, order[1:], strict=False))
    ]
    return fmean(fmean(sum(risk[i] for i in order[:n]) / n for n in range(1, len(risk) + 1)) for order in orders)


def test_areas_by_hand():
    assert area([3, 2, 1], [0, 0, 1]) == pytest.approx((0 + 0 + 1 / 3) / 3)
    assert area([1, 2, 3], [0, 0, 1]) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert area([0, 0], [0, 1]) == 0.5  # nothing is known: the mean risk
    assert area([-np.inf, -np.inf, 1], [0, 1, 0]) == pytest.approx((0 + 1 / 4 + 1 / 3) / 3)


risks = st.lists(
    st.tuples(st.sampled_from([-np.inf, 0.0, 1.0, 2.0]), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=6
)


@given(risks)
def test_equal_confidence_comes_in_any_order(items):
    confidence, risk = zip(*items, strict=True)
    assert area(confidence, risk) == pytest.approx(slow_area(confidence, risk))
    points = risk_by_coverage(confidence, risk)
    assert fmean(point["risk"] for point in points) == pytest.approx(area(confidence, risk))
    assert points[-1] == {"coverage": 1.0, "risk": pytest.approx(fmean(risk))}
    assert area([0.0] * len(risk), risk) == pytest.approx(fmean(risk))


@given(risks, st.data())
def test_an_item_drawn_twice_is_there_twice(items, data):
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(items), max_size=len(items)).filter(any))
    confidence, risk = zip(*items, strict=True)
    repeated = [item for item, n in zip(items, times, strict=True) for _ in range(n)]
    assert area(confidence, risk, [float(n) for n in times]) == pytest.approx(area(*zip(*repeated, strict=True)))


def test_a_curve_of_many_prompts_has_a_hundred_points():
    points = risk_by_coverage(range(1000), [0.0] * 999 + [1.0])
    assert len(points) == 100
    assert points[0] == {"coverage": 0.001, "risk": 1.0}  # the surest is wrong
    assert points[-1] == {"coverage": 1.0, "risk": 0.001}


def test_distributional_correctness_by_hand():
    def score(right, answers, weights=None):
        return dcs(right, answers, weights or [1.0] * len(right))

    assert score([1, 1], ["a", "a"]) == 1
    assert score([0, 0], ["b", "c"]) == -1
    assert score([0, 0], [None, None]) == 0
    assert score([1, 0, 0, 0], ["a", "b", None, None]) == 0  # as many right as wrong
    assert score([1, 1, 0, 0], ["a", "a", "b", None]) == pytest.approx((0.5 - 0.25) * 0.75)
    assert score([1, 0], ["a", "b"], [3.0, 1.0]) == pytest.approx(0.5)
    assert score([1, 0], [None, "b"]) == 0  # right, though no answer could be read


PROBE = PROBES["abstention"]


def test_the_surest_choices_first():
    # scores are lengths: the surest choice is right, the other is wrong
    items = [
        item("three", "one", correct=[1.0, 0.0], answers=["1", "2"]),
        item("a", "bb", correct=[1.0, 0.0], answers=["1", None]),
    ]
    views = seen("abstention", items, lambda text: float(len(text)))
    found = values(PROBE.statistics(views), 2)
    assert found["area under the risk"] == (pytest.approx((0 + 1 / 2) / 2), 2)
    assert found["risk"] == (0.5, 2)
    assert PROBE.details(views) == [{"coverage": 0.5, "risk": 0.0}, {"coverage": 1.0, "risk": 0.5}]
    # weighted by exp(length): of the first so much is right, of the second so much, and no answer for the rest
    sure, right = 1 / (1 + exp(-2)), 1 / (1 + exp(1))
    assert found["DCS of equal votes"][0] == (0 + 0.5 * 0.5) / 2
    assert found["DCS"][0] == pytest.approx(((2 * sure - 1) + right * right) / 2)


def test_without_answers_and_of_what_is_no_choice():
    unanswered = item("a", "b", correct=[0.5, 0.0], answers=[None, None])
    views = seen("abstention", [unanswered], lambda text: 0.0)
    assert values(PROBE.statistics(views), 1) == {"area under the risk": (0.75, 1), "risk": (0.75, 1)}
    for items in ([item("good", "bad")], [item("a", "b", correct=[3.0, -1.0], answers=[None, None])]):
        views = seen("abstention", items, lambda text: 0.0)
        assert PROBE.statistics(views) == []
        assert PROBE.details(views) is None
