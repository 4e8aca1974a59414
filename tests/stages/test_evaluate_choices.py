"""Two stages on the same candidates and one reward model: choices of scores, and a benchmark of choices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.schema import Candidate
from openprm.stages.choices import Choices
from openprm.stages.evaluate import Evaluate
from openprm.stages.score import Score

from ..folders import candidate, dataset
from .evaluations import results

DECLARED = "title: Mine\nkind: choice\nequivalence: exact\nprobes: [abstention]\n"


def rows() -> list[dict[str, Any]]:
    texts = ("Up 2. ", "Down 3. ", "Flip. ", "Up 2. Up 2. ")
    return [
        candidate(f"p{prompt}", index, f"{'Go. ' * (index % 2)}{text}The answer is {(index * prompt) % 3}.", golden)
        for prompt in range(4)
        for index, text in enumerate(texts)
        for golden in [float((index * prompt) % 3 == 0)]
    ]


@pytest.fixture
def candidates(tmp_path: Path) -> str:
    return str(dataset(tmp_path / "candidates", Candidate, rows()))


def test_both_stages_give_the_same_numbers(tmp_path: Path, base: Path, candidates: str):
    Score(candidates=candidates, model=str(base)).run(tmp_path / "scores")
    Choices(candidates=candidates, scores={"it": str(tmp_path / "scores")}, equivalence="exact", curve=True).run(
        tmp_path / "choices"
    )
    choices = results(tmp_path / "choices")
    aggregation = choices["kinds"]["it"]["aggregation"]
    table = {row["method"]: row["accuracy"] for row in choices["metrics"]}
    curve = {(row["line"], row["n"]): row["accuracy"] for row in choices["samples"]}

    (tmp_path / "mine.yaml").write_text(DECLARED)
    Evaluate(models={"it": str(base)}, on={str(tmp_path / "mine.yaml"): candidates}).run(tmp_path / "evaluation")
    ((name, found),) = results(tmp_path / "evaluation")["benchmarks"].items()
    numbers = {(row["metric"], row["model"]): row for row in found["metrics"] if not row["subset"]}
    value = {key: row["value"] for key, row in numbers.items()}
    assert value["accuracy", "it"] == pytest.approx(table[f"best of 4: it/{aggregation}"])
    assert value["weighted vote", "it"] == pytest.approx(table[f"weighted vote@4: it/{aggregation}"])
    for other in ("single sample", "shortest response", "majority vote", "coverage"):
        assert value["accuracy", other] == pytest.approx(table.get(other, table.get(f"{other}@4")))
    assert value["accuracy", "length"] == pytest.approx(table["longest response@4"])
    for n in (1, 2, 4):
        assert value[f"accuracy@{n}", "it"] == pytest.approx(curve[f"best of n: it/{aggregation}", n])
        assert value[f"accuracy@{n}", "coverage"] == pytest.approx(curve["coverage", n])
    assert numbers["accuracy", "it"]["items"] == 4
    assert value["risk", "it"] == pytest.approx(1 - value["accuracy", "it"])
    assert found["details"]["abstention"]["it"][-1] == {"coverage": 1.0, "risk": pytest.approx(value["risk", "it"])}
    (less,) = [
        row["value"]
        for row in found["differences"]
        if (row["metric"], row["model"], row["against"]) == ("accuracy", "it", "majority vote")
    ]
    assert less == pytest.approx(value["accuracy", "it"] - value["accuracy", "majority vote"])

    chosen = json.loads((tmp_path / "evaluation" / "chosen" / name / "it.json").read_text())
    assert [set(one) for one in chosen] == [{"instruction", "output", "generator", "dataset"}] * 4
    texts = {one["response"] for one in rows()}
    assert {one["output"] for one in chosen} <= texts


def test_candidates_without_a_reward(tmp_path: Path, base: Path):
    unrewarded = str(dataset(tmp_path / "c", Candidate, [one | {"rewards": []} for one in rows()]))
    (tmp_path / "mine.yaml").write_text(DECLARED)
    with pytest.raises(InputError, match=r"'mine' can be measured; 4 rows were rejected, .*no reward 'golden'"):
        Evaluate(models={"it": str(base)}, on={str(tmp_path / "mine.yaml"): unrewarded}).run(tmp_path / "evaluation")
