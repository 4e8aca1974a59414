"""Outcome pairs from preference datasets and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..errors import Failure
from ..runs.folder import batched
from ..schema import Message, Pair
from ..text import comparable
from ..trees.pairs import preference_pair
from .columns import require_column
from .readers import convert_rows, dataset_name, numbered_rows, source_rows, with_columns
from .text_readers import Row
from .values import as_unicode, question_id, to_messages, to_question

if TYPE_CHECKING:
    from .paper_datasets import PairSource


@dataclass(frozen=True)
class PreferenceColumns:
    """The column of each part; `question` is None if chosen and rejected are conversations that begin with it."""

    question: str | None = "prompt"
    chosen: str = "chosen"
    rejected: str = "rejected"


def read_preferences(
    path: str, columns: PreferenceColumns, *, split: str | None = None, source: str | None = None
) -> Iterator[Pair | Failure]:
    """One outcome pair or Failure per row of any file or dataset (see `numbered_rows`).

    Chosen and rejected are texts or chats. The last message of a chat is the answer; those before it are the question,
    unless it has a column. Raises InputError if a column is missing.
    """
    names, rows = with_columns(numbered_rows(path, split))
    for part, column in vars(columns).items():
        if column and names:
            require_column(path, part, column, names)
    name = source or dataset_name(path)
    return convert_rows(rows, path, lambda _, row: [to_pair(row, columns, name)])


def read_declared_pairs(
    source: PairSource, path: str | None = None, counts: Counter[str] | None = None
) -> Iterator[Pair | Failure]:
    """The outcome pairs of a source, and a Failure for each row that is damaged or has no partner.

    path: a file, or a folder laid out as the source is on the Hub, to read instead of the Hub. counts: filled with the
    number of "ties". Raises InputError, with the first item, if the Hub or the path does not give the source's rows.
    """
    counts = Counter() if counts is None else counts

    def group(numbered: Row) -> object:
        row = numbered[1]
        return object() if source.by is None or isinstance(row, Failure) else row.get(source.by)

    def grouped(rows: Iterator[Row]) -> Iterator[tuple[int, Any]]:
        for _, together in groupby(rows, group):
            for (number, first), *others in batched(together, 2):
                yield number, first if isinstance(first, Failure) else [first, *(row for _, row in others)]

    def pairs(number: int, rows: Any) -> Iterator[Pair]:
        pair = source.pair(rows, source.name)
        if pair is None:
            counts["ties"] += 1
        else:
            yield pair

    for file, rows in source_rows(source, path):
        yield from convert_rows(grouped(rows), file, pairs)


def to_pair(row: Mapping[str, Any], columns: PreferenceColumns, source: str, gap: float | None = None) -> Pair:
    """The outcome pair in a row; raises Failure if there is none. `gap`: by how much the chosen answer is better."""
    chosen_question, chosen = _answer(row.get(columns.chosen), columns.chosen)
    rejected_question, rejected = _answer(row.get(columns.rejected), columns.rejected)
    if columns.question is not None:
        question = to_question(row, columns.question)
    elif chosen_question is None or question_id(chosen_question) != question_id(rejected_question or []):
        raise Failure("chosen and rejected answer different questions", "name the column of the question")
    else:
        question = chosen_question
    if comparable(chosen) == comparable(rejected):
        raise Failure("chosen and rejected are the same text", "leave the row out: it holds no preference")
    return preference_pair(question, chosen, rejected, source, question_id(question), gap)


def _answer(value: Any, column: str) -> tuple[list[Message] | None, str]:
    """The question (None for a plain text) and the answer."""
    if isinstance(value, str):
        return None, _filled(value, column)
    last = value[-1] if isinstance(value, list) and value else None
    if not isinstance(last, dict) or last.get("role") != "assistant" or not isinstance(last.get("content"), str):
        raise Failure(f"{column!r} is neither a text nor a chat that ends with an answer", "give one of the two")
    answer = _filled(last["content"], column)
    return to_messages(value[:-1], column) if len(value) > 1 else None, answer


def _filled(answer: str, column: str) -> str:
    if not answer:
        raise Failure(f"the answer in {column!r} is empty", "leave the row out")
    return as_unicode(answer, column)
