"""The columns of a user's rows, and the `Candidate` in a row. No I/O."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..errors import Failure, InputError
from ..schema import SCHEMA_VERSION, Candidate, generated_by, plain_reward
from .values import question_id, to_count, to_id, to_index, to_question, to_response, to_reward, to_text

SomeColumns = TypeVar("SomeColumns")


@dataclass(frozen=True)
class Columns:
    """The column of each part of a candidate, or None.

    `question` holds text or chat messages (also as JSON text), `response` text, one assistant message, or a list of
    responses. With a list, reward and sample_index are lists of the same length; model, finish_reason and n_tokens may
    be.
    """

    question: str = "question"
    response: str = "response"
    reward: str | None = "reward"
    prompt_id: str | None = None
    reference: str | None = None
    source: str | None = None
    model: str | None = None
    sample_index: str | None = None
    finish_reason: str | None = None
    n_tokens: str | None = None


def resolve_columns(path: str, columns: SomeColumns, names: Collection[str], required: Collection[str]) -> SomeColumns:
    """The same dataclass with the columns that are there: a field that is None takes the column of its own name, if
    there is one.

    names: of the file's columns. required: fields that need a column. `""` means no column, and so does `reward=None`.
    Raises InputError for a missing column.
    """
    resolved: dict[str, str | None] = {}
    for part, column in vars(columns).items():
        if column is None and part != "reward" and part in names:
            column = part
        if column or part in required:
            require_column(path, part, column or part, names)
        resolved[part] = column or None
    return replace(columns, **resolved)  # type: ignore[type-var]


#: What people call a part, where its column is not called like it.
_OTHER_NAMES = {
    "question": ("prompt", "instruction", "query", "problem", "input", "messages"),
    "response": ("answer", "completion", "output", "text", "generation", "responses"),
    "reward": ("score", "rating", "label"),
    "reference": ("answer", "solution", "target", "gold"),
    "prompt_id": ("id", "question_id"),
}
#: The option that names the column of a part.
_OPTIONS = {
    part: f"--{part}-column"
    for part in ("question", "response", "reward", "reference", "source", "model", "options", "chosen", "rejected")
} | {"prompt_id": "--id-column"}


def require_column(path: str, what: str, column: str, names: Collection[str]) -> None:
    """Raises InputError if `column`, which should hold `what`, is not one of `names`: with what may be meant."""
    if column in names:
        return
    called = [name for name in (what, *_OTHER_NAMES.get(what, ())) if name in names]
    near = difflib.get_close_matches(column, names, n=1) + called
    wanted = f" ({_OPTIONS[what]} {near[0] if near else 'NAME'})" if what in _OPTIONS else ""
    ask = f"did you mean {near[0]!r}{wanted}?" if near else f"name the column of {what}{wanted}"
    raise InputError(f"{path}: no column {column!r}; it has {', '.join(map(repr, names))}; {ask}")


def one_per_response(row: Mapping[str, Any], columns: Columns) -> list[Mapping[str, Any]]:
    """The row itself, or one row per response if it holds a list of them. Raises Failure."""
    responses = row.get(columns.response)
    if not isinstance(responses, list) or (responses and isinstance(responses[0], dict)):
        return [row]
    if not responses:
        raise Failure(f"{columns.response!r} is an empty list", "leave the row out, or give it a response")
    several: dict[str, list[Any]] = {columns.response: responses}
    one_each = (columns.reward, columns.sample_index)
    for name in (*one_each, columns.model, columns.finish_reason, columns.n_tokens):
        value = row.get(name) if name else None
        if name and isinstance(value, list):
            if len(value) != len(responses):
                raise Failure(f"{len(responses)} responses, but {len(value)} in {name!r}", "give one for each")
            several[name] = value
        elif name in one_each and value is not None:
            raise Failure(f"{len(responses)} responses, but {name!r} is not a list", "make it a list, one for each")
    return [{**row, **{name: values[i] for name, values in several.items()}} for i in range(len(responses))]


def to_candidate(
    row: Mapping[str, Any], columns: Columns, *, source: str, reward_name: str | None = None
) -> Candidate:
    """The candidate in a row with one response. Raises Failure.

    source: of a row that does not name one. reward_name: else that of the column. Without a column for it, prompt_id
    is a hash of the question, and sample_index is 0, for the caller to number.
    """
    question = to_question(row, columns.question)
    response = to_response(row.get(columns.response), columns.response)
    finish_reason = to_text(row, columns.finish_reason)
    rewards = []
    if columns.reward:
        rewards.append(plain_reward(reward_name or columns.reward, to_reward(row.get(columns.reward), columns.reward)))
    return Candidate(
        schema_version=SCHEMA_VERSION,
        prompt_id=to_id(row, columns.prompt_id) if columns.prompt_id else question_id(question),
        source=to_text(row, columns.source) or source,
        question=question,
        reference=to_text(row, columns.reference),
        response=response,
        sample_index=to_index(row, columns.sample_index) if columns.sample_index else 0,
        generator=generated_by(model=to_text(row, columns.model)),
        finish_reason=finish_reason,
        n_tokens=to_count(row, columns.n_tokens),
        rewards=rewards,
        marks=["empty"] * (not response.strip()) + ["truncated"] * (finish_reason == "length"),
    )
