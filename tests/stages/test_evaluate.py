"""Evaluations on benchmarks by a tiny model: the numbers are the pipeline's, whatever was killed, limited or kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from openprm.data.holdout import question_rank, write_trained_on
from openprm.engines.step_scorer import StepScorer
from openprm.errors import InputError
from openprm.evaluation.benchmarks import measure
from openprm.evaluation.benchmarks.baselines import BASELINES, RANDOM_SEEDS, random_score
from openprm.evaluation.report.tables import remarks
from openprm.runs.manifest import partial_folder
from openprm.scoring.pipeline import load_scorer
from openprm.stages.evaluate import Evaluate

from ..answers import write_jsonl
from ..folders import Killed
from ..killed import kill_at
from .pair_benchmarks import PAIRS, metric, results


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The responses that models score from now on."""
    seen: list[str] = []
    score = StepScorer.score_rows

    def counted(self: StepScorer, rows: Sequence[Mapping[str, Any]], report: Any) -> Any:
        seen.extend(row["response"] for row in rows)
        return score(self, rows, report)

    monkeypatch.setattr(StepScorer, "score_rows", counted)
    return seen


def wins(prm: Path, rows: Sequence[Mapping[str, Any]], aggregation: str) -> list[float]:
    """Whether the pipeline gives the chosen response the higher score."""
    scorer = load_scorer(str(prm))
    sides = ("chosen", "rejected")
    made = [[{"question": row["prompt"], "response": row[side]} for side in sides] for row in rows]
    return [float(a > b) for a, b in ([scorer(one, aggregation=aggregation)["score"] for one in two] for two in made)]


def test_the_numbers_are_the_pipelines(tmp_path: Path, prm: Path, sums: str, pairs: str):
    out = tmp_path / "out"
    manifest = Evaluate(models={"prm": str(prm)}, on={sums: pairs}, aggregation="mean").run(out)
    assert manifest["counts"] == {"sums": 6}
    found = results(out)
    assert found["models"] == {"prm": {"models": ["prm"], "aggregation": "mean", "unit": "strength"}}
    result = found["benchmarks"]["sums"]
    won = wins(prm, PAIRS, "mean")
    row = metric(result, "prm")
    assert (row["value"], row["items"], row["aggregation"]) == (pytest.approx(sum(won) / 6), 6, "mean")
    assert row["low"] <= row["value"] <= row["high"]
    odd = [one for one, pair in zip(won, PAIRS, strict=True) if pair["subset"] == "odd"]
    assert metric(result, "prm", subset="odd")["value"] == pytest.approx(sum(odd) / len(odd))
    by_aggregation = {row["aggregation"]: row["value"] for row in result["aggregations"] if row["model"] == "prm"}
    assert by_aggregation["min"] == pytest.approx(sum(wins(prm, PAIRS, "min")) / 6)
    longer = [float(len(pair["chosen"]) > len(pair["rejected"])) for pair in PAIRS]
    assert metric(result, "length")["value"] == pytest.approx(sum(longer) / 6)
    assert len(metric(result, "random score")["seeds"]) == RANDOM_SEEDS
    less = {(row["model"], row["against"]): row for row in result["differences"] if not row["subset"]}
    assert less["prm", "length"]["value"] == pytest.approx(sum(won) / 6 - sum(longer) / 6)
    assert {"results.json", "tables.md", "report.html"} <= {path.name for path in out.iterdir()}
    assert (result["title"], result["license"], result["items"], result["skipped"]) == ("Sums", "MIT", 6, {})
    assert result["data"]["hash"]
    assert "a tie is a loss" in result["arithmetic"]
    assert str(tmp_path) not in (out / "manifest.json").read_text()


def test_rows_without_a_number_are_listed_and_counted(tmp_path: Path, prm: Path):
    bad = {**PAIRS[0], "rejected": PAIRS[0]["chosen"]}
    long = {"prompt": "Long?", "chosen": "x" * 2000, "rejected": "no"}
    file = write_jsonl(tmp_path / "pairs.jsonl", [*PAIRS, bad, long])
    Evaluate(models={"prm": str(prm)}, on={file: ""}).run(tmp_path / "out")
    result = results(tmp_path / "out")["benchmarks"]["pairs"]
    assert (result["items"], result["unscored"]) == (7, {"prm": 1})
    assert result["skipped"] == {"chosen and rejected are the same text": 1}
    row = metric(result, "prm")
    assert row["value"] == pytest.approx(sum(wins(prm, PAIRS, row["aggregation"])) / 7)  # the long one is lost
    [line] = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["key"].endswith("pairs.jsonl, row 7")


def test_a_limit_takes_the_same_prompts_whatever_their_order(tmp_path: Path, prm: Path, scored: list[str]):
    taken = []
    for name, rows in (("one", PAIRS), ("two", PAIRS[::-1])):
        file = write_jsonl(tmp_path / f"{name}.jsonl", rows)
        Evaluate(models={"prm": str(prm)}, on={file: ""}, limit=3).run(tmp_path / f"out-{name}")
        result = results(tmp_path / f"out-{name}")["benchmarks"][name]
        assert (result["items"], result["limit"]) == (3, 3)
        taken.append(set(scored))
        scored.clear()
    assert taken[0] == taken[1]
    assert len(taken[0]) == 6
    with pytest.raises(InputError, match="--limit is 0; make it more than 0"):
        Evaluate(models={"prm": str(prm)}, on={"llmbar": "x"}, limit=0)


