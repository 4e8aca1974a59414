"""Candidates from a user's file or dataset: the rows are read, mapped, joined and numbered.

    for item in read_candidates("answers.jsonl", Columns(response="completion")):
        if isinstance(item, Rejection): ...

Memory holds a few words for each prompt and a number for each response; of the texts only a batch.
"""

from __future__ import annotations

import difflib
import os
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InputError, Rejection, Row
from ..hub_id import HubId
from ..schema import SCHEMA_VERSION, Candidate
from .columns import (
    Columns,
    RowError,
    as_record,
    one_per_response,
    question_id,
    to_candidate,
    to_id,
    to_messages,
    with_options,
)
from .readers import read_rows

__all__ = ["Columns", "InputError", "Rejection", "read_candidates"]

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Columns = TypeVar("_Columns", bound="DataclassInstance")

DEFAULT_COLUMNS = Columns()
_PEEK = 100


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
) -> Iterator[Candidate | Rejection]:
    """The candidates in `path` (whatever `read_rows` reads), in order, and the rows rejected.

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

    Raises InputError, with the first item: see `read_rows`; a missing column; records of a newer schema,
    or options that records leave no use for. With the last: no row matches `where`.
    """
    counts = Counter() if counts is None else counts
    there, rows = peek(read_rows(path, split))
    where = where or {}
    for name in where if there else ():
        require_column(path, "the filter", name, there)
    is_record = there.keys() >= Candidate.__annotations__.keys()
    table: dict[str, dict[str, Any]] | None = None
    if is_record:
        if are_named(columns) or questions or source:
            raise InputError(
                f"{path}: the rows are candidate records already; leave out columns, questions and source"
            )
    elif there:
        not_questions: list[Rejection] = []
        if questions is not None:
            table = {}
            not_questions = list(_read_questions(questions, columns, questions_options, table))
            there.update((name, None) for row in table.values() for name in row)
        required = ("question", "response") if table is None else ("question", "response", "prompt_id")
        columns = resolve_columns(path, columns, there, required)
        yield from not_questions
    if source:
        columns = replace(columns, source=None)
    default_source = source or stem(path)
    ledger, matched = _Ledger(), False
    for item in rows:
        counts["rows"] += 1
        if isinstance(item, Rejection):
            yield item
            matched = True  # for all we know
            continue
        number, row = item
        if any(_cell(row.get(name)) != value for name, value in where.items()):
            counts["skipped"] += 1
            continue
        matched = True
        if is_record and isinstance(row.get("schema_version"), int) and row["schema_version"] > SCHEMA_VERSION:
            raise InputError(
                f"{path}, row {number}: schema_version {row['schema_version']} is newer than {SCHEMA_VERSION}, "
                "the newest this openprm knows; upgrade openprm"
            )
        parts: list[Mapping[str, Any]] = [row]
        try:
            if not is_record:
                parts = one_per_response(_join(row, table, columns, questions), columns)
        except RowError as error:
            yield Rejection(path, number, error.reason, error.remedy)
            continue
        for position, part in enumerate(parts, 1):
            try:
                if is_record:
                    candidate = as_record(part)
                else:
                    candidate = to_candidate(part, columns, source=default_source, reward_name=reward_name)
                ledger.enter(candidate, number, numbered=is_record or columns.sample_index is not None)
            except RowError as error:
                place = f"response {position} of {len(parts)}: " if len(parts) > 1 else ""
                yield Rejection(path, number, place + error.reason, error.remedy)
            else:
                yield candidate
    if not matched:
        wanted = ", ".join(f"{name} = {value!r}" for name, value in where.items())
        raise InputError(f"{path}: no row has {wanted}; check the filter")


def peek(rows: Iterator[Row | Rejection]) -> tuple[dict[str, None], Iterator[Row | Rejection]]:
    """The columns of the first rows, which need not all have the same ones in JSON, and all rows."""
    first: list[Row | Rejection] = []
    there: dict[str, None] = {}
    for item in rows:
        first.append(item)
        if not isinstance(item, Rejection):
            there.update(dict.fromkeys(item[1]))
        if there and len(first) >= _PEEK:
            break
    return there, chain(first, rows)


def require_column(path: str, what: str, name: str, there: Iterable[str]) -> None:
    """Raises InputError where `there`, a file's columns, has no `name`, the column of `what`."""
    names = list(there)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(
            f"{path}: no column {name!r}{hint}; name the column of {what}, one of {', '.join(map(repr, names))}"
        )


