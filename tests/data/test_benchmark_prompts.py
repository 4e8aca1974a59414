"""The prompts of benchmarks: what becomes of a row, and of a row that is not as it should be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from openprm.data.benchmark_prompts import BENCHMARK_PROMPTS
from openprm.data.prompts import read_declared_prompts
from openprm.errors import Failure
from openprm.evaluation.benchmarks.choice import Choice
from openprm.evaluation.benchmarks.declaration import known_benchmarks, load_benchmark
from openprm.rewards.ifeval import read_instructions
from openprm.rewards.multiple_choice import options_of


def read(folder: Path, name: str, row: Mapping[str, Any]) -> Any:
    (folder / "rows.jsonl").write_text(json.dumps(row))
    (found,) = read_declared_prompts(BENCHMARK_PROMPTS[name], str(folder / "rows.jsonl"))
    return found


def test_every_benchmark_says_where_its_prompts_are_from():
    for name, source in BENCHMARK_PROMPTS.items():
        assert re.fullmatch("[0-9a-f]{40}", source.revision) or name == "mixeval-hard"
        assert all(source.origin().values())
        assert isinstance(load_benchmark(name), Choice)
        assert load_benchmark(name).license == source.license
    assert {*BENCHMARK_PROMPTS} <= {*known_benchmarks()}


def test_problems_with_answers(tmp_path: Path):
    found = read(tmp_path, "math500", {"problem": "1 + 1?", "answer": "2", "solution": "Two.", "level": 1})
    assert (found["question"][0]["content"], found["reference"]) == ("1 + 1?", "2")


@pytest.mark.parametrize("written", [lambda kwargs: kwargs, json.dumps])
def test_instructions_with_their_arguments(tmp_path: Path, written: Any):
    kwargs = [{"num_words": None}, {"relation": "at least", "num_words": 3}]
    names = ["punctuation:no_comma", "length_constraints:number_words"]
    found = read(tmp_path, "ifeval", {"prompt": "Write.", "instruction_id_list": names, "kwargs": written(kwargs)})
    expected = ((names[0], {}), (names[1], {"num_words": 3, "relation": "at least"}))
    assert read_instructions(found["reference"]) == expected


def test_options_in_the_order_of_a_hash(tmp_path: Path):
    first = set()
    for number in range(20):
        row = {"Question": f"Which, {number}?", "Correct Answer": "right\n"}
        row |= {f"Incorrect Answer {i}": f"wrong {i}" for i in (1, 2, 3)}
        found = read(tmp_path, "gpqa", row)
        options = options_of(found["question"])
        assert options[found["reference"]] == "right"
        assert len(options) == 4
        first.add(found["reference"])
    assert first == set("ABCD")


def test_options_with_a_context(tmp_path: Path):
    row = {"context": "It rained.", "prompt": "What fell?", "options": ["Snow", "Rain"], "target": ["1"]}
    found = read(tmp_path, "mixeval-hard", row)
    assert found["question"][0]["content"] == (
        "Question:\nWhat fell?\nContext:\nIt rained.\nOptions:\nA. Snow\nB. Rain\nAnswer: Let's think step by step."
    )
    assert found["reference"] == "B"
    assert "Context" not in read(tmp_path, "mixeval-hard", row | {"context": "None"})["question"][0]["content"]
    for wrong in (["2"], ["0", "1"], ["Rain"], [], None):
        refused = read(tmp_path, "mixeval-hard", row | {"target": wrong})
        assert isinstance(refused, Failure)
        assert refused.reason.startswith("not a row of mixeval-hard: ")
