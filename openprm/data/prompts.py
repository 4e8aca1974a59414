"""Where prompts come from, as one value that stages, builders and the command line pass on.

    for item in PromptFile("questions.csv").read(): ...
    for item in DeclaredPrompts("scienceqa").read(): ...

Each question comes once. Memory holds a few words for each prompt and the texts of a batch.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import Failure, InputError, first_line
from ..runs.provenance import Origin, inherited
from ..schema import SCHEMA_VERSION, Message, Prompt
from .columns import question_id, require_column, resolve_columns, to_id, to_messages, to_text, with_options
from .paper_datasets import PromptSource, Source, prompt_source
from .readers import convert_rows, dataset_name, numbered_rows, with_columns
from .text_readers import Row


@dataclass(frozen=True)
class PromptColumns:
    """The column of each part of a prompt; None: the column of that name, if there is one.

    `question` holds text or chat messages, `options` a list, added to the question as lines "A. ...". Without a
    `prompt_id`, the id is a hash of the question.
    """

    question: str = "question"
    prompt_id: str | None = None
    reference: str | None = None
    source: str | None = None
    options: str | None = None


DEFAULT_COLUMNS = PromptColumns()


@dataclass(frozen=True)
class PromptFile:
    """A user's prompts: a file or dataset (see `numbered_rows`), or a folder of prompts.

    A folder of candidates is one too: the questions that were answered. `source`: of all rows; else their column;
    else the name of the file.
    """

    path: str
    columns: PromptColumns = DEFAULT_COLUMNS
    split: str | None = None
    source: str | None = None

    def read(self, counts: Counter[str] | None = None) -> Iterator[Prompt | Failure]:
        """The prompts in order, and a Failure for each row that holds none.

        counts: a counter to fill, of "rows" read and of questions met again, "duplicates". Raises InputError, with
        the first item: see `numbered_rows`; a missing column.
        """
        ledger = _Ledger(counts)
        names, rows = with_columns(numbered_rows(self.path, self.split))
        columns = resolve_columns(self.path, self.columns, names, ("question",)) if names else self.columns
        name = dataset_name(self.path)

        def to_prompt(number: int, row: dict[str, Any]) -> Prompt | None:
            question = to_messages(row.get(columns.question), columns.question)
            if columns.options:
                question = with_options(question, row.get(columns.options), columns.options)
            prompt_id = to_id(row, columns.prompt_id) if columns.prompt_id else None
            source = self.source or to_text(row, columns.source) or name
            return ledger.enter(_prompt(prompt_id, source, question, to_text(row, columns.reference)), number)

        yield from convert_rows(ledger.counted(rows), self.path, to_prompt)

    def origins(self) -> list[Origin]:
        """Where the data is from and under which license, as far as the file or folder says."""
        return inherited({"prompts": self.path})

    @property
    def paper_rows(self) -> None:
        """The paper has no number for it."""


@dataclass(frozen=True)
class DeclaredPrompts:
    """The prompts of a declared source, by name (see `openprm.data.paper_datasets`).

    path: a file, or a folder laid out as the source is on the Hub, to read instead of the Hub.
    """

    name: str
    path: str | None = None

    def read(self, counts: Counter[str] | None = None) -> Iterator[Prompt | Failure]:
        """The prompts in the source's order, and a Failure for each row that holds none.

        The id of a prompt is a hash of its question. counts: see `PromptFile.read`; also of the rows that the source
        leaves out, "skipped". Raises InputError, with the first item, where the Hub or the path does not give the
        source's rows.
        """
        source, ledger = self._source(), _Ledger(counts)

        def to_prompt(number: int, row: dict[str, Any]) -> Prompt | None:
            found = source.prompt(row)
            if found is None:
                ledger.counts["skipped"] += 1
                return None
            question = to_messages([Message(role="user", content=found[0])], "question")
            return ledger.enter(_prompt(None, source.name, question, found[1]), number)

        for file, rows in source_rows(source, self.path):
            yield from convert_rows(ledger.counted(rows), file, to_prompt)

    def origins(self) -> list[Origin]:
        """Where the data is from, and under which license."""
        return [self._source().origin()]

    @property
    def paper_rows(self) -> int | None:
        """The paper's number of prompts."""
        return self._source().paper_rows

    def _source(self) -> PromptSource:
        return prompt_source(self.name)


def source_rows(source: Source, path: str | None) -> Iterator[tuple[str, Iterator[Row]]]:
    """The rows of each config of a source, with a name for them that is the same on every machine.

    path: see `DeclaredPrompts`. Raises InputError where the Hub or the path does not give them.
    """
    place = _download(source) if path is None else path
    is_file = os.path.isfile(place)
    for config in ("",) if is_file else source.configs or ("",):
        suffix = f":{config}" if config else ""
        name = (source.hub if path is None else path) + suffix
        names, rows = with_columns(numbered_rows(place + suffix, None if is_file else source.split, name))
        for column in source.columns if names else ():
            require_column(name, f"{source.name}'s rows", column, names)
        yield name, rows


def _download(source: Source) -> str:
    """The source's folder in the cache of the Hub's library, downloaded unless it is there."""
    from huggingface_hub import constants, snapshot_download

    try:
        return snapshot_download(
            source.hub,
            repo_type="dataset",
            revision=source.revision,
            local_files_only=constants.HF_HUB_OFFLINE,  # older versions ask for the list of files even then
        )
    except Exception as error:  # of whatever HTTP client the Hub's library uses
        raise InputError(
            f"{source.name}: the Hub does not give {source.hub} at {source.revision}: {first_line(error)}; "
            "check the connection, or give a copy of it by path"
        ) from error


def _prompt(prompt_id: str | None, source: str, question: list[Message], reference: str | None) -> Prompt:
    return Prompt(
        schema_version=SCHEMA_VERSION,
        prompt_id=prompt_id or question_id(question),
        source=source,
        question=question,
        reference=reference,
    )


class _Ledger:
    """Tells questions met again from new ones, and finds ids that two questions share."""

    def __init__(self, counts: Counter[str] | None) -> None:
        self.counts = Counter() if counts is None else counts
        self._questions: dict[str, tuple[int, int]] = {}  # row, and a hash of the reference
        self._ids: dict[str, int] = {}

    def counted(self, rows: Iterator[Row]) -> Iterator[Row]:
        for item in rows:
            self.counts["rows"] += 1
            yield item

    def enter(self, prompt: Prompt, row: int) -> Prompt | None:
        """The prompt; None where its question came before. Raises Failure where an earlier row contradicts it."""
        digest, reference = question_id(prompt["question"]), hash(prompt["reference"])
        if digest in self._questions:
            first, other = self._questions[digest]
            if reference != other:
                raise Failure(f"the question has another reference in row {first}", "keep the row that is right")
            self.counts["duplicates"] += 1
            return None
        prompt_id = prompt["prompt_id"]
        if prompt_id in self._ids:
            raise Failure(
                f"prompt_id {prompt_id!r} has another question in row {self._ids[prompt_id]}",
                "give each question its own id, or use no prompt_id column",
            )
        self._questions[digest] = (row, reference)
        self._ids[prompt_id] = row
        return prompt
