"""Candidates from a user's file or dataset: rows are read, mapped to candidates, and numbered.

    for item in read_candidates("answers.jsonl", Columns(response="completion")):
        if isinstance(item, Failure): ...

In memory are a hash per prompt, a number per response, and the texts of one batch.
"""

from __future__ import annotations

import json
import os
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import Failure, InputError
from ..runs.folder import batched, is_folder, read_manifest
from ..schema import SCHEMA_VERSION, Candidate, Tree
from ..text import comparable
from ..trees import tree
from .columns import Columns, one_per_response, require_column, resolve_columns, to_candidate
from .readers import convert_rows, dataset_name, numbered_rows, row_key, with_columns
from .text_readers import Row
from .values import as_record, question_id, to_id, to_question

DEFAULT_COLUMNS = Columns()
_ROWS = "rows"  # what those in memory are called


@dataclass(frozen=True)
class CandidateSource:
    """Where candidates come from.

    path: see `numbered_rows`.
    columns: a column named here must exist. A field that is None takes the column of its own name, if there is one.
      `""` means no column, and so does `reward=None`.
    where: only rows whose columns have these values, compared as text; the others count as skipped.
    questions: a second file with the questions, joined on the column of prompt_id. The question is taken from it, and
      so are reference and source if `path` has no such column. It is held in memory.
    questions_options: its column with a list of options, added to the question as lines "A. ...".
    source: of all rows; else its column; else the name of the file or dataset.
    reward_name: name of the rewards; else that of their column. Records have names already.
    rows: dictionaries or a pandas DataFrame, to be read instead; `path` is what failures call them.
    """

    path: str
    columns: Columns = DEFAULT_COLUMNS
    split: str | None = None
    where: Mapping[str, str] | None = None
    questions: str | None = None
    questions_options: str | None = None
    source: str | None = None
    reward_name: str | None = None
    rows: Any = None

    def read(self, counts: Counter[str] | None = None) -> Iterator[Candidate | Failure]:
        """The candidates in order, and a Failure for each row or response that cannot be used.

        A prompt without a prompt_id column gets a hash of its question; responses without a sample_index column are
        numbered in order of appearance. Rows that are `Candidate` records already pass unchanged. A prompt_id with
        two questions and a repeated sample_index are failures.

        counts: filled with the number of "rows" read and of rows "skipped".

        Raises InputError, with the first item: see `numbered_rows`; a missing column; records of a newer schema, or
        with options that do not apply to records. With the last item: no row matches `where`.
        """
        path, where, counts = self.path, self.where or {}, Counter() if counts is None else counts
        names, rows = with_columns(numbered_rows(path, self.split) if self.rows is None else _in_memory(self.rows))
        for name in where if names else ():
            require_column(path, "the filter", name, names)
        ledger, columns, questions = _Ledger(), self.columns, _Questions()
        records = set(names) >= Candidate.__annotations__.keys()
        if records:
            named = replace(columns, reward=columns.reward or DEFAULT_COLUMNS.reward) != DEFAULT_COLUMNS
            if named or self.questions or self.source:
                raise InputError(
                    f"{path}: the rows are candidate records already; leave out columns, questions and source"
                )
        elif names:
            if self.questions is not None:
                yield from questions.read(self.questions, columns, self.questions_options)
            required = ("question", "response") if self.questions is None else ("question", "response", "prompt_id")
            columns = resolve_columns(path, columns, [*names, *questions.columns], required)
        if self.source:
            columns = replace(columns, source=None)
        source = self.source or dataset_name(path)

        def candidates(number: int, row: dict[str, Any]) -> Iterator[Candidate | Failure]:
            if any(_as_text(row.get(name)) != value for name, value in where.items()):
                counts["skipped"] += 1
                return
            if records:
                version = row["schema_version"]
                if isinstance(version, int) and version > SCHEMA_VERSION:
                    key = row_key(path, number)
                    raise InputError(
                        f"{key}: schema_version {version} is newer than {SCHEMA_VERSION}; upgrade openprm"
                    )
                yield ledger.enter(as_record(row), number, numbered=True)
                return
            parts = one_per_response(questions.join(row, columns) if self.questions else row, columns)
            for position, part in enumerate(parts, 1):
                try:
                    candidate = to_candidate(part, columns, source=source, reward_name=self.reward_name)
                    yield ledger.enter(candidate, number, numbered=columns.sample_index is not None)
                except Failure as failure:
                    which = f", response {position} of {len(parts)}" if len(parts) > 1 else ""
                    yield failure.at(row_key(path, number) + which)

        yield from convert_rows(rows, path, candidates, counts)
        if where and counts["skipped"] == counts["rows"]:  # a row that cannot be read may match
            wanted = ", ".join(f"{name} = {value!r}" for name, value in where.items())
            raise InputError(f"{path}: no row has {wanted}; check the filter")

    def shards(self, size: int) -> Iterator[list[Candidate]]:
        """The candidates in lists of up to `size`, without failures."""
        return batched((row for row in self.read() if not isinstance(row, Failure)), size)

    def failures(self, counts: Counter[str] | None = None) -> Iterator[Failure]:
        """What `read` gives for rows and responses that cannot be used."""
        return (item for item in self.read(counts) if isinstance(item, Failure))

    def count(self) -> int:
        """How many candidates there are; reads them where no manifest says it."""
        if is_folder(self.path) and not self.where:
            return read_manifest(self.path)["rows"]
        return sum(not isinstance(one, Failure) for one in self.read())


