"""Outcome rewards by verifiable instructions: the share of a prompt's instructions that a response follows.

The reference of such a prompt is JSON, a list of instructions with their arguments:

    [{"id": "length_constraints:number_words", "num_words": 300, "relation": "at least"}, ...]

`instructions_reference` writes it from a row of IFEval. Every instruction is checked on the response as it is (the
paper's strict accuracy); see `ifeval_checks` for what each means. `langdetect` (extra `instructions`) identifies
languages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from ..data.benchmark_prompts import instructions_json
from ..data.values import checked
from ..errors import Failure
from ..schema import Candidate
from .base import RuleRewarder, reference_of
from .ifeval_checks import KINDS, load_languages

_REMEDY = "write the reference as openprm.rewards.instructions_reference does"
_LIST = TypeAdapter(list[dict[str, Any]])


#: A kind of `KINDS`, and its arguments by name.
Instruction = tuple[str, Mapping[str, Any]]


def instructions_rule(name: str = "instructions") -> RuleRewarder:
    """Rewards by the share of instructions followed, 0 to 1, as a `Rewarder`.

    An empty response follows none. A reference that is not as above, or that names an unknown kind, is a failure.
    Raises InputError where the extra `instructions` is missing.
    """
    load_languages()
    return RuleRewarder(name, _instructions, {"rule": "instructions followed"})


def _instructions(candidate: Candidate) -> float:
    followed = check(candidate["response"], read_instructions(reference_of(candidate)))
    return sum(followed) / len(followed)


def check(response: str, instructions: Sequence[Instruction]) -> list[bool]:
    """Which of the instructions `response` follows. Raises Failure for a language that is not known."""
    if not response.strip():
        return [False] * len(instructions)
    return [KINDS[kind](response, **arguments) for kind, arguments in instructions]


def instructions_reference(instruction_id_list: Sequence[str], kwargs: Sequence[Mapping[str, Any]]) -> str:
    """The reference of a row of IFEval, whose two columns these are; arguments that are None are left out.

    Raises ValueError where they are not of one length, and Failure as `read_instructions` does.
    """
    reference = instructions_json(instruction_id_list, kwargs)
    read_instructions(reference)
    return reference


@lru_cache(maxsize=1024)
def read_instructions(reference: str) -> tuple[Instruction, ...]:
    """The instructions that a reference holds, one or more. Raises Failure, saying which is wrong and how."""
    try:
        entries = checked(_LIST, json.loads(reference), "reference", _REMEDY)
    except ValueError as error:
        raise Failure(f"the reference is not JSON: {error}", _REMEDY) from error
    if not entries:
        raise Failure("the reference has no instruction", _REMEDY)
    return tuple(_instruction(number, entry) for number, entry in enumerate(entries, start=1))


def _instruction(number: int, entry: dict[str, Any]) -> Instruction:
    kind = entry.pop("id", None)
    if not isinstance(kind, str) or kind not in KINDS:
        reason = f"instruction {number} has the unknown kind {kind!r}; known are {', '.join(KINDS)}"
        raise Failure(reason, _REMEDY)
    return kind, checked(_arguments(kind), entry, f"instruction {number}, {kind}", _REMEDY)


@cache
def _arguments(kind: str) -> TypeAdapter[Any]:
    """The type of a kind's arguments by name: those of its function, without the response."""
    hints = {name: hint for name, hint in get_type_hints(KINDS[kind]).items() if name not in ("text", "return")}
    arguments = cast(Any, TypedDict)(kind, hints)
    return TypeAdapter(with_config(ConfigDict(extra="forbid"))(arguments))