def are_named(columns: Columns) -> bool:
    """Whether somebody named columns, which records leave no use for. No rewards wanted names none."""
    return replace(columns, reward=columns.reward or DEFAULT_COLUMNS.reward) != DEFAULT_COLUMNS


def resolve_columns(path: str, columns: _Columns, there: Iterable[str], required: Collection[str]) -> _Columns:
    """The same with every name checked, and None only where there is no such column.

    `columns` is a dataclass of column names, `there` are the file's, `required` fields must have one. Raises
    InputError for a column that is not there.
    """
    names: dict[str, Any] = {}
    for part in fields(columns):
        name = getattr(columns, part.name)
        if name is None and part.name != "reward" and part.name in there:
            name = part.name
        if name or part.name in required:
            require_column(path, part.name, name or part.name, there)
        names[part.name] = name or None
    return type(columns)(**names)


def _read_questions(
    path: str, columns: Columns, options: str | None, table: dict[str, dict[str, Any]]
) -> Iterator[Rejection]:
    """Fills `table`: by prompt id, the columns that candidates take from the questions file."""
    there, rows = peek(read_rows(path))
    key = columns.prompt_id or "prompt_id"
    for what, name in (("prompt_id", key), ("question", columns.question), ("the options", options)):
        if name and there:
            require_column(path, what, name, there)
    wanted = [name for name in (columns.reference or "reference", columns.source or "source") if name in there]
    for item in rows:
        if isinstance(item, Rejection):
            yield item
            continue
        number, row = item
        try:
            prompt_id = to_id(row, key)
            question = to_messages(row.get(columns.question), columns.question)
            if options:
                question = with_options(question, row.get(options), options)
            entry = {**{name: row.get(name) for name in wanted}, columns.question: question}
            if table.setdefault(prompt_id, entry) != entry:
                raise RowError(f"{key} {prompt_id!r} was another question before", "give each question its own id")
        except RowError as error:
            yield Rejection(path, number, error.reason, error.remedy)


def _join(
    row: Mapping[str, Any], table: dict[str, dict[str, Any]] | None, columns: Columns, questions: str | None
) -> Mapping[str, Any]:
    if table is None or columns.prompt_id is None:
        return row
    prompt_id = to_id(row, columns.prompt_id)
    if prompt_id not in table:
        raise RowError(f"{questions} has no question {prompt_id!r}", "add it there, or leave the row out")
    joined = table[prompt_id]
    return {**joined, **row, columns.question: joined[columns.question]}


def _cell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def stem(path: str) -> str:
    """answers for data/answers.jsonl.gz, data for org/data@revision:config."""
    hub = None if os.path.exists(path) else HubId.parse(path)
    name = os.path.basename(os.path.normpath(hub.repository if hub else path)).partition(":")[0]
    for suffix in (".gz", ".jsonl", ".ndjson", ".json", ".csv", ".parquet"):
        name = name.removesuffix(suffix)
    return name


@dataclass(slots=True)
class _Prompt:
    """What is remembered of a prompt. Rows count from 1."""

    digest: str
    row: int
    rows: array[int] = field(default_factory=lambda: array("q"))  # of sample_index 0, 1, 2, ...
    others: dict[int, int] = field(default_factory=dict)  # of a sample_index that came too early


class _Ledger:
    """Numbers the responses of each prompt, and tells when an id comes twice."""

    def __init__(self) -> None:
        self._prompts: dict[str, _Prompt] = {}

    def enter(self, candidate: Candidate, row: int, *, numbered: bool) -> None:
        """Raises RowError for a prompt_id with another question, or a sample_index seen before."""
        prompt_id, digest = candidate["prompt_id"], question_id(candidate["question"])
        prompt = self._prompts.get(prompt_id)
        if prompt is None:
            prompt = self._prompts[prompt_id] = _Prompt(digest, row)
        if prompt.digest != digest:
            raise RowError(
                f"prompt_id {prompt_id!r} has another question in row {prompt.row}",
                "give each question its own id, or use no prompt_id column",
            )
        index = candidate["sample_index"] if numbered else len(prompt.rows)
        before = prompt.rows[index] if index < len(prompt.rows) else prompt.others.get(index)
        if before is not None:
            raise RowError(
                f"prompt_id {prompt_id!r} has a sample_index {index} already, in row {before}",
                "number the responses of a prompt differently, or use no sample_index column",
            )
        if index == len(prompt.rows):
            prompt.rows.append(row)
        else:
            prompt.others[index] = row
        candidate["sample_index"] = index
