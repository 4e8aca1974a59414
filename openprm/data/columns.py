"""A user's row to a `Candidate`: which column is what, and what each may hold. No I/O."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..errors import Failure, InputError, is_unicode
from ..schema import SCHEMA_VERSION, Candidate, Message, generated_by, plain_reward

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
SomeColumns = TypeVar("SomeColumns", bound="DataclassInstance")

#: Rewards in words, in any case.
REWARD_WORDS = {
    "chosen": 1.0,
    "win": 1.0,
    "true": 1.0,
    "tie": 0.5,
    "rejected": 0.0,
    "lose": 0.0,
    "loss": 0.0,
    "false": 0.0,
}
#: Of the options of a question, in order.
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MESSAGES = TypeAdapter(list[Message])
_CANDIDATE = TypeAdapter(Candidate)
_CANONICAL = json.JSONEncoder(ensure_ascii=False)
_REWARDS = "a finite number, true or false, or one of " + ", ".join(REWARD_WORDS)


@dataclass(frozen=True)
class Columns:
    """The column of each part of a candidate; None where there is none.

    `question` holds text or chat messages (role and content; also as JSON text; other keys are left
    behind), `response` text, one assistant message, or a list of responses. With a list, reward and
    sample_index are lists of the same length; model, finish_reason and n_tokens may be.
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
    """The same with every column checked, and None only where there is no such column.

    `columns` is a dataclass of column names, `names` are the file's columns; the fields in `required` must have one.
    Left at None, a field takes the column of its own name if there is one (`""`: not even that); but `reward=None`
    means no rewards. Raises InputError for a column that is not there.
    """
    resolved: dict[str, str | None] = {}
    for part, column in vars(columns).items():
        if column is None and part != "reward" and part in names:
            column = part
        if column or part in required:
            require_column(path, part, column or part, names)
        resolved[part] = column or None
    return replace(columns, **resolved)


