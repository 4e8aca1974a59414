"""What the stage that measures choices writes, and refuses, on folders made by hand."""

from __future__ import annotations

import json
import math
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from openprm.data.holdout import question_rank, write_trained_on
from openprm.decoding.early_rejection import RejectionRule, ScoredSamples, simulate
from openprm.decoding.hypotheses import Hypothesis, ranked
from openprm.decoding.selection import best_of_n
from openprm.engines.step_requests import PartialResponse
from openprm.errors import InputError
from openprm.evaluation.accuracy import aggregated_scores
from openprm.runs.dataset import read_rejected
from openprm.schema import Candidate, Scored
from openprm.scoring.aggregation import aggregate
from openprm.stages.import_candidates import ImportCandidates

from ..folders import candidate, dataset, nothing_local
from .evaluations import by_method, evaluate_models, results, scored


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
    scores = {}
    for seed, aggregation in (("prm", "min"), ("orm-0", "last"), ("orm-1", "last")):
        sign = -1 if seed == "orm-1" else 1
        steps = [[sign * reward for reward in rewards[row["prompt_id"]][row["sample_index"]]] for row in rows]
        made = [scored(row, some, aggregation) for row, some in zip(rows, steps, strict=True)]
        scores[seed] = dataset(tmp_path / seed, Scored, made)
    kinds = {"orm": ["orm-0", "orm-1"]}
    manifest = evaluate_models(found, scores, tmp_path / "out", kinds=kinds, equivalence="exact")
    table = by_method(manifest)
    assert table["single sample"] == 0.25  # (2/4 + 0/4) / 2
    assert table["best of 4: random score/last"] in (0.2, 0.25, 0.3)  # of two texts, one is right: ten draws
    assert table["majority vote@4"] == 0.25  # 5 and 7 have two votes each
    assert table["best of 4: prm/min"] == 0.5
    assert table["best of 4: prm/last"] == 0.0
    assert table["best of 4: prm/mean"] == 0.25  # a tie of a right and a wrong one
    assert table["coverage@4"] == 0.5
    counts = {"prompts": 2, "candidates": "4", "tokens_per_candidate": None, "unscored": dict.fromkeys(scores, 0)} | {
        "rejected": {}
    }
    assert manifest["counts"] == counts
    (orm,) = [row for row in manifest["metrics"] if row["method"] == "best of 4: orm/last"]
    assert (orm["accuracy"], orm["seeds"]) == (0.0, [0.0, 0.0])
    assert manifest["kinds"]["orm"] == {"models": ["orm-0", "orm-1"], "aggregation": "last", "unit": "strength"}
    differences = {(row["method"], row["group"], row["against"]): row for row in manifest["differences"]}
    best = differences["best of 4", "orm/last", "prm/min"]
    assert (best["difference"], best["seeds"]) == (-0.5, [-0.5, -0.5])
    assert ("best of 4", "prm/min", "random score/min") in differences
    written = results(tmp_path / "out")
    assert written["metrics"] == manifest["metrics"]
    # printed by the aggregation that each kind is meant to be read by; written between any two
    pairs = {(row["group"], row["against"]) for row in written["differences"]}
    groups = [f"{kind}/{aggregation}" for kind in ("prm", "orm") for aggregation in ("min", "mean", "last")]
    assert all((a, b) in pairs or (b, a) in pairs for a, b in combinations(groups, 2))
    assert "best of 4: orm/last less prm/min" in (tmp_path / "out" / "table.md").read_text()
    assert nothing_local(tmp_path / "out", tmp_path)
    for wrong, said in (
        ({"orm": ["orm-0", "orm-2"]}, "'orm-2', which is no model's name; did you mean 'orm-1'"),
        ({"orm": ["orm-0"], "prm": ["orm-0"]}, "'orm-0' twice"),
    ):
        with pytest.raises(InputError, match=said):
            evaluate_models(found, scores, tmp_path / "wrong", kinds=wrong)


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
    scores = aggregated_scores({"prm": step_rewards}, [aggregation])[f"prm/{aggregation}"]
    hypotheses = [
        Hypothesis(PartialResponse(steps=("step",) * len(steps)), tuple(known), aggregate(known, aggregation))
        for steps, (known, _) in zip(step_rewards, answers, strict=True)
    ]
    best = best_of_n(scores, step_rewards)
    assert best == hypotheses.index(ranked(hypotheses)[0])
    assert scores == [hypothesis.weight for hypothesis in hypotheses]
    right = [float(index == best) for index in range(len(answers))]
    samples = ScoredSamples(step_rewards, aggregation, [[1] * len(steps) for steps in step_rewards], right)
    assert simulate([samples], RejectionRule(math.inf, aggregation, len(answers), 0.1, 9))["accuracy_after"] == 1


