"""Rewards from a file: each finds its candidate, and what is wrong with the file is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.rewards.base import RewardBatch, RewardResult
from openprm.rewards.from_file import FileRewarder
from openprm.schema import plain_reward

from ..folders import candidate

ROWS = [
    {"prompt_id": "p", "sample_index": 1, "mine": 0.5},
    {"prompt_id": "p", "sample_index": 0, "mine": True},
    {"prompt_id": 7, "sample_index": 0, "mine": "-2"},
]


def outcomes(folder: Path, rows: list[dict[str, Any]], *candidates: Any) -> list[RewardResult]:
    file = folder / "rewards.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rewarder = FileRewarder("mine", str(file), "mine")
    ((_, found),) = rewarder.rewards([RewardBatch(0, candidates)])
    return found


def test_each_candidate_gets_its_own(tmp_path: Path):
    found = outcomes(tmp_path, ROWS, candidate("p", 0, "a"), candidate("p", 1, "b"), candidate("7", 0, "c"))
    assert found == [RewardResult(plain_reward("mine", value)) for value in (1.0, 0.5, -2.0)]


def test_a_candidate_without_one_is_a_failure_of_its_own(tmp_path: Path):
    missing, there = outcomes(tmp_path, ROWS, candidate("p", 2, "a"), candidate("p", 1, "b"))
    assert missing.failure is not None
    assert not missing.failure.transient
    assert there.reward == plain_reward("mine", 0.5)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**ROWS[0], "sample_index": 2, "mine": "good"}, "row 4: 'mine' is 'good'"),
        (ROWS[0], "row 4: prompt 'p', sample 1 has a reward already"),
        ({"prompt_id": "p", "mine": 1}, "row 4: 'sample_index' is missing"),
        ({"sample_index": 1, "mine": 1}, "row 4: 'prompt_id' is missing"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, row: dict[str, Any], message: str):
    with pytest.raises(InputError, match=rf"rewards\.jsonl, {message}"):
        outcomes(tmp_path, [*ROWS, row], candidate("p", 0, "a"))


def test_a_column_that_is_not_there(tmp_path: Path):
    with pytest.raises(InputError, match=r"no column 'mine'; .* 'mined'"):
        outcomes(tmp_path, [{"prompt_id": "p", "sample_index": 0, "mined": 1}], candidate("p", 0, "a"))
