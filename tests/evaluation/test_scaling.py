from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.decoding.selection import expected_vote
from openprm.evaluation.accuracy import choices, compare_groups, evaluate_selection
from openprm.evaluation.scaling import (
    early_rejection_rows,
    line_values,
    scaling_curve,
    search_point,
    searches_of_kinds,
    step_tokens,
)

from .test_accuracy import make_prompts


def search(prompts, correct, budget=4, scorer="good", **options):
    found = {"name": "mine", "scorer": scorer, "aggregation": scorer and "min", "line": "a search", "n": budget}
    point = search_point(found, correct, prompts, **options)
    assert {**point, **found} == point
    return point


def named(prompts):
    """The same prompts with scorers called as the stage calls them."""
    return [{**p, "scores": {f"{name}/min": values for name, values in p["scores"].items()}} for p in prompts]


def by_scorer(prompts):
    return {name: [name] for name in prompts[0]["scores"]}


def test_the_curve_goes_from_a_single_sample_to_the_table():
    prompts = make_prompts(n=6)
    rows = {row["method"]: row for row in evaluate_selection(prompts)}
    curve = scaling_curve(prompts, tokens=10.0)
    points = {(p["line"], p["n"]): p for p in curve}
    assert [n for line, n in points if line == "majority vote"] == [1, 2, 4, 6]
    ends = {line: line.replace("best of n", "best of 6").replace("vote", "vote@6") for line, _ in points}
    ends["coverage"] = "coverage@6"
    for line, end in ends.items():
        assert points[line, 1]["accuracy"] == pytest.approx(rows["single sample"]["accuracy"])
        for key in ("accuracy", "low", "high"):
            assert points[line, 6][key] == pytest.approx(rows[end][key])
        assert points[line, 1]["sampling_error"] == points[line, 6]["sampling_error"] == 0
        assert ("vote" in line) == (points[line, 4]["sampling_error"] > 0)
    for point in curve:
        assert point["generated_tokens"] == 10 * point["n"]
        # five draws are near what is exact, and all six of six are the same
        assert abs(point["paper"] - point["accuracy"]) <= 0.15
        if point["n"] == 6:
            assert (point["paper"], point["paper_std"]) == (pytest.approx(point["accuracy"]), pytest.approx(0))
    assert {point["generated_tokens"] for point in scaling_curve(prompts)} == {None}
    unanswered = scaling_curve([{**prompt, "answers": [None] * 6} for prompt in prompts])
    assert not [point for point in unanswered if "vote" in point["line"]]


def test_a_vote_among_some_is_near_the_mean_over_all_subsets_and_so_is_the_papers_protocol():
    prompts = make_prompts(n_prompts=20, n=7)
    many = 2000
    lines = line_values(prompts, by_scorer(prompts), 4, subsets=400, repetitions=many)
    for line, name in {"majority vote": None, "weighted vote: good": "good"}.items():
        exact = fmean(
            expected_vote(
                [p["answers"][i] for i in some],
                [p["correct"][i] for i in some],
                None if name is None else [p["scores"][name][i] for i in some],
            )
            for p in prompts
            for some in combinations(range(7), 4)
        )
        assert abs(fmean(lines[line].values) - exact) < 4 * math.sqrt(lines[line].variance) / len(prompts) < 0.06
    for line in lines.values():
        error = np.std(line.paper) / math.sqrt(many) + math.sqrt(line.variance) / len(prompts)
        assert abs(np.mean(line.paper) - fmean(line.values)) <= 4 * error + 1e-12
    with pytest.raises(ValueError, match="cannot draw 8 of 7"):
        line_values(prompts, {}, 8)


def test_seeds_of_one_kind_are_one_line():
    prompts = make_prompts(n_prompts=10)
    each = line_values(prompts, by_scorer(prompts), 4)
    both = line_values(prompts, {"kind": ["good", "wrong"]}, 4)
    for choice in ("best of n", "weighted vote"):
        means = np.mean([each[f"{choice}: good"].values, each[f"{choice}: wrong"].values], axis=0)
        assert both[f"{choice}: kind"].values == pytest.approx(means.tolist())


def test_a_search_is_compared_prompt_by_prompt():
    prompts = named(make_prompts())
    # It answers what best-of-N of all eight would: so the two do not differ at all.
    correct = [p["correct"][max(range(8), key=p["scores"]["good/min"].__getitem__)] for p in prompts]
    point = search(prompts, correct, 8)
    assert point["accuracy"] == fmean(correct)
    found = {entry["against"]: entry for entry in point["differences"]}
    assert list(found) == ["majority vote", "best of n: good/min", "weighted vote: good/min"]
    same = found["best of n: good/min"]
    assert (same["difference"], same["low"] < 0 < same["high"]) == (pytest.approx(0), True)
    assert found["majority vote"]["low"] > 0


