import math
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openprm.evaluation.accuracy import aggregated_scores, bootstrap_interval, compare_groups, evaluate_selection
from openprm.scoring.aggregation import AGGREGATIONS

values = st.lists(st.floats(-5, 5), min_size=1, max_size=20)


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
    return {row["method"]: row for row in evaluate_selection(prompts, n_resamples=500, **options)}


def test_the_table_of_methods():
    prompts = make_prompts()
    rows = table(prompts)
    assert list(rows) == [
        "single sample",
        "random score@8",
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
    assert accuracy["random score@5"] == pytest.approx(2 / 3)  # of the three distinct ones, two are right
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
    found = {(d["method"], d["group"], d["against"]): d for d in compare_groups(prompts, groups, compared)}
    assert len(found) == 6
    for (method, group, against), difference in found.items():
        means = [rows[f"{method}: {name}"]["accuracy"] for name in (group, against)]
        assert difference["difference"] == pytest.approx(means[0] - means[1])
        assert difference["low"] <= difference["difference"] <= difference["high"]
        assert fmean(difference["seeds"]) == pytest.approx(difference["difference"])
    assert found["best of 8", "one", "two"]["seeds"][0] == 0  # the same scorer
    assert found["best of 8", "one", "lone"]["seeds"][1] == 0
    with pytest.raises(ValueError, match="one and all have 2 and 3 seeds"):
        compare_groups(prompts, groups, [("one", "all")])


def test_differences_are_paired():
    rows = table(make_prompts())
    assert (rows["single sample"]["difference_low"], rows["single sample"]["difference_high"]) == (0, 0)
    blind = rows["best of 8: blind"]
    assert blind["difference_high"] - blind["difference_low"] < 1e-9 < blind["high"] - blind["low"]


def test_the_seed_decides_the_intervals():
    prompts = make_prompts()
    assert table(prompts, seed=1) == table(prompts, seed=1)
    assert table(prompts, seed=1) != table(prompts, seed=2)


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
        make_prompts(n_prompts=1, n=7)[0],
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
    assert len(aggregated_scores({"a": [[1.0]], "b": [[1.0]]})) == 2 * len(AGGREGATIONS)


@settings(max_examples=30)
@given(values, st.integers(0, 5))
def test_intervals_lie_within_the_values(sample, seed):
    low, high = bootstrap_interval(sample, seed, n_resamples=200)
    assert min(sample) - 1e-9 <= low <= high <= max(sample) + 1e-9


def test_the_interval_is_the_normal_one_for_many_values():
    sample = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(sample.tolist())
    half = 1.96 * sample.std() / 20
    assert (low, high) == pytest.approx((sample.mean() - half, sample.mean() + half), abs=0.006)
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval([])
