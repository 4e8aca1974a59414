"""RewardBench 2's score of prompts with several right responses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from openprm.evaluation.benchmarks.ties import ties_score

#: Of a prompt: the rewards of its item with one right response, and of that with several, how many are right, and the
#: score that `process_single_model` of github.com/allenai/reward-bench (commit a009692) gives the two items alone.
PROMPTS: list[tuple[Sequence[float], Sequence[float], int, float]] = [
    ((2.0, 1.0, 0.5), (2.0, 1.8, 1.9, 0.0, 0.5), 3, 1.0099932929973907),
    ((0.4, 0.1), (3.0, 1.0, 0.5, 0.2), 2, 0.5930893053016707),
    ((0.0, 0.7), (1.5, 1.0, 1.2), 2, -0.009836748576936803),
    ((0.6, 0.1), (2.0, 1.0, -1.0), 2, 0.7953788284273999),
]
ALL = 0.597156169537381


def score(some: Sequence[int], more: Sequence[str] = ()) -> float:
    names = [*(f"{sort}:{i}" for i in some for sort in ("ref", "tied")), *more]
    scores = [one for i in some for one in PROMPTS[i][:2]] + [(1.0, 0.0)] * len(more)
    right = [n for i in some for n in (1, PROMPTS[i][2])] + [1] * len(more)
    return float(ties_score(names, scores, right)(np.ones((1, len(names))))[0])


@pytest.mark.parametrize("i", range(len(PROMPTS)))
def test_one_prompt_as_the_official_code_scores_it(i: int):
    assert score([i]) == pytest.approx(PROMPTS[i][3], abs=1e-12)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_all_prompts_in_any_order_beside_other_subsets(order: Sequence[int]):
    assert score(order) == pytest.approx(ALL, abs=1e-12)
    assert score(order, ["", ""]) == pytest.approx(ALL, abs=1e-12)


def test_by_hand():
    # ref: 0.4 - 0.1 = 0.3 above; tied: 1 - 0.5 = 0.5 above, 3 - 1 = 2 among the right ones
    assert score([1]) == pytest.approx(0.3 + 0.3 + 0 + 0 + 0.01 * math.tanh(0.3 / 2 - 1))


def test_an_item_whose_partner_is_missing_has_an_accuracy_but_no_margin():
    names, scores = ["ref:0", "tied:0", "tied:1"], [*PROMPTS[0][:2], PROMPTS[3][1]]
    found = ties_score(names, scores, [1, 3, 2])(np.ones((1, 3)))[0]
    assert found == pytest.approx(PROMPTS[0][3], abs=1e-12)


def test_equal_right_responses_and_one_without_a_reward():
    def both(tied: Sequence[float]) -> float:
        return float(ties_score(["ref:0", "tied:0"], [(1.0, 0.0), tied], [1, 2])(np.ones((1, 2)))[0])

    assert both((1.0, 1.0, 0.0)) == pytest.approx(1.01)
    assert both((0.0, 0.0, 0.0)) == pytest.approx(0.3)  # no margin at all: 0 / 0 counts as 0
    assert both((1.0, -math.inf, 0.0)) == both((1.0, 1.0, -math.inf)) == pytest.approx(0.3 - 0.01)


def test_a_draw_repeats_prompts():
    names = [f"{sort}:{i}" for i in (0, 2) for sort in ("ref", "tied")]
    scores = [one for i in (0, 2) for one in PROMPTS[i][:2]]
    found = ties_score(names, scores, [1, 3, 1, 2])(np.array([[2, 2, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]))
    assert found[0] == pytest.approx(PROMPTS[0][3])
    assert found[1] == pytest.approx((PROMPTS[0][3] + PROMPTS[2][3]) / 2)
    assert np.isnan(found[2])
