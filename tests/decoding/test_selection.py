import math
from collections import Counter
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.decoding.selection import (
    best_of_n,
    coverage,
    expected_best_of_n,
    expected_vote,
    has_weights,
    log_weights,
    majority_vote,
    tie_weights,
    weighted_vote,
)

# Few distinct values, so that ties are common.
scores = st.sampled_from([-2.0, -0.5, 0.0, 1.0, 3.0, -math.inf])
answers = st.sampled_from(["1", "2", "3", None])
correct = st.sampled_from([0.0, 1.0])
candidates = st.lists(st.tuples(answers, scores, correct), min_size=1, max_size=7)


def test_best_of_n_takes_the_first_of_tied_ones():
    assert best_of_n([1.0, 3.0, 2.0, 3.0]) == 1
    assert best_of_n([-math.inf, -5.0]) == 1


def test_ties_go_by_the_last_reward_summed_over_equal_candidates():
    tied = [[-1.0, 0.5, 0.1], [-1.0, 0.9, 0.3], [-1.0, 0.5, 0.1], [-1.0, 0.2, 0.2]]
    # twice exp(0.1) is more than exp(0.3); the next lowest step would choose the second
    assert best_of_n([-1.0] * 4, tied) == 0
    assert best_of_n([-1.0] * 3, tied[1:]) == 0
    assert best_of_n([-1.0, -1.0, -2.0], [[], [0.0, None], [5.0]]) == 1
    assert tie_weights(tied) == pytest.approx([0.1 + math.log(2), 0.3, 0.1 + math.log(2), 0.2])


@given(candidates)
def test_ties_are_broken_among_the_best_only(rows):
    _, values, last = zip(*rows, strict=True)
    assert values[best_of_n(values, [[reward] for reward in last])] == max(values)


@pytest.mark.parametrize("values", [[], [0.0, math.nan], [math.nan, 0.0]])
def test_scores_that_cannot_be_ranked(values):
    for choose in (best_of_n, lambda s: weighted_vote(["1"] * len(s), s), lambda s: expected_best_of_n(s, s)):
        with pytest.raises(ValueError, match=r"no scores|no answers|NaN"):
            choose(values)


def test_majority_vote():
    assert majority_vote(["2", "1", "1", None, None, None]) == "1"
    assert majority_vote(["2", "1", "1", "2"]) == "2"
    assert majority_vote([None, None]) is None
    with pytest.raises(ValueError, match="no answers"):
        majority_vote([])


def test_weighted_vote():
    assert weighted_vote(["1", "1", "2"], [0.0, 0.0, 0.5]) == "1"  # 2 against e^0.5
    assert weighted_vote(["1", "1", "2"], [0.0, 0.0, 1.0]) == "2"  # 2 against e
    assert weighted_vote([None, "1", "2"], [5000.0, -3000.0, -2000.0]) == "2"
    assert weighted_vote(["1", "2", "2"], [-math.inf] * 3) == "2"
    assert weighted_vote([None], [0.0]) is None
    with pytest.raises(ValueError, match="same candidates"):
        weighted_vote(["1"], [0.0, 1.0])


@given(candidates, st.sampled_from([-1000.0, 0.0, 64.0]))
def test_weighted_vote_does_not_see_a_shift(rows, shift):
    names, values, _ = zip(*rows, strict=True)
    assert weighted_vote(names, [value + shift for value in values]) == weighted_vote(names, values)


def test_the_unit_says_what_a_score_weighs():
    one, three = ["a", "b", "b", "b"], [6.0, 2.0, 2.0, 2.0]
    assert weighted_vote(one, three) == weighted_vote(one, three, "log-ratio") == "a"  # 403 against 22
    assert weighted_vote(one, three, "log-odds") == "b"  # 1.0 against 2.6
    weights = [math.exp(weight) for weight in log_weights(three, "log-odds")]
    assert (round(weights[0], 1), round(sum(weights[1:]), 1)) == (1.0, 2.6)
    weights = [math.exp(weight) for weight in log_weights(three)]
    assert (round(weights[0]), round(sum(weights[1:]))) == (403, 22)
    # a score by `prod` is a log-probability already: 0.9 against 0.4 + 0.4
    assert weighted_vote(["a", "b", "b"], [math.log(p) for p in (0.9, 0.4, 0.4)], "log-probability") == "a"
    for unit in ("grade", "value"):
        assert not has_weights(unit)
        with pytest.raises(ValueError, match=f"unit '{unit}' do not give; take the best of N"):
            expected_vote(one, [1, 0, 0, 0], three, unit)


