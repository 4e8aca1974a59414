"""Preference datasets of any make become outcome pairs, or rejections that say what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openprm.data.preferences import PreferenceColumns, read_preferences
from openprm.errors import Failure, InputError
from openprm.schema import Pair
from openprm.trees.pairs import texts

from ..answers import write_jsonl
from .failures import apart, failed_rows

COLUMNS = PreferenceColumns()
WHOLE_CHATS = PreferenceColumns(question=None)
ROW = {"prompt": "q", "chosen": "yes", "rejected": "no"}


def chat(*turns: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[index % 2], "content": turn} for index, turn in enumerate(turns)]


@pytest.fixture
def read(tmp_path: Path):
    def call(*rows: dict[str, Any], columns: PreferenceColumns = COLUMNS) -> tuple[list[Pair], list[Failure]]:
        path = tmp_path / "answers.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return apart(read_preferences(str(path), columns))

    return call


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        (ROW, COLUMNS),
        ({"q": "q", "good": "yes", "bad": "no"}, PreferenceColumns("q", "good", "bad")),
        ({"prompt": chat("q"), "chosen": chat("q", "yes")[1:], "rejected": chat("q", "no")[1:]}, COLUMNS),
        # UltraFeedback-binarized: the prompt, and the chats with it
        ({"prompt": "q", "chosen": chat("q", "yes"), "rejected": chat("q", "no"), "score_chosen": 8.0}, COLUMNS),
        ({"chosen": chat("q", "yes"), "rejected": chat("q", "no")}, WHOLE_CHATS),
        ({"chosen": chat("q", "b", "c", "yes"), "rejected": chat("q", "b", "c", "no")}, WHOLE_CHATS),
    ],
)
def test_the_forms_a_preference_comes_in(read, row, columns):
    [pair], refused = read(row, columns=columns)
    assert not refused
    assert pair["question"] in (chat("q"), chat("q", "b", "c"))
    assert texts(pair) == ("yes", "no")
    assert (pair["level"], pair["gap"], pair["context"]) == ("outcome", None, "")
    assert pair["source"] == "answers", "not the path: rows are the same wherever the file lies"


def test_one_question_has_one_id(read):
    pairs, _ = read(ROW, {**ROW, "chosen": "sure"}, {**ROW, "prompt": "other"})
    ids = [pair["prompt_id"] for pair in pairs]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"chosen": None}, "'chosen' is neither a text nor a chat that ends with an answer"),
        ({"chosen": ""}, "the answer in 'chosen' is empty"),
        ({"rejected": []}, "'rejected' is neither"),
        ({"rejected": chat("q")}, "'rejected' is neither"),
        ({"rejected": chat("q", "")}, "the answer in 'rejected' is empty"),
        ({"rejected": "yes"}, "chosen and rejected are the same text"),
        ({"prompt": None}, "'prompt' is missing"),
        ({"chosen": "cut \ud83d"}, "'chosen' has half a surrogate pair"),
        ({"rejected": chat("q", "cut \ud83d")}, "'rejected' has half a surrogate pair"),
    ],
)
def test_bad_rows(read, wrong, reason):
    pairs, [rejection] = read(ROW, {**ROW, **wrong})
    assert len(pairs) == 1
    assert failed_rows([rejection]) == [2]
    assert rejection.reason.startswith(reason)
    assert rejection.remedy


def test_different_questions(read):
    row = {"chosen": chat("q", "yes"), "rejected": chat("r", "no")}
    assert read(row, ROW, columns=WHOLE_CHATS)[1][0].reason == "chosen and rejected answer different questions"


@pytest.mark.parametrize("before", ["", "{\n", "\n\n"])
def test_a_missing_column_in_lines(tmp_path, before):
    path = tmp_path / "a.jsonl"
    path.write_text(before + json.dumps({"prompt": "q", "good": "yes", "rejected": "no"}))
    with pytest.raises(InputError, match=r"it has 'prompt', 'good', 'rejected'; name .*--chosen-column"):
        list(read_preferences(str(path), COLUMNS))


def test_the_name_of_the_source(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [ROW])
    [pair] = read_preferences(path, COLUMNS, source="mine")
    assert not isinstance(pair, Failure)
    assert pair["source"] == "mine"
