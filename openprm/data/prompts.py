"""Prompts from a user's file or dataset, or from a dataset of the paper.

    for item in read_prompts("questions.csv"): ...
    for item in read_declared_prompts(PROMPT_SOURCES["scienceqa"]): ...

Each question comes once. In memory are some hashes per prompt, and the texts of one batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import Failure
from ..schema import SCHEMA_VERSION, Message, Prompt
from ..text import comparable
from .columns import resolve_columns
from .paper_datasets import PromptSource
from .readers import convert_rows, dataset_name, numbered_rows, source_rows, with_columns
from .values import question_id, to_id, to_messages, to_question, to_text


@dataclass(frozen=True)
class PromptColumns:
    """The column of each part of a prompt; None takes the column of that name, if there is one.

    `question` holds text or chat messages, `options` a list, which is added to the question as lines "A. ...". Without
    a column for it, the prompt id is a hash of the question.
    """

    question: str = "question"
    prompt_id: str | None = None
    reference: str | None = None
    source: str | None = None
    options: str | None = None


DEFAULT_COLUMNS = PromptColumns()


def read_prompts(
    path: str,
    columns: PromptColumns = DEFAULT_COLUMNS,
    *,
    split: str | None = None,
    source: str | None = None,
    counts: Counter[str] | None = None,
) -> Iterator[Prompt | Failure]:
    """The prompts of a file or dataset in order, and a Failure for each row that cannot be used.

    path: see `numbered_rows`. A folder of candidates gives their questions.
    source: of all rows; else their column; else the name of the file.
    counts: filled with the number of "rows" read and of repeated questions, "duplicates".

    Raises InputError, with the first item: see `numbered_rows`; a missing column.
    """
    counts = Counter() if counts is None else counts
    ledger = _Ledger(counts)
    names, rows = with_columns(numbered_rows(path, split))
    columns = resolve_columns(path, columns, names, ("question",)) if names else columns
    name = dataset_name(path)

    def prompts(number: int, row: dict[str, Any]) -> Iterator[Prompt]:
        question = to_question(row, columns.question, columns.options)
        prompt_id = to_id(row, columns.prompt_id) if columns.prompt_id else None
        origin = source or to_text(row, columns.source) or name
        yield from ledger.enter(number, origin, question, to_text(row, columns.reference), prompt_id)

    yield from convert_rows(rows, path, prompts, counts)


def read_declared_prompts(
    source: PromptSource, path: str | None = None, counts: Counter[str] | None = None
) -> Iterator[Prompt | Failure]:
    """The prompts of a dataset of the paper in its order, and a Failure for each row that cannot be used.

    The id of a prompt is a hash of its question.
    path: a file, or a folder laid out as the dataset is on the Hub, to read instead of the Hub.
    counts: see `read_prompts`; also the number of rows that the source leaves out, "skipped".

    Raises InputError, with the first item, if the Hub or the path does not give the source's rows.
    """
    counts = Counter() if counts is None else counts
    ledger = _Ledger(counts)

    def prompts(number: int, row: dict[str, Any]) -> Iterator[Prompt]:
        try:
            found = source.prompt(row)
        except (TypeError, ValueError) as error:
            raise Failure(f"not a row of {source.name}: {error}", "compare it with the dataset on the Hub") from None
        if found is None:
            counts["skipped"] += 1
            return
        question = to_messages([Message(role="user", content=found[0])], "question")
        yield from ledger.enter(number, source.name, question, found[1])

    for file, rows in source_rows(source, path):
        yield from convert_rows(rows, file, prompts, counts)


class _Ledger:
    """Makes prompts, one per question, and finds ids that two questions share."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._questions: dict[str, tuple[int, int]] = {}  # row, and a hash of the reference
        self._ids: dict[str, int] = {}

    def enter(
        self, row: int, source: str, question: list[Message], reference: str | None, prompt_id: str | None = None
    ) -> Iterator[Prompt]:
        """The prompt, unless its question came before. Raises Failure if an earlier row contradicts it."""
        digest = question_id(question)
        prompt_id = prompt_id or digest
        key = hash(reference and comparable(reference))
        if digest in self._questions:
            first, other = self._questions[digest]
            if key != other:
                raise Failure(f"the question has another reference in row {first}", "keep the row that is right")
            self._counts["duplicates"] += 1
            return
        if prompt_id in self._ids:
            raise Failure(
                f"prompt_id {prompt_id!r} has another question in row {self._ids[prompt_id]}",
                "give each question its own id, or use no prompt_id column",
            )
        self._questions[digest] = (row, key)
        self._ids[prompt_id] = row
        yield Prompt(
            schema_version=SCHEMA_VERSION, prompt_id=prompt_id, source=source, question=question, reference=reference
        )
