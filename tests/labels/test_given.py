"""Labels in the formats that others publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import Failure, InputError
from openprm.labels.conversions import to_trl
from openprm.labels.given import read_given


def read(folder: Path, format: str, rows: list[Any], **options: Any) -> list[Any]:
    file = folder / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return list(read_given(str(file), format, **options))


def test_processbench(tmp_path: Path):
    rows = [
        {"problem": "1 + 1?", "steps": ["One.", "Three."], "label": 1},
        {"problem": "1 + 1?", "steps": ["Two."], "label": -1},
        {"problem": "1 + 1?", "steps": ["a", "b", "c"], "label": 0},
        {"problem": "1 + 1?", "steps": ["a"], "label": 1},
    ]
    wrong, right, first, failure = read(tmp_path, "processbench", rows)
    assert (wrong["steps"], wrong["labels"], wrong["first_error"]) == (["One.\n", "Three."], [1.0, 0.0], 1)
    assert (right["labels"], right["first_error"], right["sample_index"]) == ([1.0], -1, 1)
    assert first["labels"] == [0.0, None, None]
    assert isinstance(failure, Failure)
    assert "row 4" in str(failure)
    assert "'label' is 1, but there are 1 steps" in str(failure)


@pytest.mark.parametrize(("neutral", "label"), [("right", 1.0), ("wrong", 0.0), ("drop", None)])
def test_prm800k(tmp_path: Path, neutral: str, label: float | None):
    row = {"instruction": "1 + 1?", "responses": ["One."], "next_response": "Two."}
    found = read(
        tmp_path, "prm800k", [{**row, "rating": rating} for rating in (1.0, -1.0, 0.0, None)], neutral=neutral
    )
    assert found[0]["labels"] == [None, 1.0]
    assert (found[1]["labels"], found[1]["first_error"]) == ([None, 0.0], 1)
    if label is None:
        assert "neutral (0)" in str(found[2])
    else:
        assert found[2]["labels"] == [None, label]
    assert "nobody rated" in str(found[3])


def test_math_shepherd(tmp_path: Path):
    text = "1 + 1? Step 1: One. {0}\nStep 2: The answer is: 2 {1}"
    row = {"input": text.format("ки", "ки"), "label": text.format("+", "-"), "task": "GSM8K"}
    torn = {**row, "label": text.format("+", "?")}
    found, other, none = read(tmp_path, "math-shepherd", [row, torn, {"input": "no steps", "label": "no steps"}])
    assert found["question"][0]["content"] == "1 + 1?"
    assert found["steps"] == ["Step 1: One.\n", "Step 2: The answer is: 2"]
    assert (found["labels"], found["first_error"]) == ([1.0, 0.0], 1)
    assert "does not follow 'input' at step 2" in str(other)
    assert "no steps that end with ки" in str(none)


def test_trl_and_back(tmp_path: Path):
    rows = [{"prompt": "1 + 1?", "completions": ["One.\n", "Two."], "labels": [True, False]}]
    rows += [{**rows[0], "labels": [1, 0.5]}, {**rows[0], "labels": [True]}, {**rows[0], "completions": ["", "a"]}]
    hard, soft, short, empty = read(tmp_path, "trl", rows)
    assert to_trl(hard) == rows[0]
    assert soft["labels"] == [1.0, 0.5]
    assert "2 completions, but 1 labels" in str(short)
    assert "step 1 in 'completions' is empty" in str(empty)


def test_what_is_no_format(tmp_path: Path):
    with pytest.raises(InputError, match="did you mean 'trl'"):
        read(tmp_path, "tlr", [{}])
    with pytest.raises(InputError, match="choose right, wrong, drop"):
        read(tmp_path, "prm800k", [{}], neutral="maybe")
    with pytest.raises(InputError, match="'steps'"):
        read(tmp_path, "processbench", [{"problem": "x", "label": 1}])
