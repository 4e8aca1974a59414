from __future__ import annotations

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.decoding.early_rejection import ScoredSamples
from openprm.evaluation.scaling import Search, early_rejection_rows, sample_points, search_point, step_tokens

from .test_accuracy import make_prompts


def search(prompts, correct, budget=4, scorer="good", aggregation="min"):
    return Search("mine", "pbs", budget, scorer, aggregation, correct, 0, 50.0, 60.0)


def named(prompts):
    """The same prompts with scorers called as the stage calls them."""
    return [{**p, "scores": {f"{name}/min": values for name, values in p["scores"].items()}} for p in prompts]


def test_lines_of_samples():
    prompts = named(make_prompts(n=6))
    points = sample_points(prompts, tokens=10.0, n_resamples=200)
    lines = {point["line"] for point in points}
    assert {"coverage", "majority vote", "best of n: good/min", "weighted vote: good/min"} <= lines
    for point in points:
        assert point["generated_tokens"] == 10 * point["n"]
        assert point["low"] - 1e-9 <= point["accuracy"] <= point["high"] + 1e-9
        # five draws are near what is exact, and all six of six are the same
        assert abs(point["paper"] - point["accuracy"]) <= 0.15
        if point["n"] == 6:
            assert (point["paper"], point["paper_std"]) == (pytest.approx(point["accuracy"]), pytest.approx(0))
    assert {point["generated_tokens"] for point in sample_points(prompts, None, n_resamples=2)} == {None}


def test_a_search_is_compared_prompt_by_prompt():
    prompts = named(make_prompts())
    # It answers what best-of-N of all eight would: so the two do not differ at all.
    correct = [p["correct"][max(range(8), key=p["scores"]["good/min"].__getitem__)] for p in prompts]
    point = search_point(search(prompts, correct, budget=8), prompts, n_resamples=200)
    assert point["line"] == "pbs: good/min"
    assert point["accuracy"] == fmean(correct)
    found = {entry["against"]: entry for entry in point["differences"]}
    assert list(found) == ["majority vote", "best of n: good/min", "weighted vote: good/min"]
    same = found["best of n: good/min"]
    assert (same["difference"], same["low"], same["high"]) == pytest.approx((0, 0, 0))
    assert found["majority vote"]["low"] > 0


def test_a_search_without_a_scorer_or_beyond_the_samples():
    prompts = named(make_prompts())
    vote = search_point(search(prompts, [1.0] * 40, scorer=None, aggregation=None), prompts, n_resamples=50)
    assert (vote["line"], [entry["against"] for entry in vote["differences"]]) == ("pbs", ["majority vote"])
    assert search_point(search(prompts, [1.0] * 40, budget=16), prompts, n_resamples=50)["differences"] == []


def test_early_rejection_is_measured_on_other_prompts_than_it_is_calibrated_on():
    # Half of the answers are bad from their first step on, and never the best: all can be stopped there.
    good, bad = [2.0, 2.0, 2.0], [-2.0, -2.0, -2.0]
    prompts = [ScoredSamples([good, bad], [[1, 1, 2], [1, 1, 2]], [1.0, 0.0]) for _ in range(41)]
    (row,) = early_rejection_rows(prompts, "prm", "min", risks=[0.01, 0.1])  # 20 prompts cannot promise 1 %
    assert (row["risk"], row["n_calibration"], row["n_prompts"]) == (0.1, 20, 21)
    assert (row["unit"], row["tokens_saved"]) == ("tokens", pytest.approx(3 / 8))
    assert (row["winners_lost"], row["accuracy_before"], row["accuracy_after"]) == (0, 1, 1)


@given(st.integers(0, 200), st.lists(st.text("ab", min_size=1), min_size=1))
def test_a_responses_tokens_are_dealt_out_to_its_steps(n_tokens, steps):
    dealt = step_tokens(n_tokens, steps)
    assert sum(dealt) == n_tokens
    for tokens, step in zip(dealt, steps, strict=True):
        assert abs(tokens - n_tokens * len(step) / len("".join(steps))) <= 1
    assert step_tokens(n_tokens, []) == []
