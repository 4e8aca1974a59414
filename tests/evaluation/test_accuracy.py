import math
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.evaluation.accuracy import (
    aggregated_scores,
    choices,
    compare_groups,
    evaluate_selection,
    intervals,
    mean_interval,
    tied_share,
)
from openprm.scoring.aggregation import AGGREGATIONS


def make_prompts(seed=0, n_prompts=40, n=8):
    """Right with 0.4; a good scorer, one without a clue, and one that is always wrong."""
    rng = np.random.default_rng(seed)
    prompts = []
    for _ in range(n_prompts):
        correct = (rng.random(n) < 0.4).astype(float)
        answers = ["right" if c else str(rng.integers(3)) for c in correct]
        prompts.append(
            {
                "responses": [f"{'so ' * rng.integers(1, 4)}{answer}" for answer in answers],
                "correct": correct.tolist(),
                "answers": answers,
                "scores": {
                    "good": (correct + rng.normal(0, 0.3, n)).tolist(),
                    "blind": [0.0] * n,
                    "wrong": (-correct).tolist(),
                },
            }
        )
    return prompts


def table(prompts, **options):
    return {row["method"]: row for row in evaluate_selection(prompts, **options)}


def test_the_table_of_methods():
    prompts = make_prompts()
    rows = table(prompts)
    assert list(rows) == [
        "single sample",
        "longest response@8",
        "shortest response@8",
        "majority vote@8",
        "best of 8: good",
        "weighted vote@8: good",
        "best of 8: blind",
        "weighted vote@8: blind",
        "best of 8: wrong",
        "weighted vote@8: wrong",
        "coverage@8",
    ]
    accuracy = {name: row["accuracy"] for name, row in rows.items()}
    single = fmean(fmean(prompt["correct"]) for prompt in prompts)
    assert accuracy["single sample"] == pytest.approx(single)
    assert accuracy["coverage@8"] == fmean(max(prompt["correct"]) for prompt in prompts)
    # A scorer whose scores are all tied chooses as chance does, and a vote weighted by it as the vote does.
    assert accuracy["best of 8: blind"] == pytest.approx(single)
    assert accuracy["weighted vote@8: blind"] == accuracy["majority vote@8"]
    assert accuracy["best of 8: wrong"] < single < accuracy["best of 8: good"] <= accuracy["coverage@8"]
    for row in rows.values():
        assert row["n_prompts"] == 40
        assert row["low"] <= row["accuracy"] <= row["high"]
        assert row["difference"] == pytest.approx(row["accuracy"] - single)
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]


def test_what_needs_no_model_by_hand():
    prompt = {
        "responses": ["a", "a", "a", "bb", "cc"],
        "correct": [1, 1, 1, 0, 1],
        "answers": [None] * 5,
        "scores": {},
    }
    accuracy = {name: row["accuracy"] for name, row in table([prompt]).items()}
    assert accuracy["single sample"] == 0.8
    assert (accuracy["longest response@5"], accuracy["shortest response@5"]) == (0.5, 1)


def test_seeds_of_one_kind_are_one_row():
    prompts = make_prompts()
    groups = {"mine": ["good", "wrong"], "other": ["blind"]}
    rows, each = table(prompts, groups=groups), table(prompts)
    for method in ("best of 8", "weighted vote@8"):
        seeds = [each[f"{method}: {scorer}"]["accuracy"] for scorer in groups["mine"]]
        row = rows[f"{method}: mine"]
        assert row["seeds"] == pytest.approx(seeds)
        assert row["accuracy"] == pytest.approx(fmean(seeds))
    assert rows["single sample"]["seeds"] == []


def test_kinds_are_compared_seed_by_seed_and_prompt_by_prompt():
    prompts = make_prompts()
    groups = {"one": ["good", "blind"], "two": ["good", "wrong"], "lone": ["blind"], "all": ["good", "blind", "wrong"]}
    rows = table(prompts, groups=groups)
    compared = [("one", "two"), ("one", "lone"), ("lone", "one")]
    found = {
        (d["method"], d["group"], d["against"]): d for d in compare_groups(choices(prompts, groups), compared, (0, 1))
    }
    assert len(found) == 6
    for (method, group, against), difference in found.items():
        means = [rows[f"{method}: {name}"]["accuracy"] for name in (group, against)]
        assert difference["difference"] == pytest.approx(means[0] - means[1])
        assert difference["low"] <= difference["difference"] <= difference["high"]
        assert fmean(difference["seeds"]) == pytest.approx(difference["difference"])
    assert found["best of 8", "one", "two"]["seeds"][0] == 0  # the same scorer
    assert found["best of 8", "one", "lone"]["seeds"][1] == 0
    # of other numbers of seeds each is compared with the mean of the others
    (best, _) = compare_groups(choices(prompts, groups), [("one", "all")], (0, 1))
    means = [rows[f"best of 8: {name}"]["accuracy"] for name in ("one", "all")]
    assert best["difference"] == pytest.approx(means[0] - means[1])
    assert len(best["seeds"]) == 2


