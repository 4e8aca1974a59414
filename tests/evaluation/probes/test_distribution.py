import math

import numpy as np
import pytest

from openprm.evaluation.benchmarks.baselines import RandomScore
from openprm.evaluation.bootstrap import draw_weights
from openprm.evaluation.probes import PROBES
from tests.evaluation.probes.measuring import item, measured, seen, values


def stated(items, score):
    return values(PROBES["distribution"].statistics(seen("distribution", items, score)), len(items))


def test_numbers_by_hand():
    """Better answers score 0, 10, 20 and worse ones 0, 0, 20: two of three are shared. Means are 10 and 20/3,
    variances 200/3 and 800/9."""
    scores = {"a": 0.0, "b": 10.0, "c": 20.0, "d": 0.0, "e": 0.0, "f": 20.0}
    found = stated([item("a", "d"), item("b", "e"), item("c", "f")], scores.__getitem__)
    assert found["overlap"] == (pytest.approx(2 / 3), 3)
    difference = (10 - 20 / 3) / math.sqrt((200 / 3 + 800 / 9) / 2)
    assert found["standardized difference"] == (pytest.approx(difference), 3)


def test_the_scale_of_scores_does_not_matter():
    items = [item(f"{n} good", f"{n * 7 % 5} bad", name=str(n)) for n in range(9)]
    score = lambda text: float(text[0]) + ("good" in text)  # noqa: E731
    first = stated(items, score)
    other = stated(items, lambda text: 1000 * score(text) + 1e5)
    assert {name: value for name, (value, _) in other.items()} == {
        name: pytest.approx(value) for name, (value, _) in first.items()
    }


def test_apart_they_share_nothing_and_alike_all():
    items = [item(f"good {n}", f"bad {n}") for n in range(9)]
    assert stated(items, lambda text: float("good" in text))["overlap"] == (0.0, 9)
    assert stated(items, lambda text: float(text[-1]))["overlap"] == (1.0, 9)
    assert stated(items, lambda text: float(text[-1]))["standardized difference"] == (0.0, 9)


def test_candidates_and_answers_without_a_score():
    """The best candidate scores 3, all others 1; an item with no score for one side counts for nothing."""
    items = [item("aaa", "b", "c", correct=[1.0, 0.5, 0.0]), item("aaaaaaaa", "  ")]
    found = stated(items, len)
    assert found["overlap"] == (0.0, 1)
    assert "standardized difference" not in found  # no score varies within either side
    assert PROBES["distribution"].details(seen("distribution", items, len))["edges"][-1] == 3


def test_equal_scores_overlap():
    assert stated([item("a", "b")], len) == {"overlap": (1.0, 1)}


@pytest.mark.parametrize("items", [[item("a")], [item("a", "b", correct=[1.0, 1.0])], [item("a", " ")]])
def test_without_both_sides_nothing_is_said(items):
    views = seen("distribution", items, len)
    assert not PROBES["distribution"].statistics(views)
    assert PROBES["distribution"].details(views) is None


def test_a_random_score_tells_nothing_apart():
    """A difference of means of 400 each has a standard error of sqrt(2 / 400) standard deviations, 0.07."""
    items = [item(f"good {n}", f"bad {n}") for n in range(400)]
    found = stated(items, lambda text: RandomScore(0).reward([], text))
    assert abs(found["standardized difference"][0]) < 0.25
    assert found["overlap"][0] > 0.8


def test_the_bootstrap_agrees_with_items_drawn_by_hand():
    scores = {"a": 3.0, "bbb": 5.0, "aa": 2.0, "b": 4.0, "aaaa": 1.0, "bbbbbb": 0.0}
    items = [item("a", "bbb"), item("aa", "b"), item("aaaa", "bbbbbb"), item("b", "a")]
    statistic = PROBES["distribution"].statistics({"": measured(items, scores.__getitem__)})[1]
    weights = draw_weights(range(4), draws=20)
    for weight, value in zip(weights, statistic.of(weights), strict=True):
        drawn = [one for one, times in zip(items, weight, strict=True) for _ in range(int(times))]
        again = values(PROBES["distribution"].statistics({"": measured(drawn, scores.__getitem__)}), 4)
        assert value == pytest.approx(again.get("standardized difference", (np.nan, 0))[0], nan_ok=True)


def test_the_picture_has_the_shares_of_both():
    details = PROBES["distribution"].details(seen("distribution", [item("a", "bb"), item("c", "dd")], len))
    assert details["better"] == [1.0] + [0.0] * 19
    assert details["worse"] == [0.0] * 19 + [1.0]
    assert len(details["edges"]) == 21