def test_a_killed_run_goes_on(
    tmp_path: Path, prm: Path, pairs: str, scored: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(measure, "RESPONSES_PER_SHARD", 4)
    stage = Evaluate(models={"a": str(prm), "b": str(prm)}, on={pairs: ""}, limit=5, aggregation="min")
    stage.run(tmp_path / "whole")
    before = len(scored)
    score, calls = StepScorer.score_rows, count(1)

    def killed(self: StepScorer, rows: Any, report: Any) -> Any:
        if next(calls) == 3:
            raise Killed
        return score(self, rows, report)

    monkeypatch.setattr(StepScorer, "score_rows", killed)
    with pytest.raises(Killed):
        stage.run(tmp_path / "out")
    stage.run(tmp_path / "out")
    assert len(scored) == 2 * before  # each response once, in all
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    hashes = [json.loads((tmp_path / one / "manifest.json").read_text())["files_hash"] for one in ("out", "whole")]
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_killed_at_some_moments(tmp_path: Path, prm: Path, pairs: str):
    stage = Evaluate(models={"prm": str(prm)}, on={pairs: ""})
    stage.run(tmp_path / "whole")
    out = tmp_path / "killed" / "out"
    ended, moment = [], 0
    while not ended or ended[-1]:
        shutil.rmtree(out.parent, ignore_errors=True)
        out.parent.mkdir()
        ended.append(forked(lambda at=moment: kill_at(at, out.parent) or stage.run(out)))  # type: ignore[misc]
        assert forked(lambda: stage.run(out)) == 0, f"moment {moment}: cannot be resumed"
        assert results(out) == results(tmp_path / "whole"), f"moment {moment}: another result"
        assert not partial_folder(out).exists()
        moment += 12
    assert len(ended) > 5


def forked(work: Callable[[], Any]) -> int:
    """How a forked process that does the work ended: 0, or the signal it was killed by."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def test_rewards_are_kept_for_other_evaluations(tmp_path: Path, prm: Path, pairs: str, scored: list[str]):
    kept, models = str(tmp_path / "kept"), {"prm": str(prm)}
    Evaluate(models=models, on={pairs: ""}, rewards=kept).run(tmp_path / "one")
    assert len(scored) == 12
    Evaluate(models={**models, "other": str(prm)}, on={pairs: ""}, rewards=kept).run(tmp_path / "two")
    assert len(scored) == 24  # the other model's alone
    one, two = (metric(results(tmp_path / name)["benchmarks"]["pairs"], "prm") for name in ("one", "two"))
    assert one == two
    assert not (tmp_path / "one" / "rewards").exists()
    write_jsonl(Path(pairs), PAIRS[:4])
    Evaluate(models=models, on={pairs: ""}, rewards=kept).run(tmp_path / "three")
    assert len(scored) == 24 + 8  # of another file


def test_the_seeds_of_a_model_are_one(tmp_path: Path, prm: Path, pairs: str):
    models = {"a": str(prm), "b": str(prm)}
    Evaluate(models=models, on={pairs: ""}, kinds={"prm": ["a", "b"]}).run(tmp_path / "out")
    found = results(tmp_path / "out")
    assert found["models"]["prm"]["models"] == ["a", "b"]
    row = metric(found["benchmarks"]["pairs"], "prm")
    assert row["seeds"] == [row["value"]] * 2
    named = {row["model"] for row in found["benchmarks"]["pairs"]["metrics"]}
    assert named == {"prm", *BASELINES, random_score(row["aggregation"])}


def test_prompts_that_a_model_was_trained_on_are_left_out(tmp_path: Path, prm: Path, pairs: str):
    trained = tmp_path / "trained"
    shutil.copytree(prm, trained)
    asked = [[{"role": "user", "content": text}] for text in ("what is 3 + 4", "What is 10 + 7?")]
    write_trained_on(trained, map(question_rank, asked))  # type: ignore[arg-type]
    Evaluate(models={"other": str(prm), "prm": str(trained)}, on={pairs: ""}).run(tmp_path / "out")
    result = results(tmp_path / "out")["benchmarks"]["pairs"]
    assert (result["items"], result["skipped"]) == (4, {"prm was trained on the question": 2})
    assert metric(result, "other")["items"] == 4  # all models on the same prompts


def test_a_model_that_rewards_nothing_of_a_benchmark_ends_no_run(tmp_path: Path, prm: Path, pairs: str, sums: str):
    long = [{**row, "prompt": row["prompt"] * 10_000} for row in PAIRS]
    file = write_jsonl(tmp_path / "long.jsonl", long)
    out = tmp_path / "out"
    Evaluate(models={"prm": str(prm)}, on={sums: pairs, str(file): ""}).run(out)
    found = results(out)["benchmarks"]
    assert found["long"]["unscored"] == {"prm": 12}
    assert "prm" not in {row["model"] for row in found["long"]["metrics"]}
    assert found["sums"]["unscored"] == {"prm": 0}
    assert "long: no numbers of prm: no response has a reward" in remarks(results(out))


def test_kept_rewards_are_of_the_same_responses_whatever_left_others_out(tmp_path: Path, prm: Path, pairs: str):
    """A model that was trained on a prompt leaves it out of every model's items; alone the other one has it."""
    other = shutil.copytree(prm, tmp_path / "other")
    write_trained_on(other, [question_rank([{"role": "user", "content": PAIRS[0]["prompt"]}])])
    kept = {"on": {pairs: ""}, "rewards": str(tmp_path / "kept")}
    Evaluate(models={"prm": str(prm), "other": str(other)}, **kept).run(tmp_path / "both")
    Evaluate(models={"prm": str(prm)}, **kept).run(tmp_path / "alone")
    counts = [metric(results(tmp_path / out)["benchmarks"]["pairs"], "prm")["items"] for out in ("both", "alone")]
    assert counts == [5, 6]
