import math
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openprm.decoding.selection import expected_vote
from openprm.evaluation.accuracy import (
    aggregated_scores,
    bootstrap_interval,
    evaluate_selection,
    paper_protocol,
    scaling_curve,
    vote_curve,
)
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


def test_differences_are_paired():
    rows = table(make_prompts())
    assert (rows["single sample"]["difference_low"], rows["single sample"]["difference_high"]) == (0, 0)
    blind = rows["best of 8: blind"]
    assert blind["difference_high"] - blind["difference_low"] < 1e-9 < blind["high"] - blind["low"]


def test_the_seed_decides_the_intervals():
    prompts = make_prompts()
    assert table(prompts, seed=1) == table(prompts, seed=1)
    assert table(prompts, seed=1) != table(prompts, seed=2)


def test_the_rows_intervals_are_those_of_the_values():
    prompts = make_prompts()
    single = [fmean(prompt["correct"]) for prompt in prompts]
    row = table(prompts)["single sample"]
    assert (row["low"], row["high"]) == pytest.approx(bootstrap_interval(single, n_resamples=500))


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


def test_scaling_curve_goes_from_a_single_sample_to_the_table():
    prompts = make_prompts(n=6)
    rows = table(prompts)
    points = scaling_curve(prompts, n_resamples=500)
    assert [p["n"] for p in points if p["method"] == "coverage"] == [1, 2, 4, 6]
    curve = {(p["method"], p["n"]): p for p in points}
    for method, end in {"best of n: good": "best of 6: good", "coverage": "coverage@6"}.items():
        assert curve[method, 1]["accuracy"] == pytest.approx(rows["single sample"]["accuracy"])
        for key in ("accuracy", "low", "high"):
            assert curve[method, 6][key] == pytest.approx(rows[end][key])
    coverage = [p["accuracy"] for p in points if p["method"] == "coverage"]
    assert coverage == sorted(coverage)


def test_vote_curve_goes_from_a_single_sample_to_the_table():
    prompts = make_prompts(n=6)
    rows = table(prompts)
    points = {(p["method"], p["n"]): p for p in vote_curve(prompts, n_resamples=500)}
    assert [n for method, n in points if method == "majority vote"] == [1, 2, 4, 6]
    for method, end in {"majority vote": "majority vote@6", "weighted vote: good": "weighted vote@6: good"}.items():
        assert points[method, 1]["accuracy"] == pytest.approx(rows["single sample"]["accuracy"])
        for key in ("accuracy", "low", "high"):
            assert points[method, 6][key] == pytest.approx(rows[end][key])
        assert points[method, 1]["drawing_error"] == points[method, 6]["drawing_error"] == 0
        assert 0 < points[method, 4]["drawing_error"] < 0.02
    assert vote_curve([{**prompt, "answers": [None] * 6} for prompt in prompts]) == []


def test_a_vote_among_some_is_near_the_mean_over_all_subsets():
    prompts = make_prompts(n_prompts=30, n=7)
    for method, name in {"majority vote": None, "weighted vote: good": "good"}.items():
        exact = fmean(
            expected_vote(
                [p["answers"][i] for i in some],
                [p["correct"][i] for i in some],
                None if name is None else [p["scores"][name][i] for i in some],
            )
            for p in prompts
            for some in combinations(range(7), 4)
        )
        point = next(p for p in vote_curve(prompts, n_resamples=2, draws=400) if (p["method"], p["n"]) == (method, 4))
        assert abs(point["accuracy"] - exact) < 4 * point["drawing_error"] < 0.05


def test_the_papers_protocol_converges_to_the_exact_values():
    prompts = make_prompts(n_prompts=20)
    exact = {p["method"]: p["accuracy"] for p in scaling_curve(prompts, n_resamples=2) if p["n"] == 4}
    few, many = (paper_protocol(prompts, 4, repetitions) for repetitions in (5, 4000))
    assert {len(values) for values in few.values()} == {5}
    assert set(many) == {*exact, "majority vote", *(f"weighted vote: {name}" for name in ("good", "blind", "wrong"))}
    for method, value in exact.items():
        error = np.std(many[method]) / math.sqrt(4000)
        assert abs(fmean(many[method]) - value) <= 4 * error + 1e-12
        assert abs(fmean(few[method]) - value) <= 5 * np.std(many[method]) / math.sqrt(5) + 1e-12
    # all eight of eight leave nothing to chance
    assert set(paper_protocol(prompts, 8)["best of n: good"]) == {table(prompts)["best of 8: good"]["accuracy"]}
    with pytest.raises(ValueError, match="cannot draw 9 of 8"):
        paper_protocol(prompts, 9)


def test_the_papers_protocol_is_not_the_drawing_of_the_vote_curve():
    prompts = make_prompts()
    drawn = {
        p["n"]: p["accuracy"] for p in vote_curve(prompts, n_resamples=2, draws=5) if p["method"] == "majority vote"
    }
    assert drawn[4] != pytest.approx(fmean(paper_protocol(prompts, 4, 5)["majority vote"]))


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