def test_a_search_without_a_scorer_or_beyond_the_samples():
    prompts = named(make_prompts())
    vote = search(prompts, [1.0] * 40, scorer=None)
    assert [entry["against"] for entry in vote["differences"]] == ["majority vote"]
    assert search(prompts, [1.0] * 40, 16)["differences"] == []


def test_early_rejection_is_measured_on_other_prompts_than_it_is_calibrated_on():
    # Half of the answers are bad from their first step on, and never the best: all can be stopped there.
    good, bad = [2.0, 2.0, 2.0], [-2.0, -2.0, -2.0]
    prompt = {
        "rows": [{"n_tokens": 4}] * 2,
        "correct": [1.0, 0.0],
        "steps": {"prm": [["a", "b", "cd"]] * 2},
        "step_rewards": {"prm": [good, bad]},
    }
    (row,) = early_rejection_rows([prompt] * 81, "prm", "min", risks=[0.01, 0.1])  # 40 prompts cannot promise 1 %
    assert (row["risk"], row["n_calibration"], row["n_prompts"]) == (0.1, 40, 41)
    assert (row["unit"], row["tokens_saved"]) == ("tokens", pytest.approx(3 / 8))
    assert (row["winners_lost"], row["accuracy_before"], row["accuracy_after"]) == (0, 1, 1)


@given(st.integers(0, 200), st.lists(st.text("ab", min_size=1), min_size=1))
def test_a_responses_tokens_are_dealt_out_to_its_steps(n_tokens, steps):
    dealt = step_tokens(n_tokens, steps)
    assert sum(dealt) == n_tokens
    for tokens, step in zip(dealt, steps, strict=True):
        assert abs(tokens - n_tokens * len(step) / len("".join(steps))) <= 1
    assert step_tokens(n_tokens, []) == []


def test_votes_are_weighted_by_the_unit_of_the_scores():
    """One right answer at 6 against three wrong ones at 2: exp elects it, sigmoid does not."""
    prompt = {"responses": list("abcd"), "correct": [1, 0, 0, 0], "answers": ["1", "2", "2", "2"]}
    scores = {name: [6.0, 2.0, 2.0, 2.0] for name in ("bt", "ce", "graded")}
    prompts = [{**prompt, "scores": scores, "units": {"ce": "log-odds", "graded": "grade"}}]
    rows = {row["method"]: row["accuracy"] for row in evaluate_selection(prompts)}
    assert rows["weighted vote@4: bt"] == rows["best of 4: graded"] == 1
    assert rows["weighted vote@4: ce"] == rows["majority vote@4"] == 0
    assert "weighted vote@4: graded" not in rows
    points = {(point["line"], point["n"]): point["accuracy"] for point in scaling_curve(prompts)}
    for name in ("bt", "ce"):
        assert points[f"weighted vote: {name}", 4] == rows[f"weighted vote@4: {name}"]
    assert ("best of n: graded", 4) in points
    assert ("weighted vote: graded", 4) not in points
    chosen = choices(prompts, {name: [name] for name in scores})
    compared = compare_groups(chosen, [("bt", "ce"), ("bt", "graded")], (0, 1))
    assert [(row["method"], row["against"]) for row in compared] == [
        ("best of 4", "ce"),
        ("weighted vote@4", "ce"),
        ("best of 4", "graded"),
    ]


def test_searches_by_the_seeds_of_a_kind_are_measured_as_one():
    """Two seeds, two prompts: on average 0.5 better than the best of 4 by k, and 0.25 than that by l."""
    kinds = {"k": {"models": ["m-0", "m-1"], "aggregation": "last"}, "l": {"models": ["n"], "aggregation": "mean"}}
    shape = {"method": "pbs", "aggregation": "min", "n": 4}
    searches: Any = [
        ({**shape, "scorer": "m-0"}, [1.0, 1.0]),
        ({**shape, "scorer": "m-1"}, [1.0, 0.0]),
        ({**shape, "n": 16, "scorer": "m-0"}, [1.0, 1.0]),  # of one seed alone
        ({**shape, "scorer": "n"}, [1.0, 1.0]),  # its kind is one model
    ]
    chosen = {
        "best of 4: k/min": np.array([[0.5, 0.0], [0.5, 0.0]]),
        "best of 4: l/mean": np.array([[1.0, 0.0]]),
        "best of 4: k/mean": np.array([[9.0, 9.0], [9.0, 9.0]]),
    }
    same, other = searches_of_kinds(searches, kinds, chosen)
    assert (same["group"], same["against"]) == ("pbs: k/min @4", "best of 4: k/min")
    assert (same["difference"], same["seeds"]) == (0.5, [0.75, 0.25])
    assert (other["against"], other["difference"], other["seeds"]) == ("best of 4: l/mean", 0.25, [0.5, 0.0])
    assert other["low"] <= 0.25 <= other["high"]
