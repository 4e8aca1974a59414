"""Prompts with verifiable constraints: open instructions with one to three of IFEval's kinds and random arguments.

    for composed in compose(open_instructions(), n=100, seed=0, kinds=["punctuation:no_comma"]): ...

Instructions, wordings and arguments are in `constraints.yaml`; a user's own instructions take the place of its own.
The reward of a response is the share of constraints met (`openprm reward --by instructions`). Kinds that are left out
here can be asked for in a test, to see whether what a model has learned carries over.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from rapidfuzz import fuzz, process, utils

from ..errors import InputError
from ..runs.declaration import nearest
from ..scoring.steps import split
from .benchmark_prompts import instructions_json

#: Instructions at least as alike a prompt, or a part of it, are near-duplicates; of 100, rapidfuzz's ratio.
NEAR_DUPLICATE = 85.0

_ROUNDS = 20  # over all instructions without a new prompt, after which no more are expected


@dataclass(frozen=True)
class Instruction:
    """An open instruction, and what it must share with no other of a test: its topic, or itself."""

    text: str
    topic: str


@dataclass(frozen=True)
class Composed:
    """A prompt, its constraints as a reference that `openprm.rewards.ifeval` reads, and their kinds."""

    prompt: str
    reference: str
    kinds: tuple[str, ...]
    instruction: Instruction


@cache
def _words() -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))


def constraint_kinds() -> list[str]:
    """The kinds that prompts can be composed of: all of IFEval's but one, which needs a question of yes or no."""
    return list(_words()["kinds"])


def check_kinds(kinds: Iterable[str]) -> None:
    """Raises InputError for a kind that prompts cannot be composed of."""
    known = constraint_kinds()
    for kind in kinds:
        if kind not in known:
            raise InputError(f"there is no kind of constraint {kind!r}{nearest(kind, known)}")


def open_instructions() -> list[Instruction]:
    """Our own instructions: each of some forms with each of some topics."""
    return [
        Instruction(form.format(topic=topic), topic)
        for topic in _words()["topics"]
        for form in _words()["instructions"]
    ]


def compose(
    instructions: Sequence[Instruction], n: int, seed: int = 0, kinds: Sequence[str] | None = None
) -> Iterator[Composed]:
    """`n` different prompts. Each instruction comes once, in random order, before any comes again.

    kinds: those to use; None is all. Raises InputError for an unknown one, and where there are not so many prompts.
    """
    usable = constraint_kinds() if kinds is None else list(kinds)
    check_kinds(usable)
    if not (usable and instructions):
        raise InputError("prompts need at least one instruction and one kind of constraint")
    order = random.Random(f"{seed}\0order").sample(instructions, len(instructions))
    made: set[str] = set()
    last = 0  # the last round that gave a new one
    for round_ in count():
        for instruction in order:
            if len(made) == n:
                return
            composed = _compose(instruction, usable, random.Random(f"{seed}\0{round_}\0{instruction.text}"))
            if composed.prompt not in made:
                made.add(composed.prompt)
                last = round_
                yield composed
        if round_ > last + _ROUNDS:
            raise InputError(f"only {len(made)} different prompts can be composed of these, not {n}")


def _compose(instruction: Instruction, kinds: Sequence[str], draw: random.Random) -> Composed:
    wanted = draw.choices(range(1, len(_words()["sizes"]) + 1), _words()["sizes"])[0]
    chosen: list[str] = []
    for kind in draw.sample(kinds, len(kinds)):
        if len(chosen) < wanted and all(_together(kind, other) for other in chosen):
            chosen.append(kind)
    while not _leave_room(arguments := {kind: _arguments(kind, instruction, draw) for kind in chosen}):
        continue
    wordings = [
        draw.choice(_words()["kinds"][kind]["wordings"]).format(**{name: _worded(name, v) for name, v in own.items()})
        for kind, own in arguments.items()
    ]
    prompt = " ".join([instruction.text, *wordings])
    return Composed(prompt, instructions_json(chosen, [*arguments.values()]), tuple(chosen), instruction)


def _together(kind: str, other: str) -> bool:
    declared = _words()["kinds"]
    if declared[kind].get("alone") or declared[other].get("alone") or kind.split(":")[0] == other.split(":")[0]:
        return False
    return not any({kind, other} == set(conflict) for conflict in _words()["conflicts"])


def _arguments(kind: str, instruction: Instruction, draw: random.Random) -> dict[str, Any]:
    declared: Mapping[str, Any] = _words()["kinds"][kind].get("arguments", {})
    return {name: _drawn(values, instruction, draw) for name, values in declared.items()}


def _leave_room(arguments: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether each kind allows more than what the others need in any response."""
    needed = ""
    for kind, own in arguments.items():
        text, times = _words()["kinds"][kind].get("needs", ("", None))
        needed += text.format(**own) * own.get(times, 1)
    counts: dict[str, Callable[..., int]] = {
        "keywords:letter_frequency": needed.casefold().count,
        "change_case:capital_word_frequency": lambda: sum(map(str.isupper, needed.replace(".", " ").split())),
        "length_constraints:number_sentences": lambda: len(split(needed, "sentence")),
    }
    bounds = [(kind, *own.values()) for kind, own in arguments.items() if kind in counts]
    return all(counts[kind](*what) < bound for kind, *what, bound, relation in bounds if relation == "less than")


def _drawn(values: Any, instruction: Instruction, draw: random.Random) -> Any:
    """A value of an argument, as `constraints.yaml` declares it."""
    match values:
        case "instruction":
            return instruction.text
        case "word":
            return draw.choice(_words()["words"])
        case {"low": low, "high": high}:
            return draw.randrange(low, high + 1, values.get("step", 1))
        case dict():
            ((name, size),) = values.items()
            return draw.sample(_words()[name], size)
    return draw.choice(values)


def _worded(name: str, value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(f'"{word}"' for word in value)
    return _words()["languages"][value] if name == "language" else str(value)


def near_duplicates(instructions: Sequence[Instruction], prompts: Iterable[str]) -> set[str]:
    """The texts of instructions that stand in one of the prompts, or nearly so (see `NEAR_DUPLICATE`)."""
    clean = utils.default_process
    others = list({clean(prompt) for prompt in prompts})

    def stands_in_one(text: str) -> bool:
        longer = [other for other in others if len(other) >= len(text)]  # a short one ("Hi") stands in many
        return any(
            process.extractOne(text, among, scorer=scorer, score_cutoff=NEAR_DUPLICATE)
            for among, scorer in ((longer, fuzz.partial_ratio), (others, fuzz.ratio))
        )

    return {instruction.text for instruction in instructions if stands_in_one(clean(instruction.text))}
