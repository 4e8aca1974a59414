"""Evaluations on benchmarks of single steps by a tiny model: the rewards are the pipeline's of every prefix."""

from __future__ import annotations

from pathlib import Path

import pytest

from openprm.evaluation.pair_accuracy import first_error, first_error_f1
from openprm.runs.folder import read_rows
from openprm.schema import BenchmarkReward
from openprm.scoring.pipeline import load_scorer
from openprm.stages.evaluate import Evaluate

from ..answers import write_jsonl
from .pair_benchmarks import metric, results

QUESTIONS = [f"What is {a} + {a + 1}?" for a in range(1, 9)]
STEPS = ["Add the numbers. Both of them.", "Guess.", "The answer is 7."]


def declared(folder: Path, kind: str, more: str = "") -> str:
    path = folder / f"{kind}.yaml"
    path.write_text(f"title: Steps\nkind: {kind}\n{more}")
    return str(path)


def reward(prm: Path, question: str, text: str) -> float:
    """Of the last step of the text."""
    return load_scorer(str(prm))({"question": question, "response": text})["step_rewards"][-1]


def test_steps_at_one_state(tmp_path: Path, prm: Path):
    rows = [
        {"instruction": question, "responses": before, "next_response": step, "rating": rating}
        for question in QUESTIONS
        for before, step, rating in [([], STEPS[0], 1), ([], STEPS[1], -1), (STEPS[:1], STEPS[2], None)]
    ]
    place = write_jsonl(tmp_path / "rows.jsonl", rows)
    Evaluate(models={"prm": str(prm)}, on={declared(tmp_path, "states", "probes: [calibration]\n"): place}).run(
        tmp_path / "out"
    )
    result = results(tmp_path / "out")["benchmarks"]["states"]
    won = [reward(prm, question, STEPS[0]) > reward(prm, question, STEPS[1]) for question in QUESTIONS]
    assert metric(result, "prm")["value"] == pytest.approx(sum(won) / len(won))
    assert metric(result, "prm")["items"] == len(QUESTIONS)
    assert result["skipped"] == {"the step has no rating": len(QUESTIONS)}
    assert result["details"]["states"]["prm"]["states"] == len(QUESTIONS)
    assert "strength" in result["details"]["calibration"]["prm"]["why"]


def test_first_wrong_steps(tmp_path: Path, prm: Path):
    rows = [
        {"id": f"{'easy' if i % 2 else 'hard'}-{i}", "problem": question, "steps": STEPS, "label": i // 2 % 3 - 1}
        for i, question in enumerate(QUESTIONS)
    ]
    place = write_jsonl(tmp_path / "rows.jsonl", rows)
    columns = "columns: {question: problem, steps: steps, label: label, subset: id}\nthreshold_from: [easy, hard]\n"
    benchmark = declared(tmp_path, "first-error", columns)
    Evaluate(models={"prm": str(prm)}, on={benchmark: place}).run(tmp_path / "out")
    result = results(tmp_path / "out")["benchmarks"]["first-error"]
    kept = sorted(
        read_rows(tmp_path / "out" / "rewards" / "prm" / "first-error", BenchmarkReward), key=lambda row: row["item"]
    )
    rewards = [row["step_rewards"] for row in kept]
    prefixes = [STEPS[0] + "\n", "\n".join(STEPS[:2]) + "\n", "\n".join(STEPS)]  # each with what ends its last step
    for some, row in zip(rewards, rows, strict=True):
        assert some == pytest.approx([reward(prm, row["problem"], text) for text in prefixes], abs=1e-4)
    of = {half: [i for i, row in enumerate(rows) if row["id"].startswith(half)] for half in ("easy", "hard")}

    def f1(half: str, threshold: float) -> float:
        found = [first_error(rewards[i], threshold) for i in of[half]]
        return first_error_f1(found, [rows[i]["label"] for i in of[half]])["f1"]

    every = sorted({one for some in rewards for one in some})
    for half, other in (("easy", "hard"), ("hard", "easy")):
        said = result["details"]["first-error"]["prm"]["thresholds"][half]
        assert said["from"] == other
        assert f1(other, said["threshold"]) == pytest.approx(max(f1(other, one) for one in every))
        assert metric(result, "prm", "F1", half)["value"] == pytest.approx(f1(half, said["threshold"]))
        best = max(f1(half, one) for one in every)
        assert metric(result, "prm", "F1, oracle threshold", half)["value"] == pytest.approx(best)
