"""Outcome rewards by verifiable instructions: the share of a prompt's instructions that a response follows.

The reference of such a prompt is JSON, a list of instructions with their arguments:

    [{"id": "length_constraints:number_words", "num_words": 300, "relation": "at least"}, ...]

`instructions_reference` writes it from a row of IFEval. Every instruction is checked on the response as it is (the
paper's strict accuracy); see `ifeval_checks` for what each means. `langdetect` (extra `instructions`) identifies
languages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, get_args, get_type_hints

from ..errors import Failure
from ..schema import Candidate
from .base import RuleRewarder, reference_of
from .ifeval_checks import KINDS, Relation, load_languages


class Instruction(NamedTuple):
    """A kind of `KINDS`, with its arguments by name."""

    id: str
    arguments: Mapping[str, Any]


def instructions_rule(name: str = "instructions") -> RuleRewarder:
    """Rewards by the share of instructions followed, 0 to 1, as a `Rewarder`.

    An empty response follows none. A reference that is not as above, or that names an unknown kind, is a failure.
    Raises InputError where the extra `instructions` is missing.
    """
    load_languages()
    return RuleRewarder(name, _instructions, {"rule": "instructions followed"})


def _instructions(candidate: Candidate) -> float:
    try:
        followed = check(candidate["response"], read_instructions(reference_of(candidate)))
    except ValueError as error:
        raise Failure(str(error), "write the reference as openprm.rewards.instructions_reference does") from error
    return sum(followed) / len(followed)


def check(response: str, instructions: Sequence[Instruction]) -> list[bool]:
    """Which of the instructions `response` follows. Raises ValueError for an argument without meaning."""
    if not response.strip():
        return [False] * len(instructions)
    return [KINDS[instruction.id](response, **instruction.arguments) for instruction in instructions]


def instructions_reference(instruction_id_list: Sequence[str], kwargs: Sequence[Mapping[str, Any]]) -> str:
    """The reference of a row of IFEval, whose two columns these are; arguments that are None are left out.

    Raises ValueError where they are not of one length, or as `read_instructions` does.
    """
    if len(instruction_id_list) != len(kwargs):
        raise ValueError(f"{len(instruction_id_list)} instructions but the arguments of {len(kwargs)}")
    reference = json.dumps(
        [
            {"id": name, **{key: value for key, value in sorted(arguments.items()) if value is not None}}
            for name, arguments in zip(instruction_id_list, kwargs, strict=True)
        ],
        ensure_ascii=False,
    )
    read_instructions(reference)
    return reference


@lru_cache(maxsize=1024)
def read_instructions(reference: str) -> tuple[Instruction, ...]:
    """The instructions that a reference holds. Raises ValueError, saying which is wrong and how."""
    try:
        entries = json.loads(reference)
    except ValueError as error:
        raise ValueError(f"the reference is not JSON: {error}") from error
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("the reference is not a list of one instruction or more, each an object")
    return tuple(_instruction(number, entry) for number, entry in enumerate(entries, start=1))


def _instruction(number: int, entry: dict[str, Any]) -> Instruction:
    arguments = {key: value for key, value in entry.items() if key != "id"}
    kind = entry.get("id")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"instruction {number} has the unknown kind {kind!r}; known are {', '.join(KINDS)}")
    types = {key: hint for key, hint in get_type_hints(KINDS[kind]).items() if key not in ("text", "return")}
    if arguments.keys() != types.keys():
        raise ValueError(
            f"instruction {number}, {kind}, has the arguments {', '.join(arguments) or 'none'}; "
            f"it takes {', '.join(types) or 'none'}"
        )
    for key, value in arguments.items():
        fits, expected = _EXPECTED[types[key]]
        if not fits(value):
            raise ValueError(f"instruction {number}, {kind}: {key} is {value!r}, not {expected}")
    return Instruction(kind, arguments)


#: Whether a value is of an argument's type, and how that type is called.
_EXPECTED: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    str: (lambda value: isinstance(value, str), "a string"),
    list[str]: (
        lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
        "a list of strings",
    ),
    Relation: (lambda value: value in get_args(Relation), " or ".join(map(repr, get_args(Relation)))),
}
