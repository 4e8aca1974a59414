from statistics import fmean

import pytest

from openprm.decoding.selection import expected_best_of_n
from openprm.evaluation.accuracy import aggregated_scores
from openprm.evaluation.data import random_rewards

RIGHT, WRONG = ["Two.", "Four."], [["Two.", "Five."], ["Two.", "Six."], ["Three."]]


def test_equal_prefixes_share_a_random_reward_whatever_their_order():
    responses = [RIGHT, *WRONG, RIGHT]
    for name, rewards in random_rewards("p", responses).items():
        assert rewards[0] == rewards[4]
        assert rewards[0][0] == rewards[1][0] == rewards[2][0] != rewards[3][0]
        assert len({steps[-1] for steps in rewards}) == 4
        assert random_rewards("p", responses[::-1])[name] == rewards[::-1]
        assert random_rewards("q", responses)[name] != rewards


def test_a_random_score_chooses_among_distinct_responses_and_not_among_samples():
    """Five of eight samples are right, all the same: an uninformed score is worse than a single sample."""
    responses, correct = [RIGHT] * 5 + WRONG, [1.0] * 5 + [0.0] * 3
    found: dict[str, list[float]] = {"min": [], "mean": [], "last": []}
    for prompt in range(1000):
        for name, scores in aggregated_scores(random_rewards(str(prompt), responses), list(found)).items():
            found[name.rpartition("/")[2]].append(expected_best_of_n(scores, correct))
    assert fmean(found["last"]) == pytest.approx(1 / 4, abs=0.02)  # of the four distinct ones one is right
    assert max(map(fmean, found.values())) < 0.3 < fmean(correct)
