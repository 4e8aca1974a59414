"""Candidates from a user's file or dataset: rows are read, mapped to candidates, and numbered.

    for item in read_candidates("answers.jsonl", Columns(response="completion")):
        if isinstance(item, Failure): ...

Memory holds a few words for each prompt and a number for each response; of the texts only a batch.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import Failure, InputError
from ..schema import SCHEMA_VERSION, Candidate
from .columns import (
    Columns,
    as_record,
    one_per_response,
    question_id,
    require_column,
    resolve_columns,
    to_candidate,
    to_id,
    to_messages,
    with_options,
)
from .readers import convert_rows, dataset_name, numbered_rows, row_key, with_columns
from .text_readers import Row

DEFAULT_COLUMNS = Columns()

#: The number of a row, and a candidate in it or why there is none.
NumberedCandidate = tuple[int, Candidate | Failure]


def read_candidates(
    path: str,
    columns: Columns = DEFAULT_COLUMNS,
    *,
    split: str | None = None,
    where: Mapping[str, str] | None = None,
    questions: str | None = None,
    questions_options: str | None = None,
    source: str | None = None,
    reward_name: str | None = None,
    counts: Counter[str] | None = None,
) -> Iterator[Candidate | Failure]:
    """The candidates in `path` (see `numbered_rows`), in order, and a Failure for each row that holds none.

    columns: a column named here must exist. Left at None, the column of the field's own name is taken if
      there is one (`""`: not even that); but `reward=None` means no rewards.
    where: only rows whose columns have these values, compared as text; the others count as skipped.
    questions: a second file with the questions, joined on the column of prompt_id. The question comes from
      there, reference and source where `path` has no such column. It is held in memory.
    questions_options: its column with a list of options, added to the question as lines "A. ...".
    source: of all rows; else its column; else the name of the file or dataset.
    reward_name: under which the rewards are stored; else the name of their column. Records have names already.
    counts: a counter to fill, of "rows" read and rows "skipped".

    A prompt without a prompt_id column gets a hash of its question; responses without a sample_index
    column are numbered in order of appearance. Rows that are `Candidate` records already pass unchanged.

    Raises InputError, with the first item: see `numbered_rows`; a missing column; records of a newer schema,
    or options that records leave no use for. With the last: no row matches `where`.
    """
    names, rows = with_columns(numbered_rows(path, split))
    rows = _matching(path, rows, names, where or {}, Counter() if counts is None else counts)
    if set(names) >= Candidate.__annotations__.keys():
        named = replace(columns, reward=columns.reward or DEFAULT_COLUMNS.reward) != DEFAULT_COLUMNS
        if named or questions or source:
            raise InputError(
                f"{path}: the rows are candidate records already; leave out columns, questions and source"
            )
        yield from number_responses(path, _records(path, rows), numbered=True)
        return
    table: dict[str, dict[str, Any]] | None = None
    if questions is not None and names:
        table, failures = _read_questions(questions, columns, questions_options)
        names += [name for name in next(iter(table.values()), {}) if name not in names]
        yield from failures
    if names:
        required = ("question", "response") if table is None else ("question", "response", "prompt_id")
        columns = resolve_columns(path, columns, names, required)
    if source:
        columns = replace(columns, source=None)
    joined = rows if table is None else _join(path, rows, table, columns, str(questions))
    mapped = map_rows(path, joined, columns, source or dataset_name(path), reward_name)
    yield from number_responses(path, mapped, numbered=columns.sample_index is not None)


def map_rows(
    path: str, rows: Iterable[Row], columns: Columns, source: str, reward_name: str | None = None
) -> Iterator[NumberedCandidate]:
    """The candidates in a file's rows, one for each response, with a sample_index of 0 where no column holds it.

    See `openprm.data.columns.to_candidate`.
    """
    for number, row in rows:
        key = row_key(path, number)
        try:
            parts = [] if isinstance(row, Failure) else one_per_response(row, columns)
        except Failure as failure:
            row, parts = failure.at(key), []
        if isinstance(row, Failure):
            yield number, row
        for position, part in enumerate(parts, 1):
            try:
                yield number, to_candidate(part, columns, source=source, reward_name=reward_name)
            except Failure as failure:
                yield number, failure.at(f"{key}, response {position} of {len(parts)}" if len(parts) > 1 else key)


def number_responses(
    path: str, candidates: Iterable[NumberedCandidate], *, numbered: bool
) -> Iterator[Candidate | Failure]:
    """The candidates with a sample_index each: their own where they are `numbered`, else in order of appearance.

    A candidate whose prompt_id belongs to another question, or whose sample_index is taken, becomes a Failure.
    """
    ledger = _Ledger()
    for number, candidate in candidates:
        if not isinstance(candidate, Failure):
            try:
                ledger.enter(candidate, number, numbered)
            except Failure as failure:
                candidate = failure.at(row_key(path, number))
        yield candidate


def _matching(
    path: str, rows: Iterable[Row], names: list[str], where: Mapping[str, str], counts: Counter[str]
) -> Iterator[Row]:
    for name in where if names else ():
        require_column(path, "the filter", name, names)
    matched = False
    for number, row in rows:
        counts["rows"] += 1
        if not isinstance(row, Failure) and any(_as_text(row.get(name)) != value for name, value in where.items()):
            counts["skipped"] += 1
            continue
        matched = True  # a row that cannot be read may match
        yield number, row
    if not matched:
        wanted = ", ".join(f"{name} = {value!r}" for name, value in where.items())
        raise InputError(f"{path}: no row has {wanted}; check the filter")


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _records(path: str, rows: Iterable[Row]) -> Iterator[NumberedCandidate]:
    for number, row in rows:
        if isinstance(row, Failure):
            yield number, row
            continue
        if isinstance(row.get("schema_version"), int) and row["schema_version"] > SCHEMA_VERSION:
            raise InputError(
                f"{row_key(path, number)}: schema_version {row['schema_version']} is newer than {SCHEMA_VERSION}, "
                "the newest this openprm knows; upgrade openprm"
            )
        try:
            yield number, as_record(row)
        except Failure as failure:
            yield number, failure.at(row_key(path, number))


def _read_questions(
    path: str, columns: Columns, options: str | None
) -> tuple[dict[str, dict[str, Any]], list[Failure]]:
    """By prompt id, the columns that candidates take from the questions file; and the rows that hold no question."""
    names, rows = with_columns(numbered_rows(path))
    key = columns.prompt_id or "prompt_id"
    for what, name in (("prompt_id", key), ("question", columns.question), ("the options", options)):
        if name and names:
            require_column(path, what, name, names)
    table: dict[str, dict[str, Any]] = {}
    wanted = [name for name in (columns.reference or "reference", columns.source or "source") if name in names]

    def enter(number: int, row: dict[str, Any]) -> None:
        prompt_id = to_id(row, key)
        question = to_messages(row.get(columns.question), columns.question)
        if options:
            question = with_options(question, row.get(options), options)
        entry = {**{name: row.get(name) for name in wanted}, columns.question: question}
        if table.setdefault(prompt_id, entry) != entry:
            raise Failure(f"{key} {prompt_id!r} was another question before", "give each question its own id")

    return table, [item for item in convert_rows(rows, path, enter) if isinstance(item, Failure)]


def _join(
    path: str, rows: Iterable[Row], table: dict[str, dict[str, Any]], columns: Columns, questions: str
) -> Iterator[Row]:
    """The rows with what the questions file says of their prompts."""
    for number, row in rows:
        if not isinstance(row, Failure):
            try:
                prompt_id = to_id(row, str(columns.prompt_id))
                if prompt_id not in table:
                    raise Failure(f"{questions} has no question {prompt_id!r}", "add it there, or leave the row out")
                row = {**table[prompt_id], **row, columns.question: table[prompt_id][columns.question]}
            except Failure as failure:
                row = failure.at(row_key(path, number))
        yield number, row


@dataclass(slots=True)
class _Prompt:
    """What is remembered of a prompt. Rows count from 1."""

    digest: str
    row: int
    rows: array[int] = field(default_factory=lambda: array("q"))  # of sample_index 0, 1, 2, ...
    others: dict[int, int] = field(default_factory=dict)  # of a sample_index that came too early


class _Ledger:
    """Numbers the responses of each prompt, and finds ids that come twice."""

    def __init__(self) -> None:
        self._prompts: dict[str, _Prompt] = {}

    def enter(self, candidate: Candidate, row: int, numbered: bool) -> None:
        """Raises Failure for a prompt_id with another question, or a sample_index seen before."""
        prompt_id, digest = candidate["prompt_id"], question_id(candidate["question"])
        prompt = self._prompts.setdefault(prompt_id, _Prompt(digest, row))
        if prompt.digest != digest:
            raise Failure(
                f"prompt_id {prompt_id!r} has another question in row {prompt.row}",
                "give each question its own id, or use no prompt_id column",
            )
        index = candidate["sample_index"] if numbered else len(prompt.rows)
        before = prompt.rows[index] if index < len(prompt.rows) else prompt.others.get(index)
        if before is not None:
            raise Failure(
                f"prompt_id {prompt_id!r} has a sample_index {index} already, in row {before}",
                "number the responses of a prompt differently, or use no sample_index column",
            )
        if index == len(prompt.rows):
            prompt.rows.append(row)
        else:
            prompt.others[index] = row
        candidate["sample_index"] = index
