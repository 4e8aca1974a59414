"""Answering only where the best response has a high score."""

from __future__ import annotations

from math import exp

import pytest

from openprm.evaluation.probes import PROBES

from .measuring import item, seen, values

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
    assert found["DCS"][0] == pytest.approx(((2 * sure - 1) + right * right) / 2)


def test_of_pairs_without_answers_and_what_is_no_choice():
    pairs = seen("abstention", [item("good", "bad"), item("ok", "worse")], lambda text: float(len(text)))
    assert {one.name for one in PROBE.statistics(pairs)} == {"area under the risk", "risk"}
    for items in ([item("alone")], [item("a", "b", correct=[3.0, -1.0])]):
        views = seen("abstention", items, lambda text: 0.0)
        assert PROBE.statistics(views) == []
        assert PROBE.details(views) is None
