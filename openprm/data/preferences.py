"""Outcome pairs from any preference dataset: HelpSteer2, UltraFeedback-binarized, or a file of your own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, Rejection, is_unicode
from ..schema import Message, Pair
from ..trees.pairs import preference_pair
from .candidates import stem
from .columns import RowError, question_id, to_messages
from .readers import read_rows


@dataclass(frozen=True)
class PreferenceColumns:
    """Which columns hold what. `question` None: chosen and rejected are whole conversations that hold it."""

    question: str | None = "prompt"
    chosen: str = "chosen"
    rejected: str = "rejected"


def read_preferences(
    path: str, columns: PreferenceColumns, *, split: str | None = None, source: str | None = None
) -> Iterator[Pair | Rejection]:
    """One outcome pair per row of any file or dataset that `read_rows` reads, and the rows rejected.

    Chosen and rejected are texts, or chats: then the last message is the answer, and those before it are the
    question if no column holds it. Raises InputError where a column is missing.
    """
    first = True
    for item in read_rows(path, split):
        if isinstance(item, Rejection):
            yield item
            continue
        number, row = item
        wanted = [name for name in (columns.question, columns.chosen, columns.rejected) if name]
        missing = [name for name in wanted if name not in row]
        if missing and first:
            raise InputError(f"{path}: no column {missing[0]!r}; name the right one of {', '.join(map(repr, row))}")
        first = False
        try:
            yield to_pair(row, columns, source or stem(path))
        except RowError as error:
            yield Rejection(path, number, error.reason, error.remedy)


def to_pair(row: Mapping[str, Any], columns: PreferenceColumns, source: str, gap: float | None = None) -> Pair:
    """The outcome pair of a row; raises RowError for what is none. `gap`: by how much the chosen one is better."""
    chosen_question, chosen = _answer(row.get(columns.chosen), columns.chosen)
    rejected_question, rejected = _answer(row.get(columns.rejected), columns.rejected)
    if columns.question is not None:
        question = to_messages(row.get(columns.question), columns.question)
    elif chosen_question is None or chosen_question != rejected_question:
        raise RowError("chosen and rejected answer different questions", "name the column of the question")
    else:
        question = chosen_question
    if chosen == rejected:
        raise RowError("chosen and rejected are the same text", "leave the row out: it holds no preference")
    return preference_pair(question, chosen, rejected, source, question_id(question), gap)


def _answer(value: Any, column: str) -> tuple[list[Message] | None, str]:
    """Question (None for a plain text) and answer."""
    if isinstance(value, str) and value:
        return None, _storable(value, column)
    last = value[-1] if isinstance(value, list) and value else None
    if not isinstance(last, dict) or last.get("role") != "assistant" or not isinstance(last.get("content"), str):
        raise RowError(f"{column!r} is neither a text nor a chat that ends with an answer", "give one of the two")
    if not last["content"]:
        raise RowError(f"the answer in {column!r} is empty", "leave the row out")
    answer = _storable(last["content"], column)
    return to_messages(value[:-1], column) if len(value) > 1 else None, answer


def _storable(text: str, column: str) -> str:
    if not is_unicode(text):
        reason = f"{column!r} has half a surrogate pair, which is no character"
        raise RowError(reason, "repair the text where it was cut")
    return text
