"""Rows in memory are read like those of a file: dictionaries and DataFrames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import openprm
from openprm.errors import InputError
from tests.answers import answers, write_jsonl

ROWS = [row for row in answers(3) if row["question"] == "What is 1 + 1?"]
RENAMED = {"question": "prompt", "response": "completion", "reward": "score"}


def test_rows_a_frame_and_a_file_give_the_same_tree(tmp_path: Path):
    file = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    of_file = openprm.build_tree(list(openprm.read_candidates(file)), "reward")
    assert len(of_file["nodes"]) > 4
    assert openprm.build_tree(ROWS) == openprm.build_tree(pd.DataFrame(ROWS)) == openprm.build_tree(file) == of_file
    assert [*openprm.read_candidates(pd.DataFrame(ROWS))] == [*openprm.read_candidates(iter(ROWS))]


def test_other_columns_and_lists_of_a_parquet_file(tmp_path: Path):
    renamed = pd.DataFrame(ROWS).rename(columns=RENAMED)
    columns = openprm.Columns(**RENAMED)
    tree = openprm.build_tree(renamed, columns=columns, source="mine")
    assert tree["reward_name"] == "score"
    assert tree["nodes"] == openprm.build_tree(ROWS, source="mine")["nodes"]
    chat = [{"role": "user", "content": ROWS[0]["question"]}]
    lists = {name: [row[name] for row in ROWS] for name in ("response", "reward")}
    pd.DataFrame([{"question": chat, **lists}]).to_parquet(tmp_path / "a.parquet")  # lists come back as arrays
    read = pd.read_parquet(tmp_path / "a.parquet")
    assert openprm.build_tree(read, source="mine") == openprm.build_tree(ROWS, source="mine")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROWS[0], {**ROWS[1], "reward": "good"}], "rows, row 2: 'reward' is 'good': should be a valid number"),
        (pd.DataFrame([ROWS[0], {**ROWS[1], "reward": None}]), "rows, row 2: 'reward' is nan"),
        ([ROWS[0], {**ROWS[1], "response": None}], "rows, row 2: 'response' is missing"),
        ([{"prompt": "a", "text": "b"}], "no column 'question'; it has 'prompt', 'text'; did you mean 'prompt'"),
        (["a", "b"], "rows, row 1: it is str; give dictionaries"),
        (ROWS[0], "rows, row 1: it is str; give dictionaries"),
        ([], "at least one candidate"),
        (answers(2), "candidates of two prompts"),
    ],
)
def test_what_is_wrong_is_said_by_row(rows: Any, message: str):
    with pytest.raises(ValueError, match=message):
        openprm.build_tree(rows)


def test_several_rewards_must_be_chosen_from():
    (one,) = openprm.read_candidates(ROWS[:1])
    assert isinstance(one, dict)
    two: Any = {**one, "rewards": [*one["rewards"], {**one["rewards"][0], "name": "other", "value": 5.0}]}
    with pytest.raises(InputError, match="have rewards other, reward; choose one by reward_name"):
        openprm.build_tree([two])
    assert openprm.build_tree([two], "other")["nodes"][0]["value"] == 5.0
