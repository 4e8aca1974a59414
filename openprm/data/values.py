"""Values in a user's row: questions, rewards, ids. Each function raises Failure for a value of another kind."""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from ..errors import Failure, is_unicode
from ..schema import Candidate, Message
from ..text import comparable

T = TypeVar("T")

#: Rewards in words, in upper or lower case.
REWARD_WORDS = {"chosen": 1.0, "win": 1.0, "true": 1.0, "tie": 0.5}
REWARD_WORDS |= {"rejected": 0.0, "lose": 0.0, "loss": 0.0, "false": 0.0}
#: Of the options of a question, in order.
LETTERS = string.ascii_uppercase

_CANDIDATE = TypeAdapter(Candidate)
_TYPES = get_type_hints(Candidate)
_INDEX = TypeAdapter(Annotated[int, Field(ge=0, lt=10**18)])
_MESSAGES = TypeAdapter(list[Message])
_NUMBER = TypeAdapter(FiniteFloat)
_TEXTS = TypeAdapter(list[str])
_OPTIONS = TypeAdapter(Annotated[list[Any], Field(max_length=len(LETTERS))])
_TEXT = TypeAdapter(str)
_TEXT_OR_NUMBER = TypeAdapter(str, config=ConfigDict(coerce_numbers_to_str=True))
_CANONICAL = json.JSONEncoder(ensure_ascii=False)


def checked(adapter: TypeAdapter[T], value: Any, column: str, remedy: str, *, strict: bool = True) -> T:
    """`value` as the adapter's type, without keys that the type does not have; unless `strict`, converted to it."""
    try:
        found = adapter.validate_python(value, strict=strict)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
        missing = problem["type"] == "missing" or problem["input"] is None
        shown = f"is {repr(problem['input'])[:40]}: " if isinstance(problem["input"], str | float) else ""
        wrong = "is missing" if missing else shown + problem["msg"].removeprefix("Input ")  # "Input should be a ..."
        raise Failure(f"{(column + place).removeprefix('.')!r} {wrong}", remedy) from None
    as_unicode(_CANONICAL.encode(found), column or "the row")
    return found


def as_unicode(text: str, column: str) -> str:
    """`text`, if it can be stored."""
    if not is_unicode(text):
        raise Failure(f"{column!r} has half a surrogate pair, which is not a character", "repair the text")
    return text


def to_question(row: Mapping[str, Any], column: str, options_column: str | None = None) -> list[Message]:
    """The question in a column; with a column of answer options, these follow as lines (see `option_lines`)."""
    question = to_messages(row.get(column), column)
    if options_column:
        lines = [question[-1]["content"], *option_lines(row.get(options_column), options_column)]
        question[-1] = Message(role=question[-1]["role"], content="\n".join(lines))
    return question


def to_messages(value: Any, column: str) -> list[Message]:
    """The chat messages of a question; text becomes one user message."""
    if value == [] or (isinstance(value, str) and not value.strip()):
        raise Failure(f"{column!r} is empty", "give the row a question, or leave it out")
    if isinstance(value, str):
        value = _chat_in(value) or [Message(role="user", content=value)]
    remedy = 'make it text, or a list of chat messages whose "role" and "content" are text'
    question = checked(_MESSAGES, value, column, remedy)
    if question[-1]["role"] == "assistant":
        raise Failure(
            f"the conversation in {column!r} ends with the assistant's turn",
            "end it with the user's; the answer belongs in the response column",
        )
    return question


def _chat_in(text: str) -> list[Any] | None:
    """Messages written as JSON text, as in CSV and some Parquet files; None for any other text."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    chat = isinstance(value, list) and all(isinstance(turn, dict) and "role" in turn for turn in value)
    return value if chat else None


def question_id(question: list[Message]) -> str:
    """A stable id of a question: equal for equal roles and (`comparable`) contents."""
    canonical = _CANONICAL.encode([[turn["role"], comparable(turn["content"])] for turn in question])
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def option_lines(options: Any, column: str) -> list[str]:
    """A list of answer options as lines "A. ...". Null is an empty list."""
    if options is None:
        return []
    options = checked(_OPTIONS, options, column, f"make it a list of up to {len(LETTERS)} options")
    return [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]


def to_response(value: Any, column: str) -> str:
    """The text of a response, which may be one assistant message."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        if value[0].get("role") != "assistant":
            raise Failure(f"the message in {column!r} is not the assistant's", "set its role to assistant")
        value = value[0].get("content")
    return checked(_TEXT, value, column, 'make it text or one assistant message ("" for no answer)')


def to_reward(value: Any, column: str) -> float:
    """A finite number, a boolean, either as text, or a preference word (`REWARD_WORDS`)."""
    if isinstance(value, str):
        value = REWARD_WORDS.get(value.strip().lower(), value)
    remedy = f"leave the row out, or set a finite number, true or false, or one of {', '.join(REWARD_WORDS)}"
    return checked(_NUMBER, value, column, remedy, strict=False)


def to_steps(row: Mapping[str, Any], column: str) -> list[str]:
    """The steps in a column, which may not be empty."""
    steps = checked(_TEXTS, row.get(column), column, "make it a list of texts")
    if empty := [number for number, step in enumerate(steps or [""], 1) if not step.strip()]:
        raise Failure(f"step {empty[0]} in {column!r} is empty", "leave the row out, or give it all steps")
    return steps


def to_text(row: Mapping[str, Any], column: str | None) -> str | None:
    """Text or a number as text; None for null, "" (a null in CSV) and NaN (a null in pandas)."""
    value = row.get(column) if column else None
    if column is None or value is None or value == "" or value != value:
        return None
    if isinstance(value, float) and value.is_integer():  # pandas' type for integers with nulls
        value = int(value)
    return checked(_TEXT_OR_NUMBER, value, column, "make it text or a number", strict=False)


def to_id(row: Mapping[str, Any], column: str) -> str:
    """The prompt id in a column, a number as text."""
    value = to_text(row, column)
    if value is None:
        raise Failure(f"{column!r} is missing", "give each row its prompt's id, or leave the column out")
    return value


def to_index(row: Mapping[str, Any], column: str) -> int:
    """The whole number in a column."""
    value = to_count(row, column)
    if value is None:
        raise Failure(f"{column!r} is missing", "number all responses of a prompt from 0, or leave the column out")
    return value


def to_count(row: Mapping[str, Any], column: str | None) -> int | None:
    """The whole number in a column, or None."""
    text = to_text(row, column)
    if text is None or column is None:
        return None
    return checked(_INDEX, text, column, "make it a whole number from 0", strict=False)


def as_record(row: Mapping[str, Any]) -> Candidate:
    """A row that is a candidate already, checked, without other columns; of CSV as `export_rows` writes it."""
    record = {name: row.get(name) for name in Candidate.__annotations__}
    if isinstance(record["schema_version"], str):
        record = {name: _from_csv(name, value) for name, value in record.items()}
    candidate = checked(_CANDIDATE, record, "", "see openprm.schema.Candidate for the types")
    for reward in candidate["rewards"]:
        to_reward(reward["value"], "rewards")
    return candidate


def _from_csv(name: str, value: Any) -> Any:
    """Text as it is, null as an empty field, and all else as JSON."""
    if _TYPES[name] is str:
        return value
    if not value or _TYPES[name] == str | None:
        return value or None
    try:
        return json.loads(value)
    except ValueError as error:
        raise Failure(f"{name!r} is not JSON: {error}", "write it as `openprm export` does") from None
