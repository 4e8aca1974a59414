"""The curve over samples, searches and early rejection that the stage measures, on folders made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.runs.folder import read_rows
from openprm.runs.manifest import files_hash
from openprm.schema import Answer, Candidate, Prompt, Scored

from ..folders import candidate, dataset, nothing_local
from .evaluations import evaluate_models, results, scored

PROMPTS = 40


def answer(row: dict[str, Any], text: str, method: str = "pbs", budget: int = 4, **columns: Any) -> dict[str, Any]:
    searched = {"steps": [text], "step_rewards": [1.0], "score": 1.0, "aggregation": "min"}
    cost = {"n_considered": budget, "generated_tokens": 30, "scored_tokens": 40}
    shared = {"response": text, "rewards": [], "method": method, "budget": budget}
    return {**row, **shared, **searched, **cost, **columns}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts, four candidates each of ten tokens, scores by a model that knows and one that does not, answers.

    Of each prompt's candidates the second is right; all others say the same wrong answer.
    """
    pytest.importorskip("matplotlib")
    run = tmp_path_factory.mktemp("scaling") / "run"
    run.mkdir()
    rows = [
        candidate(f"p{p:02}", index, f"Well.\nThe answer is {p if index == 1 else 99}", float(index == 1), n_tokens=10)
        | {"reference": str(p)}
        for p in range(PROMPTS)
        for index in range(4)
    ]
    for model in ("wise", "blind"):
        (run / model).mkdir()
        (run / model / "weights").write_text(model)
    prompts = [{key: row[key] for key in Prompt.__annotations__} for row in rows[::4]]
    dataset(run / "prompts", Prompt, prompts, "prompts")
    samples = [{**row, "rewards": []} for row in rows]
    dataset(run / "samples", Candidate, samples, "sampling", {"prompts": run / "prompts"})
    rule = {"rule": "golden answer", "pattern": "answer"}
    dataset(run / "candidates", Candidate, rows, "rewards", {"candidates": run / "samples"}, reward=rule)
    for model in ("wise", "blind"):
        rewards = [[0.0, float(row["sample_index"] == 1 and model == "wise")] for row in rows]
        steps = [scored(row, some, "last") for row, some in zip(rows, rewards, strict=True)]
        inputs = {"candidates": run / "candidates", "model": run / model}
        dataset(run / f"scores-{model}", Scored, steps, "scores", inputs)
    first = rows[::4]
    right = [answer(row, f"So.\nThe answer is {row['reference']}") for row in first]
    inputs = {"prompts": run / "prompts", "model": run / "blind"}
    dataset(run / "answers-pbs", Answer, right[:30], "answers", {**inputs, "prm": run / "wise"}, first[30:])
    plain: dict[str, Any] = {"score": None, "aggregation": None, "steps": [], "step_rewards": []}
    votes = [answer(row, "The answer is 99", "majority-vote", **plain, **{"scored_tokens": 0}) for row in first]
    dataset(run / "answers-vote", Answer, votes, "answers", inputs)
    wrong = [answer(row, "The answer is 99", "best-of-n") for row in first]
    dataset(run / "answers-early", Answer, wrong, "answers", {**inputs, "prm": run / "blind"}, rule={"risk": 0.1})
    return run


