"""What the stage that measures choices writes, by hand, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from openprm.decoding.early_rejection import RejectionRule, ScoredSamples, simulate
from openprm.decoding.hypotheses import Hypothesis, ranked
from openprm.engines.step_requests import PartialResponse
from openprm.errors import InputError
from openprm.evaluation.accuracy import aggregated_scores
from openprm.evaluation.scored_prompts import ScoredPrompt
from openprm.schema import Candidate, Scored
from openprm.scoring.aggregation import aggregate
from openprm.stages.evaluate import evaluate_models

from ..folders import candidate, dataset, nothing_local


def scored(row: dict[str, Any], rewards: Sequence[float | None]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "prompt_id": row["prompt_id"],
        "source": row["source"],
        "sample_index": row["sample_index"],
        "steps": [row["response"], *[""] * (len(rewards) - 1)],
        "step_rewards": list(rewards),
        "score": 0.0,
        "aggregation": "min",
        "truncated": None in rewards,
    }


def by_method(manifest: dict[str, Any]) -> dict[str, float]:
    return {row["method"]: row["accuracy"] for row in manifest["metrics"]}


def hand_made() -> list[dict[str, Any]]:
    """Two prompts, four candidates each. p: two of four are right; the vote is for 7, which is wrong. q: all wrong."""
    stated = {
        "p": (("5", 1.0), ("7", 0.0), ("5", 1.0), ("7", 0.0)),
        "q": (("1", 0.0), ("2", 0.0), ("2", 0.0), ("3", 0.0)),
    }
    return [
        candidate(prompt, index, f"So.\nThe answer is {answer}", golden)
        for prompt, found in stated.items()
        for index, (answer, golden) in enumerate(found)
    ]


def test_evaluation_by_hand(tmp_path: Path):
    rows = hand_made()
    rewards = {
        # by min the third is best, by last the second, by mean both are
        "p": [[0.0, 1.0], [-1.0, 3.0], [1.0, 1.0], [0.0, 0.0]],
        "q": [[0.0, 0.0]] * 4,
    }
    found = dataset(tmp_path / "candidates", Candidate, rows)
    scores = [scored(row, rewards[row["prompt_id"]][row["sample_index"]]) for row in rows]
    folder = dataset(tmp_path / "scores", Scored, scores)
    manifest = evaluate_models(found, {"prm": folder}, tmp_path / "out")
    table = by_method(manifest)
    assert table["single sample"] == 0.25  # (2/4 + 0/4) / 2
    assert table["majority vote@4"] == 0.25  # 5 and 7 have two votes each
    assert table["best of 4: prm/min"] == 0.5
    assert table["best of 4: prm/last"] == 0.0
    assert table["best of 4: prm/mean"] == 0.25  # a tie of a right and a wrong one
    assert table["coverage@4"] == 0.5
    assert manifest["counts"] == {"prompts": 2, "candidates": 4, "unscored": {"prm": 0}}
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["table"] == manifest["metrics"]
    # of the pairs of p's candidates, by min: the third is in 3 of 6; 1 against 2 or 4 is won, or tied with 4
    curve = {(point["method"], point["n"]): point["accuracy"] for point in results["curve"]}
    assert curve["best of n: prm/min", 1] == 0.25
    assert curve["best of n: prm/min", 2] == pytest.approx((3 + 1 + 0.5 + 0) / 6 / 2)
    assert curve["coverage", 2] == pytest.approx(5 / 6 / 2)
    assert nothing_local(tmp_path / "out", tmp_path)


def test_what_is_not_scored_to_its_end_is_chosen_only_where_nothing_is(tmp_path: Path):
    rows = hand_made()[:4]
    found = dataset(tmp_path / "candidates", Candidate, rows)
    # the first is right and scored in part; the third is not scored at all
    rewards: list[list[float | None]] = [[2.0, None], [1.0, 1.0], [], [0.0, 5.0]]
    scores = [scored(row, steps) for row, steps in zip(rows, rewards, strict=True) if steps]
    manifest = evaluate_models(found, {"prm": dataset(tmp_path / "scores", Scored, scores)}, tmp_path / "out")
    table = by_method(manifest)
    # the second is chosen, though the first one's only reward is higher
    assert (table["best of 4: prm/min"], table["best of 4: prm/last"]) == (0.0, 0.0)
    assert manifest["counts"]["unscored"] == {"prm": 1}


rewarded = st.lists(st.floats(-3, 3), min_size=1, max_size=3)


@given(st.lists(st.tuples(rewarded, st.integers(0, 2)), min_size=1, max_size=6), st.sampled_from(["min", "mean"]))
def test_evaluation_search_and_early_rejection_choose_the_same(answers: list[Any], aggregation: str):
    assume(any(missing == 0 for _, missing in answers))
    step_rewards: list[list[float | None]] = [[*known, *[None] * missing] for known, missing in answers]
    prompt = ScoredPrompt("p", [], [], step_rewards={"prm": step_rewards})
    scores = aggregated_scores(prompt.whole_rewards(), [aggregation])[f"prm/{aggregation}"]
    ratings = [
        Hypothesis(PartialResponse(steps=("step",) * len(steps)), tuple(known), aggregate(known, aggregation))
        for steps, (known, _) in zip(step_rewards, answers, strict=True)
    ]
    best = scores.index(max(scores))
    assert best == ratings.index(ranked(ratings)[0])
    assert scores == [rating.weight for rating in ratings]
    right = [float(index == best) for index in range(len(answers))]
    drawn = ScoredSamples(step_rewards, [[1] * len(steps) for steps in step_rewards], right)
    assert simulate([drawn], RejectionRule(math.inf, aggregation, len(answers), 0.1, 9)).accuracy_after == 1


def test_candidates_that_cannot_be_compared_are_named(tmp_path: Path):
    rows = hand_made()
    folder = dataset(tmp_path / "scores", Scored, [scored(row, [0.0]) for row in rows])
    unrewarded = dataset(tmp_path / "unrewarded", Candidate, [*rows[:7], {**rows[7], "rewards": []}])
    with pytest.raises(InputError, match="unrewarded: prompt 'q' has a response without the reward 'golden'"):
        evaluate_models(unrewarded, {"prm": folder}, tmp_path / "out")
    uneven = dataset(tmp_path / "uneven", Candidate, rows[:7])
    with pytest.raises(InputError, match="uneven: prompt 'q' has 3 candidates, the first one 4"):
        evaluate_models(uneven, {"prm": folder}, tmp_path / "out")
    others = dataset(tmp_path / "others", Candidate, [*rows[:6], {**rows[6], "response": "The answer is 9"}, rows[7]])
    with pytest.raises(InputError, match=r"scores: prompt 'q', sample 2 is not the response that .*others holds"):
        evaluate_models(others, {"prm": folder}, tmp_path / "out")


def test_scores_of_other_prompts_and_folders_of_another_kind_are_refused(tmp_path: Path):
    rows = hand_made()
    candidates = dataset(tmp_path / "candidates", Candidate, rows)
    elsewhere = [scored({**row, "prompt_id": f"other {row['prompt_id']}"}, [1.0]) for row in rows]
    scores = dataset(tmp_path / "scores", Scored, elsewhere)
    with pytest.raises(InputError, match="no score for any candidate"):
        evaluate_models(candidates, {"m": scores}, tmp_path / "out")
    with pytest.raises(InputError, match="there is no column"):
        evaluate_models(candidates, {"m": candidates}, tmp_path / "out")