@given(candidates)
def test_a_constant_changes_the_vote_of_log_odds(rows):
    """Far below even odds it is that of strengths, far above the majority's: a probability is at most 1."""
    names, values, _ = zip(*[row for row in rows if row[1] > -math.inf] or [("1", 0.0, 0.0)], strict=True)
    assert weighted_vote(names, [value - 64 for value in values], "log-odds") == weighted_vote(names, values)
    assert weighted_vote(names, [value + 64 for value in values], "log-odds") == majority_vote(names)


@given(candidates)
def test_equal_scores_are_a_majority_vote(rows):
    names, _, right = zip(*rows, strict=True)
    same = [0.7] * len(names)
    assert weighted_vote(names, same) == majority_vote(names)
    assert expected_vote(names, right, same) == expected_vote(names, right)


@given(candidates, st.randoms(use_true_random=False))
def test_expectations_do_not_depend_on_the_order(rows, random):
    shuffled = random.sample(rows, len(rows))
    for measure in (
        lambda n, s, c: expected_best_of_n(s, c),
        lambda n, s, c: expected_vote(n, c),
        lambda n, s, c: expected_vote(n, c, s),
    ):
        assert measure(*zip(*rows, strict=True)) == pytest.approx(measure(*zip(*shuffled, strict=True)))


def brute_best(values, right):
    return fmean(c for s, c in zip(values, right, strict=True) if s == max(values))


@given(candidates, st.data())
def test_expected_best_of_n_is_the_mean_over_all_subsets(rows, data):
    _, values, right = zip(*rows, strict=True)
    n = data.draw(st.integers(1, len(rows)))
    subsets = [brute_best([values[i] for i in s], [right[i] for i in s]) for s in combinations(range(len(rows)), n)]
    assert expected_best_of_n(values, right, n) == pytest.approx(fmean(subsets))
    assert expected_best_of_n(values, right) == pytest.approx(brute_best(values, right))


@given(candidates, st.data())
def test_coverage_is_the_mean_over_all_subsets(rows, data):
    right = [row[2] for row in rows]
    n = data.draw(st.integers(1, len(rows)))
    assert coverage(right, n) == pytest.approx(fmean(max(s) for s in combinations(right, n)))
    assert expected_best_of_n([row[1] for row in rows], right, n) <= coverage(right, n) + 1e-12


@given(candidates)
def test_expected_vote_averages_over_tied_winners(rows):
    names, _, right = zip(*rows, strict=True)
    counts = Counter(name for name in names if name is not None) or Counter(names)
    winners = [name for name, count in counts.items() if count == max(counts.values())]
    accuracy = {w: fmean(c for name, c in zip(names, right, strict=True) if name == w) for w in winners}
    assert expected_vote(names, right) == pytest.approx(fmean(accuracy.values()))
    assert majority_vote(names) in winners


def test_subset_sizes_are_checked():
    for n in (0, 3):
        with pytest.raises(ValueError, match="cannot draw"):
            expected_best_of_n([0.0, 1.0], [0, 1], n)
        with pytest.raises(ValueError, match="cannot draw"):
            coverage([0, 1], n)


def test_large_n_is_exact():
    assert expected_best_of_n(list(range(128)), [0] * 127 + [1], 64) == 0.5
    assert coverage([1] + [0] * 127, 32) == 0.25


def test_coverage_of_graded_rewards_is_the_best_that_can_be_reached():
    assert coverage([0.5, 0.75, 0.25]) == 0.75
    assert coverage([0.5, 0.75, 0.25], 1) == 0.5
    assert coverage([-2.0, -1.0]) == -1.0
