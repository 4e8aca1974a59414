import json
import math

import numpy as np
import pytest

from openprm.evaluation.benchmarks.baselines import RandomScore
from openprm.evaluation.bootstrap import draw_weights
from openprm.evaluation.probes import PROBES
from tests.evaluation.probes.measuring import item, measured, seen, values

SHORTER, LONGER = ("pair accuracy", "the better is shorter"), ("pair accuracy", "the better is longer")


def stated(items, score, **more):
    return values(PROBES["length"].statistics(seen("length", items, score, **more)), len(items))


def test_the_correlation_is_of_values_less_their_items_mean():
    """Lengths -2, 2 and -1, 1 and 0, 0 around their means; scores -1, 1 and 2, -2 and 5, -5."""
    scores = {"a": 1.0, "aaaaa": 3.0, "bb": 14.0, "bbbb": 10.0, "cc": 105.0, "dd": 95.0}
    found = stated([item("a", "aaaaa"), item("bb", "bbbb"), item("cc", "dd")], scores.__getitem__)
    # sum of products: 2 * (2 * 1) + 2 * (1 * -2) + 0 = 0
    assert found["correlation"] == (0.0, 2)
    scores["bb"] = 8.0  # now -1 and 1: 2 * 2 + 2 * 1 = 6; lengths 8 + 2 = 10, scores 2 + 2 + 50 = 54
    found = stated([item("a", "aaaaa"), item("bb", "bbbb"), item("cc", "dd")], scores.__getitem__)
    assert found["correlation"] == (pytest.approx(6 / math.sqrt(10 * 54)), 2)


def test_a_question_with_long_answers_and_high_rewards_is_no_length_bias():
    items = [item("a", "bb"), item("a" * 100, "b" * 101)]
    found = stated(items, lambda text: 1000.0 * (len(text) > 50) - len(text) % 2)
    assert found["correlation"][0] < 1 / 2
    assert np.corrcoef([1, 2, 100, 101], [-1, 0, 1000, 999])[0, 1] > 0.99  # over all answers


def test_a_scorer_by_length_correlates_fully_and_fails_where_the_better_answer_is_shorter():
    items = [item("a", "bbb"), item("aaa", "b"), item("aaaa", "bb"), item("aa", "bb")]
    assert stated(items, len) == {"correlation": (1.0, 3), SHORTER: (0.0, 1), LONGER: (1.0, 2)}


def test_pairs_of_candidates_with_more_and_less_correct_answers():
    """Two right answers, of 2 and 4 characters, and wrong ones of 3 and 1: each is shorter or longer."""
    choice = item("aa", "bbbb", "ccc", "d", correct=[1.0, 1.0, 0.0, 0.0])
    found = stated([choice], {"aa": 3.0, "bbbb": 0.0, "ccc": 2.0, "d": 1.0}.__getitem__)
    assert found[SHORTER] == (1.0, 1)  # aa against ccc
    assert found[LONGER] == (pytest.approx(1 / 3), 1)  # aa against d is won, bbbb against both is lost
    # ranks of lengths 2 4 3 1 and of scores 4 1 3 2: squared differences 4 + 9 + 0 + 1, and 1 - 6 * 14 / (4 * 15)
    assert found["rank correlation"] == (pytest.approx(1 - 6 * 14 / 60), 1)


def test_several_chosen_responses_come_first():
    """Both chosen ones are shorter than the rejected one, and one of them wins."""
    found = stated([item("a", "bb", "ccc", right=2)], {"a": 0.0, "bb": 2.0, "ccc": 1.0}.__getitem__)
    assert found[SHORTER] == (0.5, 1)
    assert LONGER not in found


def test_ranks_of_equal_values_are_their_mean():
    found = stated([item("a", "bb", "cc", "ddd")], {"a": 0.0, "bb": 1.0, "cc": 2.0, "ddd": 3.0}.__getitem__)
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: products of deviations 2.25 + 0 + 0 + 2.25 of sqrt(4.5 * 5)
    assert found["rank correlation"] == (pytest.approx(4.5 / math.sqrt(4.5 * 5)), 1)


def test_answers_without_a_score_are_left_out_of_the_correlation_and_lose():
    found = stated([item("   ", "a"), item("aaaa", "b")], len)
    assert found["correlation"] == (1.0, 1)
    assert found[LONGER] == (0.5, 2)


@pytest.mark.parametrize("items", [[item("ab", "cd")], [item("a")], []])
def test_where_nothing_can_be_said_nothing_is(items):
    assert not stated(items, len)


def test_single_answers_have_no_picture():
    assert PROBES["length"].details(seen("length", [item("a")], len)) is None


def test_equal_scores_have_no_correlation():
    assert set(stated([item("a", "bbb")], lambda text: 1.0)) == {SHORTER}


def test_a_random_score_is_at_chance():
    """Of 400 pairs, half are won; the correlation is the mean of 400 signs, nearly: within 4 of 1 / sqrt(400)."""
    items = [item("a" * (n % 7 + 1) + str(n), "b" * (n % 5 + 15) + str(n)) for n in range(400)]
    found = stated(items, lambda text: RandomScore(0).reward([], text))
    assert abs(found["correlation"][0]) < 0.2
    assert abs(found[SHORTER][0] - 0.5) < 0.1


def test_the_bootstrap_agrees_with_items_drawn_by_hand():
    items = [item("a", "bbb"), item("aa", "b"), item("aaaa", "bbb"), item("aa", "bbbbbb")]
    scores = {"a": 3.0, "bbb": 5.0, "aa": 2.0, "b": 4.0, "aaaa": 1.0, "bbbbbb": 0.0}
    statistic = PROBES["length"].statistics({"": measured(items, scores.__getitem__)})[0]
    weights = draw_weights(range(4), draws=20)
    for weight, value in zip(weights, statistic.of(weights), strict=True):
        drawn = [one for one, times in zip(items, weight, strict=True) for _ in range(int(times))]
        again = PROBES["length"].statistics({"": measured(drawn, scores.__getitem__)})[0]
        assert value == pytest.approx(again.of(np.ones((1, 4)))[0])


def test_the_picture_has_a_point_an_answer_of_the_same_prompts_always():
    items = [item(str(n), "b" * n, name=str(n)) for n in range(1, 500)]
    details = PROBES["length"].details({"": measured(items, len)})
    assert len(details["points"]) == 2 * 200
    assert details["unit"] == "characters"
    assert details == json.loads(json.dumps(PROBES["length"].details({"": measured(items, len)})))
    assert all(point["length"] == point["score"] for point in details["points"])