def require_column(path: str, what: str, column: str, names: Collection[str]) -> None:
    """Raises InputError where `column`, which should hold `what`, is not one of a file's columns `names`."""
    if column not in names:
        near = difflib.get_close_matches(column, names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(
            f"{path}: no column {column!r}{hint}; name the column of {what}, one of {', '.join(map(repr, names))}"
        )


def one_per_response(row: Mapping[str, Any], columns: Columns) -> list[Mapping[str, Any]]:
    """The row itself, or one row for each response where it holds a list of them. Raises Failure."""
    responses = row.get(columns.response)
    if not isinstance(responses, list) or (responses and isinstance(responses[0], dict)):
        return [row]
    if not responses:
        raise Failure(f"{columns.response!r} is an empty list", "leave the row out, or give it a response")
    several: dict[str, list[Any]] = {columns.response: responses}
    for name in (
        columns.reward,
        columns.sample_index,
        columns.model,
        columns.finish_reason,
        columns.n_tokens,
    ):
        value = row.get(name) if name else None
        if name and isinstance(value, list):
            if len(value) != len(responses):
                raise Failure(f"{len(responses)} responses, but {len(value)} in {name!r}", "give one for each")
            several[name] = value
        elif name in (columns.reward, columns.sample_index) and value is not None:
            raise Failure(
                f"{len(responses)} responses, but {name!r} is {_kind(value)}", "make it a list, one for each"
            )
    return [{**row, **{name: values[i] for name, values in several.items()}} for i in range(len(responses))]


def to_candidate(
    row: Mapping[str, Any], columns: Columns, *, source: str, reward_name: str | None = None
) -> Candidate:
    """The candidate of a row with one response. Raises Failure for what cannot be one.

    `source` is for rows without one, `reward_name` the reward's name instead of its column's. Without a
    column for them, prompt_id is a hash of the question, and sample_index 0, for the caller to number.
    """
    question = to_messages(row.get(columns.question), columns.question)
    response = _response(row.get(columns.response), columns.response)
    prompt_id = question_id(question) if columns.prompt_id is None else to_id(row, columns.prompt_id)
    sample_index = _integer(row, columns.sample_index)
    if columns.sample_index and sample_index is None:
        raise Failure(f"{columns.sample_index!r} is missing", "number all responses, or leave the column out")
    finish_reason = to_text(row, columns.finish_reason)
    rewards = []
    if columns.reward:
        value = to_reward(row.get(columns.reward), columns.reward)
        rewards.append(plain_reward(reward_name or columns.reward, value))
    return Candidate(
        schema_version=SCHEMA_VERSION,
        prompt_id=prompt_id,
        source=to_text(row, columns.source) or source,
        question=question,
        reference=to_text(row, columns.reference),
        response=response,
        sample_index=sample_index or 0,
        generator=generated_by(model=to_text(row, columns.model)),
        finish_reason=finish_reason,
        n_tokens=_integer(row, columns.n_tokens),
        rewards=rewards,
        marks=["empty"] * (not response.strip()) + ["truncated"] * (finish_reason == "length"),
    )


def question_id(question: list[Message]) -> str:
    """A stable id of a question: equal for equal roles and contents."""
    canonical = _CANONICAL.encode([[turn["role"], turn["content"]] for turn in question])
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def to_messages(value: Any, column: str) -> list[Message]:
    """The question in a column: a text becomes one user message. Raises Failure."""
    if isinstance(value, str):
        if not value.strip():
            raise Failure(f"{column!r} is empty", "give the row a question, or leave it out")
        value = _chat_in(value) or [Message(role="user", content=value)]
    if not isinstance(value, list) or not value:
        kind = "an empty list" if value == [] else _kind(value)
        raise Failure(f"{column!r} is {kind}", "make it text or a list of chat messages")
    question = checked(_MESSAGES, value, column, 'each chat message is an object whose "role" and "content" are text')
    if question[-1]["role"] == "assistant":
        raise Failure(
            f"the conversation in {column!r} ends with the assistant's turn",
            "end it with the user's; the answer belongs in the response column",
        )
    return question


def checked(adapter: TypeAdapter[T], value: Any, column: str, remedy: str) -> T:
    """`value` as it is, without keys that its type does not have. Raises Failure where it is not of that type."""
    try:
        found = adapter.validate_python(value, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
        raise Failure(f"{(column + place).removeprefix('.')!r}: {problem['msg']}", remedy) from None
    as_unicode(_CANONICAL.encode(found), column or "the row")
    return found


def option_lines(options: Any, name: str) -> list[str]:
    """The options in column `name` as lines "A. ..."; none where there are none. Raises Failure."""
    if options is None:
        return []
    if not isinstance(options, list) or len(options) > len(LETTERS):
        raise Failure(f"{name!r} is not a list of up to {len(LETTERS)} options", "make it one")
    return [as_unicode(f"{letter}. {option}", name) for letter, option in zip(LETTERS, options, strict=False)]


def with_options(question: list[Message], options: Any, name: str) -> list[Message]:
    """The options in column `name` as lines below the question (see `option_lines`)."""
    last = question[-1]
    content = "\n".join([last["content"], *option_lines(options, name)])
    return [*question[:-1], Message(role=last["role"], content=content)]


def _chat_in(text: str) -> list[Any] | None:
    """Messages written as JSON text, as CSV and some Parquet files hold them; None for all other text."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    chat = isinstance(value, list) and all(isinstance(turn, dict) and "role" in turn for turn in value)
    return value if chat else None


def _response(value: Any, name: str) -> str:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        if value[0].get("role") != "assistant":
            raise Failure(f"the message in {name!r} is not the assistant's", "set its role to assistant")
        value = value[0].get("content")
    if not isinstance(value, str):
        kind = f"a list of {len(value)}" if isinstance(value, list) else _kind(value)
        raise Failure(f"{name!r} is {kind}", 'make it text or one assistant message ("" for no answer)')
    return as_unicode(value, name)


def to_reward(value: Any, name: str) -> float:
    """A number, a boolean, either as text, or a preference word (`REWARD_WORDS`). Raises Failure."""
    reward: float | None = None
    if isinstance(value, str):
        reward = REWARD_WORDS.get(value.strip().lower())
    if reward is None:
        try:
            # "1_000" is a number in Python only
            plain = isinstance(value, int | float | Decimal) or (isinstance(value, str) and "_" not in value)
            reward = float(value) if plain else None
        except (ValueError, OverflowError):
            pass
    if reward is None or not math.isfinite(reward):
        kind = repr(value)[:40] if isinstance(value, str | float | Decimal) else _kind(value)
        raise Failure(f"{name!r} is {kind}", f"leave the row out, or set {_REWARDS}")
    return reward


def to_id(row: Mapping[str, Any], name: str) -> str:
    """The prompt id in column `name`, a number as text. Raises Failure."""
    value = to_text(row, name)
    if value is None:
        raise Failure(f"{name!r} is missing", "give each row its prompt's id, or none of them")
    return value


def to_text(row: Mapping[str, Any], name: str | None) -> str | None:
    """Text or a number as text; None for null, "" (CSV has no null) and NaN (pandas has none either)."""
    value = row.get(name) if name else None
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, float) and value.is_integer():  # whole numbers beside pandas' NaN
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Failure(f"{name!r} is {_kind(value)}", "make it text or a number")
    return as_unicode(str(value), name or "")


def to_index(row: Mapping[str, Any], name: str) -> int:
    """The whole number in column `name`. Raises Failure."""
    value = _integer(row, name)
    if value is None:
        raise Failure(f"{name!r} is missing", "number all responses of a prompt from 0")
    return value


def _integer(row: Mapping[str, Any], name: str | None) -> int | None:
    text = to_text(row, name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Failure(f"{name!r} is {text[:40]!r}", "make it a whole number from 0")
    return int(text)


def as_unicode(text: str, name: str) -> str:
    """`text`, where it can be stored; else raises Failure."""
    if not is_unicode(text):
        raise Failure(f"{name!r} has half a surrogate pair, which is no character", "repair the text where it was cut")
    return text


def _kind(value: Any) -> str:
    kinds = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return "missing" if value is None else kinds.get(type(value), f"of type {type(value).__name__}")


def as_record(row: Mapping[str, Any]) -> Candidate:
    """A row that is a candidate already, checked; other columns are left out. Raises Failure."""
    record = {name: row.get(name) for name in Candidate.__annotations__}
    candidate = checked(_CANDIDATE, record, "", "see openprm.schema.Candidate for the types")
    for reward in candidate["rewards"]:
        to_reward(reward["value"], "rewards")
    return candidate
