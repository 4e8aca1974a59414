"""The stage that measures scaling, on folders made by hand: what it writes, finds, draws and refuses."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from openprm.cli.app import app
from openprm.errors import InputError
from openprm.evaluation.scaling_inputs import find_inputs
from openprm.evaluation.scaling_plot import spread
from openprm.runs.dataset import Rejections, finish_dataset
from openprm.runs.folder import REJECTED, read_rows, write_shard
from openprm.runs.manifest import files_hash, run_stage
from openprm.runs.sharding import list_unfinished, prompt_key
from openprm.runs.store import Unfinished
from openprm.schema import Answer, Candidate, Prompt, Scored
from openprm.stages.evaluate import evaluate_models
from openprm.stages.scaling import make_scaling

from ..folders import candidate, nothing_local
from .test_evaluate import by_method, scored

PROMPTS = 12
TITLES = {Prompt: "prompts", Candidate: "candidates", Scored: "scores", Answer: "answers"}


class Failures(NamedTuple):
    """What a store notes of prompts without an answer."""

    unfinished: list[Unfinished]

    def notes(self) -> dict[int, Failures]:
        return {0: self}


def stage(
    out: Path,
    name: str,
    record: type,
    rows: list[Any],
    inputs: dict[str, Any],
    failed: list[Any] | None = None,
    **parameters: Any,
) -> Path:
    def work(folder: Path) -> dict[str, Any]:
        write_shard(folder, 0, rows, record)
        failures = Failures([Unfinished(prompt_key(row), "too long", "shorten it", False) for row in failed or []])
        list_unfinished(failures, Rejections(folder / REJECTED, strict=False), "prompts")  # type: ignore[arg-type]
        return finish_dataset(folder, record, TITLES[record], 1, {})

    run_stage(out, name, parameters, inputs, work)
    return out


def answer(row: dict[str, Any], text: str, method: str = "pbs", budget: int = 4, **columns: Any) -> dict[str, Any]:
    searched = {"steps": [text], "step_rewards": [1.0], "score": 1.0, "aggregation": "min"}
    cost = {"n_considered": budget, "generated_tokens": 30, "scored_tokens": 40}
    shared = {"response": text, "rewards": [], "method": method, "budget": budget}
    return {**row, **shared, **searched, **cost, **columns}


def make_run(run: Path) -> Path:
    """Prompts, four candidates each of ten tokens, scores by a model that knows and one that does not, answers.

    Of each prompt's candidates the second is right; all others say the same wrong answer.
    """
    pytest.importorskip("matplotlib")
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
    stage(run / "prompts", "prompts", Prompt, prompts, {})
    stage(run / "samples", "sampling", Candidate, [{**r, "rewards": []} for r in rows], {"prompts": run / "prompts"})
    stage(
        run / "candidates",
        "rewards",
        Candidate,
        rows,
        {"candidates": run / "samples"},
        reward={"rule": "golden answer", "pattern": "answer"},
    )
    for model in ("wise", "blind"):
        steps = [scored(row, [0.0, float(row["sample_index"] == 1 and model == "wise")]) for row in rows]
        inputs = {"candidates": run / "candidates", "model": run / model}
        stage(run / f"scores-{model}", "scores", Scored, [{**row, "aggregation": "last"} for row in steps], inputs)
    first = rows[::4]
    right = [answer(row, f"So.\nThe answer is {row['reference']}") for row in first]
    inputs = {"prompts": run / "prompts", "model": run / "blind"}
    stage(run / "answers-pbs", "answers", Answer, right[:9], {**inputs, "prm": run / "wise"}, first[9:])
    plain: dict[str, Any] = {"score": None, "aggregation": None, "steps": [], "step_rewards": []}
    votes = [answer(row, "The answer is 99", "majority-vote", **plain, **{"scored_tokens": 0}) for row in first]
    stage(run / "answers-vote", "answers", Answer, votes, inputs)
    wrong = [answer(row, "The answer is 99", "best-of-n") for row in first]
    stage(run / "answers-early", "answers", Answer, wrong, {**inputs, "prm": run / "blind"}, rule={"risk": 0.1})
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("scaling") / "run")


def test_a_run_is_measured_as_it_lies_there(run: Path):
    done = CliRunner().invoke(app, ["scaling", str(run)], catch_exceptions=False)
    assert done.exit_code == 0
    out = run / "scaling"
    for name in ("accuracy-by-samples", "accuracy-by-tokens"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (out / f"{name}.svg").read_text()
        assert f"{out / name}.png" in done.stdout
    results = json.loads((out / "results.json").read_text())
    assert results["counts"] == {
        "prompts": PROMPTS,
        "candidates": 4,
        "tokens_per_candidate": 10,
        "unscored": {"wise": 0, "blind": 0},
    }
    assert results["equivalence"] == "exact"
    assert results["scorers"] == {"blind": "last", "wise": "last"}
    points = {(point["line"], point["n"]): point for point in results["samples"]}
    assert points["coverage", 2]["accuracy"] == points["best of n: wise/last", 2]["accuracy"] == 0.5
    assert points["best of n: blind/last", 4]["accuracy"] == 0.25
    assert points["best of n: wise/last", 4]["accuracy"] == 1
    assert points["majority vote", 4]["accuracy"] == points["weighted vote: wise/last", 4]["accuracy"] == 0
    assert points["coverage", 4]["generated_tokens"] == 40
    searches = {point["name"]: point for point in results["searches"]}
    # nine of twelve prompts are answered; by the model that gave the scores called `wise`
    assert searches["pbs"]["line"] == "pbs: wise/min"
    assert (searches["pbs"]["accuracy"], searches["pbs"]["unanswered"]) == (0.75, 3)
    assert (searches["pbs"]["generated_tokens"], searches["pbs"]["scored_tokens"]) == (22.5, 30)
    assert (searches["vote"]["line"], searches["vote"]["accuracy"]) == ("majority-vote", 0)
    assert searches["early"]["line"] == "best-of-n, risk 0.1: blind/min"
    against = {entry["against"]: entry["difference"] for entry in searches["pbs"]["differences"]}
    # by `min` all tie; and the vote is for 99
    assert against == {"majority vote": 0.75, "best of n: wise/min": 0.5, "weighted vote: wise/min": 0.75}
    # six prompts can promise a risk of 0.2 and none that is lower
    assert {(row["scorer"], row["risk"]) for row in results["early_rejection"]} == {("wise", 0.2), ("blind", 0.2)}
    assert "pbs: wise/min @4 (3 unanswered)" in (out / "table.md").read_text()
    assert nothing_local(out, run)


def test_the_same_run_gives_the_same_files(run: Path, tmp_path: Path):
    (found,), left_out = find_inputs(run)
    assert left_out == []
    assert {*found.scores, *found.answers} == {"wise", "blind", "pbs", "vote", "early"}
    hashes = []
    for name in ("one", "two"):
        make_scaling(found.candidates, found.scores, found.answers, tmp_path / name)
        hashes.append(files_hash(tmp_path / name))
    assert hashes[0] == hashes[1]


def test_responses_that_were_scored_before_they_were_rewarded(run: Path, tmp_path: Path):
    for name in ("samples", "candidates"):
        shutil.copytree(run / name, tmp_path / name)
    rows = [scored(row, [0.0]) for row in read_rows(run / "samples")]
    stage(tmp_path / "scores-it", "scores", Scored, rows, {"candidates": tmp_path / "samples", "model": run / "wise"})
    (found,), left_out = find_inputs(tmp_path)
    assert (found.candidates.name, list(found.scores), left_out) == ("candidates", ["it"], [])


def test_explicit_folders_and_candidates_of_unknown_length(run: Path, tmp_path: Path):
    rows = [candidate(f"p{p:02}", index, f"{index}", float(index)) for p in range(2) for index in range(2)]
    candidates = stage(tmp_path / "candidates", "mine", Candidate, rows, {})
    scores = stage(tmp_path / "scores", "mine", Scored, [scored(row, [0.0]) for row in rows], {})
    options = ["--candidates", str(candidates), "--scores", f"it={scores}", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["scaling", *options], catch_exceptions=False)
    assert done.exit_code == 0
    assert sorted(path.suffix for path in (tmp_path / "out").glob("accuracy-*")) == [".png", ".svg"]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["early_rejection"] == []
    # how answers are to be graded is not known
    with pytest.raises(InputError, match="does not say by which rule"):
        make_scaling(candidates, {}, {"pbs": run / "answers-pbs"}, tmp_path / "graded")
    make_scaling(candidates, {}, {"pbs": run / "answers-pbs"}, tmp_path / "graded", by="answer")
    others = [{**row, "prompt_id": f"other {row['prompt_id']}"} for row in rows]
    elsewhere = stage(tmp_path / "elsewhere", "mine", Candidate, others, {})
    with pytest.raises(InputError, match="none of the candidates' prompts"):
        make_scaling(elsewhere, {}, {"pbs": run / "answers-pbs"}, tmp_path / "none", by="answer")


def test_answers_to_a_part_of_the_prompts_are_refused(run: Path, tmp_path: Path):
    (found,), _ = find_inputs(run)
    rows = [answer(row, "The answer is 1") for row in read_rows(found.candidates) if row["sample_index"] == 0]
    some = stage(tmp_path / "some", "answers", Answer, rows[:5], {}, rows[6:])
    with pytest.raises(InputError, match=r"'some' are to 5 of 12 prompts.*'p05'"):
        make_scaling(found.candidates, {}, {"some": some}, tmp_path / "out")


def test_an_unknown_rule_is_refused_without_answers(run: Path, tmp_path: Path):
    with pytest.raises(InputError, match="unknown reward 'foo'"):
        make_scaling(run / "candidates", {}, {}, tmp_path / "out", by="foo")


def test_candidates_graded_by_option_vote_by_option(tmp_path: Path):
    question = [{"role": "user", "content": "What do plants do?\nA. respiration\nB. photosynthesis"}]
    responses = ["The answer is A", "The answer is photosynthesis", "The answer is (B)"]
    rows = [candidate("p", index, text, float(index > 0), question=question) for index, text in enumerate(responses)]
    rule = {"rule": "multiple choice"}
    candidates = stage(tmp_path / "candidates", "rewards", Candidate, rows, {}, reward=rule)
    make_scaling(candidates, {}, {}, tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["equivalence"] == "option"
    assert {p["accuracy"] for p in results["samples"] if (p["line"], p["n"]) == ("majority vote", 3)} == {1}
    scores = stage(tmp_path / "scores", "mine", Scored, [scored(row, [0.0]) for row in rows], {})
    evaluated = evaluate_models(candidates, {"prm": scores}, tmp_path / "evaluation")
    assert by_method(evaluated)["majority vote@3"] == 1
    assert evaluated["parameters"]["equivalence"] == "option"


def test_what_is_saved_is_counted_in_characters_where_a_length_is_not_known(tmp_path: Path):
    # the first answer is stopped after its first step; of every second prompt its tokens are not known
    rows = [
        candidate(f"p{p:02}", index, "abcdefgh", float(index), n_tokens=None if p % 2 and not index else 2)
        for p in range(40)
        for index in range(2)
    ]
    steps = [{**scored(row, [float(row["sample_index"])] * 2), "steps": ["ab", "cdefgh"]} for row in rows]
    for name, known in (("characters", rows), ("tokens", [{**row, "n_tokens": 4} for row in rows])):
        candidates = stage(tmp_path / f"candidates-{name}", "mine", Candidate, known, {})
        scores = stage(tmp_path / f"scores-{name}", "mine", Scored, steps, {})
        out = tmp_path / f"out-{name}"
        make_scaling(candidates, {"it": scores}, {}, out, early_risks=[0.1])
        (row,) = json.loads((out / "results.json").read_text())["early_rejection"]
        assert row["unit"] == name
        assert row["tokens_saved"] == pytest.approx(6 / 16)
        assert f"{name} saved" in (out / "table.md").read_text()


def test_what_a_missing_folder_hides_is_named(run: Path, tmp_path: Path):
    broken = tmp_path / "run"
    shutil.copytree(run, broken)
    shutil.rmtree(broken / "samples")
    others = stage(broken / "others", "prompts", Prompt, list(read_rows(run / "prompts"))[:1], {})
    elsewhere = {"candidates": others, "model": run / "wise"}
    stage(broken / "scores-elsewhere", "scores", Scored, list(read_rows(run / "scores-wise")), elsewhere)
    shutil.rmtree(others)
    done = CliRunner().invoke(app, ["scaling", str(broken)], catch_exceptions=False)
    assert done.exit_code == 0
    for name in ("answers-pbs", "answers-vote", "answers-early", "scores-elsewhere"):
        (line,) = [line for line in done.stderr.splitlines() if name in line]
        assert "left out" in line
        assert ("'others'" if name == "scores-elsewhere" else "'prompts'") in line


def test_what_is_not_a_run_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no such folder"):
        find_inputs(tmp_path / "none")
    with pytest.raises(InputError, match="openprm score"):
        find_inputs(tmp_path)
    for options in ([], [str(tmp_path), "--candidates", "x"], [str(tmp_path), "--scores", "a=b"]):
        assert CliRunner().invoke(app, ["scaling", *options]).exit_code == 2
    assert CliRunner().invoke(app, ["scaling", "--candidates", "x"]).exit_code == 2


def test_names_that_would_overlap_are_moved_apart():
    assert spread([0.5, 0.1, 0.9], 0.1) == [0.5, 0.1, 0.9]
    moved = spread([0.95, 0.96, 0.5, 0.52], 0.1)
    assert all(b - a >= 0.1 - 1e-9 for a, b in zip(sorted(moved), sorted(moved)[1:], strict=False))
    assert max(moved) <= 1
    assert sorted(range(4), key=moved.__getitem__) == [2, 3, 0, 1]
    assert math.isclose(moved[0], 0.9)
