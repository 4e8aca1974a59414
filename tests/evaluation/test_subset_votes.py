"""Every choice among a subset is the one that `openprm.decoding.selection` makes among those candidates alone."""

import math
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.decoding.selection import coverage, expected_best_of_n, expected_vote
from openprm.evaluation.subset_votes import best_in, random_subsets, vote_in

# Few distinct values, so that ties are common; far apart, so that a weight may vanish.
scores = st.sampled_from([-2000.0, -0.5, 0.0, 0.1, 3.0, 900.0, -math.inf])
candidates = st.lists(
    st.tuples(st.sampled_from(["1", "2", "3", None]), scores, st.sampled_from([0.0, 1.0])), min_size=1, max_size=6
)


@given(candidates, st.data())
def test_choices_are_those_of_search(rows, data):
    answers, values, correct = map(list, zip(*rows, strict=True))
    n = data.draw(st.integers(1, len(rows)))
    chosen = list(combinations(range(len(rows)), n))
    subsets = np.array([[index in some for index in range(len(rows))] for some in chosen])

    def each(measure):
        return [measure(*([column[i] for i in some] for column in (answers, values, correct))) for some in chosen]

    some_scores = np.array([values, np.zeros(len(rows))])
    best = [each(lambda _, s, c: expected_best_of_n(s, c)), each(lambda _, s, c: fmean(c))]
    votes = [each(lambda a, s, c: expected_vote(a, c, s)), each(lambda a, s, c: expected_vote(a, c))]
    assert best_in(subsets, some_scores, correct) == pytest.approx(np.array(best))
    assert vote_in(subsets, answers, correct, some_scores) == pytest.approx(np.array(votes))
    assert best_in(subsets, np.array([correct]), correct)[0] == pytest.approx(each(lambda _, s, c: coverage(c)))


def test_all_subsets_are_equally_likely():
    drawn = random_subsets(4, 2, 6000, np.random.default_rng(0))
    assert set(drawn.sum(axis=1)) == {2}
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 6
    assert abs(counts - 1000).max() < 5 * math.sqrt(1000)
