"""Step labels that others gave, in the formats they are published in.

PRM800K (Lightman et al., 2023), ProcessBench (Zheng et al., 2024), Math-Shepherd (Wang et al., 2024) and TRL's
stepwise supervision. What joins two steps is not always in the data; `joined_by` is put behind each but the last.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from ..data.columns import require_column
from ..data.readers import convert_rows, dataset_name, numbered_rows, with_columns
from ..data.values import checked, question_id, to_messages, to_steps
from ..errors import Failure, InputError
from ..runs.declaration import nearest
from ..schema import StepLabels
from .step_labels import CORRECT, NO_ERROR, first_error, labels_until, step_labels

_TEXTS = TypeAdapter(list[str])
_TEXT = TypeAdapter(str)
_RATING = TypeAdapter(Annotated[int, Field(ge=-1, le=1)] | None)
_INDEX = TypeAdapter(Annotated[int, Field(ge=NO_ERROR)])
_LABELS = TypeAdapter(list[Annotated[float, Field(ge=0, le=1)]])
_SHEPHERD = "ки"  # Math-Shepherd's mark behind each step, which its labels have + or - in place of

#: What a neutral rating (0) of PRM800K is taken for.
NEUTRAL: Mapping[str, float | None] = {"right": 1.0, "wrong": 0.0, "drop": None}


@dataclass(frozen=True)
class GivenLabels:
    """What a row says: the question, steps, labels of kind `correct` and first error."""

    question: Any
    steps: Sequence[str]
    labels: Sequence[float | None]
    first_error: int | None


@dataclass(frozen=True)
class Format:
    """name: of the source. columns: that a row must have. read: raises Failure for a row that holds no labels."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[Mapping[str, Any], float | None], GivenLabels]


def _processbench(row: Mapping[str, Any], _: float | None) -> GivenLabels:
    steps = to_steps(row, "steps")
    remedy = f"make it the index of the first wrong step, from 0, or {NO_ERROR}"
    error = checked(_INDEX, row.get("label"), "label", remedy, strict=False)
    if error >= len(steps):
        raise Failure(f"'label' is {error}, but there are {len(steps)} steps", remedy)
    return GivenLabels(row.get("problem"), steps, labels_until(error, len(steps)), error)


def _prm800k(row: Mapping[str, Any], neutral: float | None) -> GivenLabels:
    """One row an alternative next step. The steps before were rated right, in rows of their own."""
    before = checked(_TEXTS, row.get("responses"), "responses", "make it the list of the steps before")
    steps = [*before, checked(_TEXT, row.get("next_response"), "next_response", "make it the step that is rated")]
    rating = checked(_RATING, row.get("rating"), "rating", "make it -1, 0 or 1", strict=False)
    if rating is None:
        raise Failure("'rating' is null: nobody rated the step", "leave the row out")
    label = {-1: 0.0, 0: neutral, 1: 1.0}[rating]
    if label is None:
        raise Failure(
            "the step's rating is neutral (0)", "such steps are dropped; --neutral right or wrong keeps them"
        )
    error = NO_ERROR if label else len(before)
    return GivenLabels(row.get("instruction"), steps, [*[None] * len(before), label], error)


def _math_shepherd(row: Mapping[str, Any], _: float | None) -> GivenLabels:
    """`input` is question and steps, each step with the mark ки behind it; `label` has + or - in its place."""
    shown = checked(_TEXT, row.get("input"), "input", "make it the question with marked steps")
    labelled = checked(_TEXT, row.get("label"), "label", "make it the question with + and - behind the steps")
    *parts, rest = shown.split(_SHEPHERD)
    start = re.search(r"Step 1:", parts[0]) if parts else None
    if start is None or rest.strip():
        raise Failure(f"'input' has no steps that end with {_SHEPHERD}", "give it as Math-Shepherd is published")
    question, parts[0] = parts[0][: start.start()].strip(), parts[0][start.start() :]
    labels: list[float] = []
    place = 0
    for part in shown.split(_SHEPHERD)[:-1]:
        place += len(part)
        if labelled[place - len(part) : place] != part or labelled[place : place + 1] not in ("+", "-"):
            raise Failure(f"'label' does not follow 'input' at step {len(labels) + 1}", "give both of the same row")
        labels.append(float(labelled[place] == "+"))
        place += 1
    steps = [part.strip() + "\n" for part in parts]
    return GivenLabels(question, [*steps[:-1], steps[-1].rstrip("\n")], labels, first_error(labels))


def _trl(row: Mapping[str, Any], _: float | None) -> GivenLabels:
    steps = to_steps(row, "completions")
    given = [float(one) if isinstance(one, bool) else one for one in row.get("labels") or []]
    labels = checked(_LABELS, given, "labels", "make it a list of booleans, or numbers from 0 to 1", strict=False)
    if len(labels) != len(steps):
        raise Failure(f"there are {len(steps)} completions, but {len(labels)} labels", "give one to each")
    return GivenLabels(row.get("prompt"), steps, labels, first_error(labels))


FORMATS: Mapping[str, Format] = {
    "processbench": Format("processbench", ("problem", "steps", "label"), _processbench),
    "prm800k": Format("prm800k", ("instruction", "responses", "next_response", "rating"), _prm800k),
    "math-shepherd": Format("math-shepherd", ("input", "label"), _math_shepherd),
    "trl": Format("trl", ("prompt", "completions", "labels"), _trl),
}


def read_given(
    path: str, format: str, *, neutral: str = "right", joined_by: str = "\n", split: str | None = None
) -> Iterator[StepLabels | Failure]:
    """The labels in a file or dataset (see `numbered_rows`), or a Failure for each row that has none.

    Raises InputError for an unknown format or a missing column.
    """
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r} of labels{nearest(format, FORMATS)}")
    if neutral not in NEUTRAL:
        raise InputError(f"a neutral step is not {neutral!r}; choose {', '.join(NEUTRAL)}")
    known = FORMATS[format]
    names, rows = with_columns(numbered_rows(path, split))
    for column in known.columns if names else ():
        require_column(path, f"{known.name}'s rows", column, names)
    source, seen = dataset_name(path), Counter[str]()

    def convert(_: int, row: Mapping[str, Any]) -> Iterator[StepLabels]:
        given = known.read(row, NEUTRAL[neutral])
        question = to_messages(given.question, known.columns[0])
        prompt_id = question_id(question)
        steps = [step if step[-1:].isspace() else step + joined_by for step in given.steps[:-1]]
        about = {"prompt_id": prompt_id, "source": source, "question": question}
        made = step_labels(
            {**about, "sample_index": seen[prompt_id]},
            [*steps, given.steps[-1]],
            given.labels,
            kind=CORRECT,
            by=known.name,
            first_error=given.first_error,
        )
        seen[prompt_id] += 1
        yield made

    return convert_rows(rows, path, convert)