def test_differences_are_paired():
    rows = table(make_prompts())
    assert (rows["single sample"]["difference_low"], rows["single sample"]["difference_high"]) == (0, 0)
    blind = rows["best of 8: blind"]
    assert blind["difference_high"] - blind["difference_low"] == pytest.approx(
        2 * 1.96 / 40, rel=0.03
    )  # no difference


def test_the_share_of_tied_best_scores_of_rows_in_any_order():
    tied = [("p", 1.0, "a"), ("p", 0.0, "c"), ("p", 1.0, "b")]
    equal = [("q", 0.0, "a"), ("q", 1.0, "b"), ("q", 1.0, "b")]
    lone = [("r", -math.inf, "a"), ("s", 2.0, "b")]
    rows = [row for three in zip(tied, equal, [*lone, lone[0]], strict=True) for row in three]
    assert tied_share(rows) == tied_share(rows[::-1]) == 0.25


def test_the_share_of_tied_best_scores_is_that_of_different_responses():
    rows = table(make_prompts())
    assert rows["best of 8: good"]["tied"] == 0
    assert rows["best of 8: blind"]["tied"] == 1
    assert rows["majority vote@8"]["tied"] is None
    same = {"responses": ["a", "a"], "correct": [1, 1], "answers": [None] * 2, "scores": {"it": [1.0, 1.0]}}
    assert table([same])["best of 2: it"]["tied"] == 0  # it does not matter which


def test_graded_rewards_reach_what_the_best_candidate_has():
    graded = {"responses": ["a", "b"], "correct": [0.5, 0.75], "answers": [None] * 2, "scores": {}}
    row = table([graded])["coverage@2"]
    assert row["accuracy"] == 0.75
    wide = table([{**graded, "correct": [-4.0, 9.0]}])["coverage@2"]
    assert (wide["accuracy"], wide["high"] <= 9, wide["low"] >= -4) == (9, True, True)


def test_open_ended_prompts_have_no_vote():
    prompts = [{**prompt, "answers": [None] * 8} for prompt in make_prompts()]
    assert not [method for method in table(prompts) if "vote" in method]


def test_unlike_prompts_are_refused():
    prompts = make_prompts(n_prompts=2)
    with pytest.raises(ValueError, match="no prompts"):
        evaluate_selection([])
    unlike: list[Any] = [
        {**prompts[1], "answers": prompts[1]["answers"][:7]},
        {**prompts[1], "scores": {"good": prompts[1]["scores"]["good"]}},
        {
            **prompts[1],
            "responses": [],
            "correct": [],
            "answers": [],
            "scores": {name: [] for name in prompts[1]["scores"]},
        },
    ]
    for broken in unlike:
        with pytest.raises(ValueError, match="prompt 1 has"):
            evaluate_selection([prompts[0], broken])
    prompts[1]["scores"]["good"][3] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        evaluate_selection(prompts)


def test_aggregated_scores():
    scores = aggregated_scores({"prm": [[1.0, -2.0], [0.0], []]}, ["min", "last"])
    assert scores == {"prm/min": [-2.0, 0.0, -math.inf], "prm/last": [-2.0, 0.0, -math.inf]}
    assert len(aggregated_scores({"a": [[1.0]], "b": [[1.0]]})) == 2 * (len(AGGREGATIONS) - 1)  # no prod


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20))
def test_intervals_hold_the_mean_and_lie_within_the_bounds(sample):
    low, high = mean_interval(sample, -5, 5)
    assert -5 - 1e-9 <= low <= fmean(sample) + 1e-9
    assert fmean(sample) - 1e-9 <= high <= 5 + 1e-9


def test_intervals_of_shares_are_wilsons():
    # by the formula in Wilson (1927); the bootstrap gave 1.000 to 1.000 for 300 of 300
    for right, low, high in ((300, 0.987357, 1.0), (299, 0.981363, 0.999411), (150, 0.443780, 0.556220)):
        assert mean_interval([1.0] * right + [0.0] * (300 - right)) == pytest.approx((low, high), abs=1e-6)


def test_intervals_of_equal_values_are_not_empty():
    low, high = mean_interval([0.0] * 300, -1, 1)
    assert (low, high) == pytest.approx((-1.96 / 300, 1.96 / 300), rel=0.01)


@pytest.mark.parametrize("n", [50, 300])
@pytest.mark.parametrize(("p", "q"), [(0.5, 0), (0.9, 0), (0.98, 0), (0.995, 0), (0.05, 0.05), (0.1, 0.02), (0.01, 0)])
def test_intervals_cover_the_mean(p, q, n):
    """Values 0 and 1, and differences: 1 with p, -1 with q. The percentile bootstrap covered 0.80 with p = 0.995."""
    drawn = np.random.default_rng(0).random((4000, n))
    paired = q or p < 0.05
    low, high = intervals((drawn < p) * 1.0 - (drawn > 1 - q), -1.0 if paired else 0.0, 1.0)
    assert np.mean((np.array(low) <= p - q) & (p - q <= np.array(high))) > 0.92


def test_the_interval_is_the_normal_one_for_many_values():
    sample = np.random.default_rng(0).uniform(size=4000)
    half = 1.96 * sample.std() / 4000**0.5
    assert mean_interval(sample) == pytest.approx((sample.mean() - half, sample.mean() + half), abs=1e-4)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])
