import math
from itertools import permutations

import pytest

from openprm.evaluation.correlation import followed, rank_correlation


def prompt(texts, correct, **scores):
    return {"responses": texts, "correct": correct, "answers": [None] * len(texts), "scores": scores}


def test_rank_correlation_by_hand():
    """Without ties it is 1 - 6 sum d^2 / (n (n^2 - 1)); with ties, Pearson's of mean ranks."""
    for y in permutations([1, 2, 3, 4]):
        squares = sum((a - b) ** 2 for a, b in zip([1, 2, 3, 4], y, strict=True))
        assert rank_correlation([1.0, 10.0, 11.0, 500.0], y) == pytest.approx(1 - 6 * squares / 60)
    assert rank_correlation([1, 2, 2, 3], [0, 1, 2, 3]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [2, 2, 2]), ([], [])])
def test_there_is_none_where_nothing_differs(x, y):
    assert math.isnan(rank_correlation(x, y))


def test_equal_responses_count_once():
    """a three times, b twice, ccc once: scores in order of frequency, rewards against it."""
    texts = ["a", "a", "a", "bb", "bb", "ccc"]
    one = prompt(texts, [0, 0, 0, 0, 0, 1], m=[3.0, 3.0, 3.0, 2.0, 2.0, 1.0], n=[1.0, 1.0, 1.0, 3.0, 3.0, 2.0])
    few = prompt(["a", "b"], [0, 1], m=[1.0, 2.0], n=[1.0, 2.0])
    found = {(row["group"], row["with"]): row for row in followed([one, few], {"k": ["m", "n"]})}
    assert list(found) == [
        ("k", "reward"),
        *((group, of) for of in ("frequency", "length") for group in ("reward", "k")),
    ]
    both = found["k", "frequency"]
    assert both["seeds"] == pytest.approx([1, -0.5])  # ranks 3 2 1 and 1 3 2: 1 - 6 * 6 / 24
    assert (both["correlation"], both["n_prompts"]) == (pytest.approx(0.25), 1)
    assert both["low"] < 0.25 < both["high"]
    assert found["k", "length"]["correlation"] == pytest.approx(-0.25)
    # ranks 3 2 1 and 1.5 1.5 3
    assert found["reward", "frequency"]["correlation"] == pytest.approx(-1.5 / math.sqrt(2 * 1.5))
    assert found["reward", "frequency"]["seeds"] == []


def test_a_response_without_a_score_has_no_part():
    one = prompt(["a", "bb", "ccc", "dddd"], [0, 1, 0, 1], m=[1.0, 2.0, 3.0, -math.inf])
    found = followed([one], {"k": ["m"]})
    assert [(row["group"], row["with"]) for row in found] == [("k", "reward"), ("reward", "length"), ("k", "length")]
    assert found[2]["correlation"] == pytest.approx(1)
    assert found[0]["correlation"] == pytest.approx(0)  # of 1 2 3 with 0 1 0
    assert followed([prompt(["a"], [1], m=[1.0])], {"k": ["m"]}) == []


def test_models_are_compared_by_how_they_follow_the_reward():
    """Ranks 1 2 3 against 1 2 3 and 3 2 1, in two prompts; equal texts count by their means."""
    one = prompt(["a", "b", "c", "c"], [0.0, 0.5, 1.0, 1.0], m=[1.0, 2.0, 3.0, 5.0], n=[3.0, 2.0, 1.0, 1.0])
    two = prompt(["a", "b", "c"], [0.0, 0.5, 1.0], m=[1.0, 2.0, 3.0], n=[1.0, 2.0, 3.0])
    found = {row["group"]: row for row in followed([one, two], {"k": ["m"], "l": ["n"]}) if row["with"] == "reward"}
    assert {group: row["correlation"] for group, row in found.items()} == pytest.approx(
        {"k": 1, "l": 0, "l less k": -1}
    )
    assert found["l less k"]["seeds"] == pytest.approx([-1])
    assert -2 < found["l less k"]["low"] < -1 < found["l less k"]["high"] < 2


def test_a_group_is_compared_with_the_mean_of_one_of_another_size():
    one = prompt(["a", "b", "c"], [0.0, 0.5, 1.0], m=[1.0, 2.0, 3.0], n=[3.0, 2.0, 1.0], o=[1.0, 2.0, 3.0])
    found = {row["group"]: row for row in followed([one], {"k": ["m", "n"], "l": ["o"]}) if row["with"] == "reward"}
    assert found["l less k"]["seeds"] == pytest.approx([1])  # 1 less the mean of 1 and -1


def test_a_seed_that_ties_everything_has_no_correlation():
    one = prompt(["a", "bb", "ccc"], [0, 1, 0], m=[1.0, 2.0, 3.0], n=[1.0, 1.0, 1.0])
    (row,) = (row for row in followed([one], {"k": ["m", "n"]}) if (row["group"], row["with"]) == ("k", "length"))
    assert (row["seeds"], row["correlation"]) == ([pytest.approx(1), None], pytest.approx(1))