def test_the_curve_of_a_run_with_its_searches(run: Path, tmp_path: Path):
    scores = {name: run / f"scores-{name}" for name in ("blind", "wise")}
    answers = {name: run / f"answers-{name}" for name in ("early", "pbs", "vote")}
    out, again = tmp_path / "one", tmp_path / "two"
    for folder in (out, again):
        evaluate_models(run / "candidates", scores, folder, curve=True, answers=answers)
    assert files_hash(out) == files_hash(again)
    for name in ("accuracy-by-samples", "accuracy-by-tokens"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (out / f"{name}.svg").read_text()
    found = results(out)
    assert found["equivalence"] == "exact"
    assert {kind: entry["aggregation"] for kind, entry in found["kinds"].items()} == {"blind": "last", "wise": "last"}
    points = {(point["line"], point["n"]): point for point in found["samples"]}
    assert points["coverage", 2]["accuracy"] == points["best of n: wise/last", 2]["accuracy"] == 0.5
    assert points["best of n: blind/last", 4]["accuracy"] == 0.25
    assert points["best of n: wise/last", 4]["accuracy"] == 1
    assert points["majority vote", 4]["accuracy"] == points["weighted vote: wise/last", 4]["accuracy"] == 0
    assert points["coverage", 4]["generated_tokens"] == 40
    chance = [points["best of n: random score/last", n]["accuracy"] for n in (1, 2, 4)]
    # one of four samples is right, and the others are equal: one of two distinct responses
    assert chance == pytest.approx([0.25, 0.25, 0.5], abs=0.05)
    searches = {point["name"]: point for point in found["searches"]}
    # 30 of 40 prompts are answered; by the model that gave the scores called `wise`
    assert searches["pbs"]["line"] == "pbs: wise/min"
    assert (searches["pbs"]["accuracy"], searches["pbs"]["unanswered"]) == (0.75, 10)
    assert (searches["pbs"]["generated_tokens"], searches["pbs"]["scored_tokens"]) == (22.5, 30)
    assert (searches["vote"]["line"], searches["vote"]["accuracy"]) == ("majority-vote", 0)
    assert searches["early"]["line"] == "best-of-n, risk 0.1: blind/min"
    against = {entry["against"]: entry["difference"] for entry in searches["pbs"]["differences"]}
    # by `min` all tie; and the vote is for 99
    assert against == {"majority vote": 0.75, "best of n: wise/min": 0.5, "weighted vote: wise/min": 0.75}
    # and any two searches are compared
    (more,) = [
        row for row in found["differences"] if (row["method"], row["against"]) == ("search", "pbs: wise/min @4")
    ]
    assert (more["group"], more["difference"]) == ("majority-vote @4", -0.75)
    assert more["low"] < -0.75 < more["high"] < 0
    assert "search: majority-vote @4 less pbs: wise/min @4" in (out / "table.md").read_text()
    # twenty prompts can promise a risk of 0.2 and none that is lower
    assert {(row["scorer"], row["risk"]) for row in found["early_rejection"]} == {("wise", 0.2), ("blind", 0.2)}
    assert "pbs: wise/min @4, beam 2 (10 unanswered)" in (out / "table.md").read_text()
    assert nothing_local(out, run)


def test_answers_that_cannot_be_measured_are_refused(run: Path, tmp_path: Path):
    rows = [candidate(f"p{p:02}", index, f"{index}", float(index)) for p in range(2) for index in range(2)]
    others = [{**row, "prompt_id": f"other {row['prompt_id']}"} for row in rows]
    unknown, elsewhere = (dataset(tmp_path / str(i), Candidate, some) for i, some in enumerate((rows, others)))
    first = [row for row in read_rows(run / "candidates") if row["sample_index"] == 0]
    answers = [answer(row, "The answer is 1") for row in first]
    some = dataset(tmp_path / "some", Answer, answers[:5], failed=answers[6:])
    for candidates, folder, by, message in (
        (unknown, run / "answers-pbs", None, "does not say by which rule"),
        (elsewhere, run / "answers-pbs", "answer", "none of the candidates' prompts"),
        (run / "candidates", some, None, r"'it' are to 5 of 40 prompts.*'p05'"),
        (run / "candidates", some, "foo", "unknown reward 'foo'"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate_models(candidates, {}, tmp_path / "out", curve=True, answers={"it": folder}, by=by)
    with pytest.raises(InputError, match="points of the curve"):
        evaluate_models(unknown, {}, tmp_path / "out", answers={"it": some})
    evaluate_models(unknown, {}, tmp_path / "out", curve=True, answers={"it": run / "answers-pbs"}, by="answer")


@pytest.mark.parametrize(("unit", "length"), [("characters", None), ("tokens", 4)])
def test_what_is_saved_is_counted_in_characters_where_a_length_is_not_known(
    tmp_path: Path, unit: str, length: int | None
):
    # the first answer is stopped after its first step; of every second prompt its tokens may not be known
    rows = [
        candidate(f"p{p:02}", index, "abcdefgh", float(index), n_tokens=length if p % 2 and not index else 4)
        for p in range(80)
        for index in range(2)
    ]
    steps = [{**scored(row, [float(row["sample_index"])] * 2), "steps": ["ab", "cdefgh"]} for row in rows]
    candidates = dataset(tmp_path / "candidates", Candidate, rows)
    scores = dataset(tmp_path / "scores", Scored, steps)
    manifest = evaluate_models(candidates, {"it": scores}, tmp_path / "out", curve=True, early_risks=[0.1])
    (row,) = results(tmp_path / "out")["early_rejection"]
    assert row["unit"] == unit
    assert row["tokens_saved"] == pytest.approx(6 / 16)
    assert len(manifest["pictures"]) == (5 if unit == "tokens" else 3)
