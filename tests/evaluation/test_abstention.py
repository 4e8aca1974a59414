"""Risk against coverage and the distributional correctness score, by hand and by a plain loop."""

from __future__ import annotations

from itertools import permutations
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.evaluation.abstention import abstention, area_under_risk, distributional_correctness, risk_by_coverage


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


values = st.lists(
    st.tuples(st.sampled_from([-np.inf, 0.0, 1.0, 2.0]), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=6
)


@given(values)
def test_equal_confidence_comes_in_any_order(items):
    confidence, risk = zip(*items, strict=True)
    assert area(confidence, risk) == pytest.approx(slow_area(confidence, risk))
    points = risk_by_coverage(confidence, risk)
    assert fmean(point["risk"] for point in points) == pytest.approx(area(confidence, risk))
    assert points[-1] == {"coverage": 1.0, "risk": pytest.approx(fmean(risk))}
    assert area([0.0] * len(risk), risk) == pytest.approx(fmean(risk))


@given(values, st.data())
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
    def dcs(right, answers, weights=None):
        return distributional_correctness(right, answers, weights or [1.0] * len(right))

    assert dcs([1, 1], ["a", "a"]) == 1
    assert dcs([0, 0], ["b", "c"]) == -1
    assert dcs([0, 0], [None, None]) == 0
    assert dcs([1, 0, 0, 0], ["a", "b", None, None]) == 0  # as many right as wrong
    assert dcs([1, 1, 0, 0], ["a", "a", "b", None]) == pytest.approx((0.5 - 0.25) * 0.75)
    assert dcs([1, 0], ["a", "b"], [3.0, 1.0]) == pytest.approx(0.5)
    assert dcs([1, 0], [None, "b"]) == 0  # right, though no answer could be read


def test_numbers_of_a_choice():
    prompts = [
        {"responses": ["a", "b"], "correct": [1.0, 0.0], "answers": ["1", "2"], "scores": {}},
        {"responses": ["a", "b"], "correct": [0.0, 0.0], "answers": ["1", None], "scores": {}},
    ]
    found = {one.name: one.of(np.ones((1, 2)))[0] for one in abstention(prompts, [2.0, 1.0], [0.0, 1.0], [[1, 1]] * 2)}
    assert found == {"area under the risk": 0.25, "risk": 0.5, "DCS": pytest.approx((0 + (0 - 0.5) * 0.5) / 2)}
    for prompt in prompts:
        prompt["answers"] = [None, None]
    assert [one.name for one in abstention(prompts, [2, 1], [0, 1], [[1, 1]] * 2)] == ["area under the risk", "risk"]