def _in_memory(rows: Any) -> Iterator[Row]:
    import numpy as np

    pandas = sys.modules.get("pandas")  # whoever has a DataFrame has imported it
    records = rows.to_dict("records") if pandas and isinstance(rows, pandas.DataFrame) else rows
    for number, row in enumerate(records, 1):
        if isinstance(row, Mapping):  # a list of a Parquet file is an array in a DataFrame
            yield number, {key: one.tolist() if isinstance(one, np.ndarray) else one for key, one in row.items()}
        else:
            wrong = Failure(f"it is {type(row).__name__}", "give dictionaries with a value for each column")
            yield number, wrong.at(row_key(_ROWS, number))


def read_candidates(data: Any, columns: Columns = DEFAULT_COLUMNS, **options: Any) -> Iterator[Candidate | Failure]:
    """The candidates in a file, dataset or folder, in order, and a Failure for each one that cannot be used.

    data: a path (see `numbered_rows`), a pandas DataFrame, or rows as dictionaries.
    options: `split`, `where`, `questions`, `questions_options`, `source`, `reward_name`: see `CandidateSource`, whose
    `read` says what is raised.
    """
    given = (os.fspath(data), None) if isinstance(data, str | os.PathLike) else (_ROWS, data)
    return CandidateSource(given[0], columns, rows=given[1], **options).read()


def build_tree(
    rows: Any, reward_name: str | None = None, parameters: tree.MergeParameters | None = None, **options: Any
) -> Tree:
    """The tree of one prompt (see `openprm.trees.tree.build_tree`) from its rows, with the columns that
    `read_candidates` reads, or from candidates.

    reward_name: the reward that values are computed from, where candidates have several. options: `columns` and those
    of `read_candidates`. Raises InputError for the first row that cannot be used.
    """
    candidates = []
    for item in read_candidates(rows, **options):
        if isinstance(item, Failure):
            raise InputError(str(item))
        candidates.append(item)
    names = {reward["name"] for candidate in candidates for reward in candidate["rewards"]}
    if reward_name is None and len(names) > 1:
        raise InputError(f"the candidates have rewards {', '.join(sorted(names))}; choose one by reward_name")
    return tree.build_tree(candidates, reward_name or min(names, default="reward"), parameters)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Questions:
    """The columns that candidates take from a second file, by prompt id."""

    def __init__(self) -> None:
        self.path = ""
        self.columns: list[str] = []
        self._table: dict[str, dict[str, Any]] = {}

    def read(self, path: str, columns: Columns, options: str | None) -> Iterator[Failure]:
        """Fills the table; yields a Failure for each row that cannot be used."""
        names, rows = with_columns(numbered_rows(path))
        key = columns.prompt_id or "prompt_id"
        for what, name in (("prompt_id", key), ("question", columns.question), ("the options", options)):
            if name and names:
                require_column(path, what, name, names)
        wanted = [name for name in (columns.reference or "reference", columns.source or "source") if name in names]
        self.path, self.columns = path, [*wanted, columns.question]

        def enter(number: int, row: dict[str, Any]) -> tuple[()]:
            prompt_id, question = to_id(row, key), to_question(row, columns.question, options)
            entry = {**{name: row.get(name) for name in wanted}, columns.question: question}
            both = self._table.setdefault(prompt_id, entry), entry
            if len({comparable(json.dumps(one, ensure_ascii=False, default=str)) for one in both}) > 1:
                raise Failure(f"{key} {prompt_id!r} was another question before", "give each question its own id")
            return ()

        yield from convert_rows(rows, path, enter)

    def join(self, row: dict[str, Any], columns: Columns) -> dict[str, Any]:
        """The row with the columns of its prompt. Raises Failure if the file does not have the prompt."""
        prompt_id = to_id(row, str(columns.prompt_id))
        if prompt_id not in self._table:
            raise Failure(f"{self.path} has no question {prompt_id!r}", "add it there, or leave the row out")
        entry = self._table[prompt_id]
        return {**entry, **row, columns.question: entry[columns.question]}


@dataclass(slots=True)
class _Prompt:
    """The hash of a prompt's question, and the numbers of its rows: the first, and those of each sample_index."""

    digest: str
    row: int
    rows: array[int] = field(default_factory=lambda: array("q"))  # of sample_index 0, 1, 2, ...
    others: dict[int, int] = field(default_factory=dict)  # of a sample_index with a gap before it


class _Ledger:
    """Numbers the responses of each prompt, and finds repeated ids."""

    def __init__(self) -> None:
        self._prompts: dict[str, _Prompt] = {}

    def enter(self, candidate: Candidate, row: int, *, numbered: bool) -> Candidate:
        """The candidate with a sample_index: its own if it is `numbered`, else the next.

        Raises Failure for a prompt_id with another question, or a repeated sample_index.
        """
        prompt_id, digest = candidate["prompt_id"], question_id(candidate["question"])
        prompt = self._prompts.setdefault(prompt_id, _Prompt(digest, row))
        if prompt.digest != digest:
            raise Failure(
                f"prompt_id {prompt_id!r} has another question in row {prompt.row}",
                "give each question its own id, or use no prompt_id column",
            )
        index = candidate["sample_index"] if numbered else len(prompt.rows)
        before = prompt.rows[index] if 0 <= index < len(prompt.rows) else prompt.others.get(index)
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
        return candidate