def test_candidates_and_scores_that_do_not_fit_are_named(tmp_path: Path):
    rows = hand_made()
    folder = dataset(tmp_path / "scores", Scored, [scored(row, [0.0]) for row in rows])
    candidates = dataset(tmp_path / "candidates", Candidate, rows)
    others = dataset(tmp_path / "others", Candidate, [*rows[:6], {**rows[6], "response": "The answer is 9"}, rows[7]])
    elsewhere = [scored({**row, "prompt_id": f"other {row['prompt_id']}"}, [1.0]) for row in rows]
    for data, scores, message in (
        (others, folder, r"scores: prompt 'q', sample 2 is not the response that is to be measured"),
        (candidates, dataset(tmp_path / "elsewhere", Scored, elsewhere), "no score for any candidate"),
        (candidates, candidates, "there is no column"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate_models(data, {"prm": scores}, tmp_path / "out")


def test_tied_best_scores_are_counted_and_also_broken(tmp_path: Path):
    # all share a low first step; by the last one the second is best, and it is right
    rewards = [[-1.0, 0.0], [-1.0, 2.0], [-1.0, 1.0]]
    rows = [candidate("p", index, f"So.\nIt is {index}", float(index == 1)) for index in range(3)]
    scores = dataset(tmp_path / "scores", Scored, [scored(*one) for one in zip(rows, rewards, strict=True)])
    manifest = evaluate_models(dataset(tmp_path / "candidates", Candidate, rows), {"prm": scores}, tmp_path / "out")
    by = {row["method"]: (row["accuracy"], row["tied"], row["ties_broken"]) for row in manifest["metrics"]}
    assert by["best of 3: prm/min"] == (pytest.approx(1 / 3), 1, 1)
    assert by["best of 3: prm/last"] == (1, 0, None)
    assert "| 100.0% | 1.000 |" in (tmp_path / "out" / "table.md").read_text()


def test_prompts_that_do_not_fit_are_listed(tmp_path: Path):
    rows = hand_made()
    unrewarded = dataset(tmp_path / "unrewarded", Candidate, [*rows[:7], {**rows[7], "rewards": []}])
    uneven = dataset(tmp_path / "uneven", Candidate, rows[:7])
    for candidates, options in ((unrewarded, {}), (uneven, {"curve": True})):
        out = tmp_path / f"{candidates.name}-out"
        manifest = evaluate_models(candidates, {}, out, **options)
        assert manifest["counts"]["prompts"] == 1
        (listed,) = read_rejected(out)
        assert listed.key == "prompt 'q'"
        assert manifest["counts"]["rejected"] == {listed.reason: 1}
    with pytest.raises(InputError, match="strict"):
        evaluate_models(unrewarded, {}, tmp_path / "strict", strict=True)


def test_prompts_may_have_other_numbers_of_candidates(tmp_path: Path):
    uneven = dataset(tmp_path / "uneven", Candidate, hand_made()[:7])
    manifest = evaluate_models(uneven, {}, tmp_path / "out")
    assert manifest["counts"]["candidates"] == "3 to 4"
    assert by_method(manifest)["single sample"] == 0.25
    assert by_method(manifest)["coverage@3 to 4"] == 0.5


def test_answers_of_several_models_are_measured_beside_the_strongest_and_in_tiers(tmp_path: Path):
    rows = [
        {**candidate(f"p{prompt}", model, f"{prompt} {model}", float(prompt < model))}
        | {"generator": {**candidate("p", 0, "")["generator"], "model": f"m{model}"}}
        for prompt in range(6)
        for model in range(8)
    ]
    found = dataset(tmp_path / "candidates", Candidate, rows)
    prm = dataset(tmp_path / "prm", Scored, [scored(row, [row["rewards"][0]["value"]]) for row in rows])
    manifest = evaluate_models(found, {"prm": prm}, tmp_path / "out")
    table = by_method(manifest)
    assert table["answer of the strongest model"] == pytest.approx((5 + 2 / 3) / 6)  # elsewhere m5 is as strong
    tiers = manifest["within_tiers"]
    assert [sorted(tier) for tier in tiers["tiers"]] == [["m4", "m5", "m6", "m7"], ["m0", "m1", "m2", "m3"]]
    within = by_method(tiers)
    assert within["best of 4: prm/min"] == within["coverage@4"]
    assert within["single sample"] == pytest.approx(table["single sample"])
    text = (tmp_path / "out" / "table.md").read_text()
    assert "## Among models of about equal strength, mean of 2 tiers: accuracy by choice (6 prompts)" in text
    assert {(row["group"], row["against"]) for row in tiers["differences"]} == {("prm/min", "random score/min")}


@pytest.mark.parametrize("imported", [False, True])
def test_a_file_and_what_is_imported_of_it_are_measured(tmp_path: Path, imported: bool):
    file = tmp_path / "answers.jsonl"
    texts = {"Yes, 4.": 1.0, "It is 4 or 5.": 0.0, "I read 5.": 0.0}
    lines = [
        {"question": question, "response": f"{question} {text}", "grade": grade}
        for question in ("Why?", "How?")
        for text, grade in texts.items()
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options: dict[str, Any] = {"reward_column": "grade"}
    if imported:
        ImportCandidates(candidates=str(file), **options).run(tmp_path / "imported")
        file, options = tmp_path / "imported", {}
    manifest = evaluate_models(file, {}, tmp_path / "out", **options)
    table = by_method(manifest)
    assert (manifest["reward"], manifest["equivalence"]) == ("grade", None)
    assert (table["single sample"], table["coverage@3"]) == (pytest.approx(1 / 3), 1)
    assert not [method for method in table if method.startswith("majority")]  # free text, graded by nobody we know
    voted = evaluate_models(file, {}, tmp_path / "voted", equivalence="exact", **options)
    assert by_method(voted)["majority vote@3"] == 0


def test_the_reward_to_measure_by_is_named(tmp_path: Path):
    rows = hand_made()
    two = [{**row, "rewards": [{**row["rewards"][0], "name": name} for name in ("a", "b")]} for row in rows]
    several = dataset(tmp_path / "several", Candidate, two)
    none = dataset(tmp_path / "none", Candidate, [{**row, "rewards": []} for row in rows])
    for candidates, name, message in (
        (several, None, "no reward 'golden' to measure by; choose one of a, b with --reward-name"),
        (several, "c", "no reward 'c' to measure by; choose one of a, b with --reward-name"),
        (none, None, "no reward 'golden' to measure by; give them some"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate_models(candidates, {}, tmp_path / "out", reward_name=name)
    assert evaluate_models(several, {}, tmp_path / "out", reward_name="b")["reward"] == "b"


# ---- The curve, on a run's folder ----


def test_candidates_graded_by_option_vote_by_option(tmp_path: Path):
    question = [{"role": "user", "content": "What do plants do?\nA. respiration\nB. photosynthesis"}]
    responses = ["The answer is A", "The answer is photosynthesis", "The answer is (B)"]
    rows = [candidate("p", index, text, float(index > 0), question=question) for index, text in enumerate(responses)]
    rule = {"rule": "multiple choice"}
    candidates = dataset(tmp_path / "candidates", Candidate, rows, reward=rule)
    manifest = evaluate_models(candidates, {}, tmp_path / "out")
    assert by_method(manifest)["majority vote@3"] == 1
    assert manifest["equivalence"] == "option"


def test_an_evaluation_has_a_picture_where_there_is_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    pytest.importorskip("matplotlib")
    found = dataset(tmp_path / "candidates", Candidate, hand_made())
    assert evaluate_models(found, {}, tmp_path / "out")["pictures"] == ["accuracy.png"]
    assert (tmp_path / "out" / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert evaluate_models(found, {}, tmp_path / "bare")["pictures"] == []
    assert "pip install 'openprm[plots]'" in caplog.text


def test_prompts_that_a_model_was_trained_on_are_refused(tmp_path: Path):
    rows = hand_made()
    found = dataset(tmp_path / "candidates", Candidate, rows)
    prm = dataset(tmp_path / "prm", Scored, [scored(row, [0.0]) for row in rows])
    write_trained_on(prm, [question_rank([{"role": "user", "content": "Another one"}])])
    assert evaluate_models(found, {"prm": prm}, tmp_path / "out")["counts"]["prompts"] == 2
    write_trained_on(prm, [question_rank(rows[0]["question"])])
    with pytest.raises(
        InputError, match=r"1 of 2 questions were trained on by the model of .*prm \(prm; .*openprm split"
    ):
        evaluate_models(found, {"prm": prm}, tmp_path / "refused")
