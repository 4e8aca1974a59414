"""A user's prompts: columns, ids, references, options, and rows that cannot be used."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openprm.data.prompts import DEFAULT_COLUMNS, PromptColumns, read_prompts
from openprm.data.values import question_id
from openprm.errors import Failure, InputError
from openprm.schema import Message, Prompt
from openprm.stages.import_candidates import ImportCandidates

from ..answers import answers, write_jsonl
from .failures import apart, failed_rows

ROW = {"question": "What is 2 + 3?", "reference": "5"}


@pytest.fixture
def read(tmp_path: Path):
    def call(
        *rows: dict[str, Any], columns: PromptColumns = DEFAULT_COLUMNS, **options: Any
    ) -> tuple[list[Prompt], list[Failure], Counter[str]]:
        file = tmp_path / "mine.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))  # escaped: half a character can be written
        counts: Counter[str] = Counter()
        return *apart(read_prompts(str(file), columns, **options, counts=counts)), counts

    return call


def user(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


def test_a_row_becomes_a_prompt(read):
    [prompt], _, _ = read(ROW)
    question = user("What is 2 + 3?")
    assert prompt == Prompt(
        schema_version=1, prompt_id=question_id(question), source="mine", question=question, reference="5"
    )


def test_columns_by_other_names(read):
    row = {"q": "Which?", "n": 17, "gold": 2, "part": "quiz", "choices": ["red", "blue"], "question": "not this"}
    columns = PromptColumns("q", "n", "gold", "part", "choices")
    [prompt], _, _ = read(row, columns=columns)
    assert (prompt["prompt_id"], prompt["source"], prompt["reference"]) == ("17", "quiz", "2")
    assert prompt["question"] == user("Which?\nA. red\nB. blue")
    [prompt], _, _ = read(row, columns=columns, source="all")
    assert prompt["source"] == "all"


def test_a_chat_is_a_question(read):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    [prompt], _, _ = read({"question": chat})
    assert prompt["question"] == chat
    assert prompt["reference"] is None


def test_a_question_comes_once(read):
    prompts, refused, counts = read(ROW, {"question": "Other?"}, ROW)
    assert [prompt["question"][0]["content"] for prompt in prompts] == ["What is 2 + 3?", "Other?"]
    assert (counts["rows"], counts["duplicates"], refused) == (3, 1, [])


def test_ids_of_ones_own(read):
    prompts, [refused], counts = read(
        {**ROW, "prompt_id": "a"}, {**ROW, "prompt_id": "b"}, {"question": "Other?", "prompt_id": "a"}
    )
    assert [prompt["prompt_id"] for prompt in prompts] == ["a"]
    assert counts["duplicates"] == 1, "a question is the same one under another id"
    assert (failed_rows([refused]), refused.reason) == ([3], "prompt_id 'a' has another question in row 1")


def test_two_references_of_one_question(read):
    prompts, [refused], _ = read(ROW, {**ROW, "reference": "6"})
    assert [prompt["reference"] for prompt in prompts] == ["5"]
    assert (failed_rows([refused]), refused.reason) == ([2], "the question has another reference in row 1")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"question": ""}, "'question' is empty"),
        ({"question": "cut \ud83d"}, "'question' has half a surrogate pair"),
        ({"reference": ["5"]}, "'reference' should be a valid string"),
        ({"options": "A, B"}, "'options' is 'A, B': should be a valid list"),
    ],
)
def test_bad_rows(read, wrong, reason):
    prompts, [refused], _ = read({**ROW, "options": None}, {**ROW, "options": ["x"], **wrong})
    assert len(prompts) == 1
    assert refused.key is not None
    assert refused.key.endswith("mine.jsonl, row 2")
    assert refused.reason.startswith(reason)


def test_a_missing_column(read):
    with pytest.raises(InputError, match=r"did you mean 'questions' \(--question-column questions\)"):
        read({"questions": "Why?"})
    with pytest.raises(InputError, match=r"did you mean 'reference' \(--reference-column reference\)"):
        read(ROW, columns=PromptColumns(reference="gold"))


def test_the_questions_of_candidates(tmp_path):
    ImportCandidates(candidates=write_jsonl(tmp_path / "a.jsonl", answers(5, 4))).run(tmp_path / "candidates")
    counts: Counter[str] = Counter()
    prompts = list(read_prompts(str(tmp_path / "candidates"), counts=counts))
    assert len(prompts) == 5
    assert counts["duplicates"] == 15
    assert {prompt["source"] for prompt in prompts if not isinstance(prompt, Failure)} == {"a"}


texts = st.sampled_from(["one", "two", "three", "", " "]) | st.text(max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(texts, min_size=1))
def test_every_row_is_a_prompt_a_duplicate_or_rejected(tmp_path, questions):
    counts: Counter[str] = Counter()
    file = write_jsonl(tmp_path / "any.jsonl", [{"question": question} for question in questions])
    items = list(read_prompts(file, counts=counts))
    assert len(items) + counts["duplicates"] == len(questions) == counts["rows"]
    prompts = [item for item in items if not isinstance(item, Failure)]
    assert [prompt["question"][0]["content"] for prompt in prompts] == [
        *dict.fromkeys(question for question in questions if question.strip())
    ]
