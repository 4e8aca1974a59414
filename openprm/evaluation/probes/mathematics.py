r"""Whether a model judges an answer's mathematics or its prose: Ma et al. (2024), "What Are Step-Level Reward Models
Rewarding?", train models on less; here a trained one reads less.

Mathematics is what `MATHEMATICS` finds, all else is prose:
- LaTeX: `$$...$$`, `\(...\)`, `\[...\]`, environments, `\boxed{...}`, and `$...$` with no space inside beside a sign
  and no digit behind the second, so that prices are none (Pandoc's rule);
- GSM8K's `<<48/2=24>>` and `#### 72`;
- numbers and single letters joined by operators within a line, with a number among them and up to two words of units:
  `$5 * 3 = $15`, `2 hours x 3`. A lone number is prose, a range (`3-4`) mathematics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import Any

from ...scoring.steps import split
from ..benchmarks.items import Item, Measured, Response
from .base import Probe, Views, few

#: Prompts at most: enough for an interval of 0.07 to either side.
PROMPTS = 200
VIEWS = ("whole", "only mathematics", "only prose")

_NUMBER = r"[($€£\[]*[-−]?[$€£]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:[a-zA-Z]\b)?[%°)\]]*"
_LETTER = r"[(\[]*[-−]?\b[a-zA-Z]\b[)\]]*"
_OPERATOR = r"(?:[^\S\n][a-z]+){0,2}[^\S\n]*(?:[-−–+*/×÷·=<>≤≥≈^]+|\bx\b)[^\S\n]*"
MATHEMATICS = re.compile(
    r"\$\$.+?\$\$|\\\[.+?\\\]|\\\(.+?\\\)|\\begin\{(?P<name>\w+\*?)\}.*?\\end\{(?P=name)\}"
    r"|(?<![\\\w$])\$(?=[^\s$])(?:[^$\n\\]|\\.)*?(?<=[^\s$])\$(?!\d)"
    r"|\\boxed\{(?:[^{}]|\{[^{}]*\})*\}|<<[^<>\n]*>>|^\#{4}[^\n]*"
    rf"|(?<![\w.])(?:(?:{_LETTER}{_OPERATOR})+{_NUMBER}|{_NUMBER}(?={_OPERATOR}(?:{_NUMBER}|{_LETTER})))"
    rf"(?:{_OPERATOR}(?:{_NUMBER}|{_LETTER}))*",
    re.DOTALL | re.MULTILINE,
)
_WORD = re.compile(r"\w")


class Mathematics(Probe):
    """The headline number of whole answers, of only their mathematics, and of only their prose, in as many steps
    (sentences, or the benchmark's own), where nothing is left of a step as "...".

    Items with an answer that lacks either are left out; `details` counts them.
    """

    def views(self, items: Sequence[Item]) -> Mapping[str, Sequence[Item]]:
        some = few([item for item in items if _mixed(item)], PROMPTS)
        reduced = [[_reduced(_steps(response)) for response in item.responses] for item in some]
        return {
            view: [
                replace(item, responses=tuple(Response("".join(one[index]), one[index]) for one in answers))
                for item, answers in zip(some, reduced, strict=True)
            ]
            for index, view in enumerate(VIEWS)
        }

    def readings(self, views: Views) -> Mapping[str, Measured]:
        return {f"of {name}": views[name] for name in VIEWS if views[name].items}

    def details(self, views: Views) -> Any:
        left_out = sum(not _mixed(item) for item in views[""].items)
        return {"items": len(views["whole"].items), "left_out": left_out, "all": len(views[""].items)}


def parts(steps: Sequence[str]) -> list[list[tuple[bool, str]]]:
    """The pieces of each step, and whether they are mathematics; joined they are the steps."""
    text, found, start = "".join(steps), [], 0
    inside = {at for match in MATHEMATICS.finditer(text) for at in range(*match.span())}
    for step in steps:
        pieces = groupby(range(start, start + len(step)), inside.__contains__)
        found.append([(kind, "".join(text[at] for at in places)) for kind, places in pieces])
        start += len(step)
    return found


def _reduced(steps: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """All of the steps, their mathematics, their prose; as many steps each."""

    def only(kind: bool, between: str) -> tuple[str, ...]:
        left = [between.join(piece for one, piece in pieces if one is kind).strip() for pieces in parts(steps)]
        spaces = [step[len(step.rstrip()) :] for step in steps]
        return tuple((one if _WORD.search(one) else "...") + space for one, space in zip(left, spaces, strict=True))

    return tuple(steps), only(True, " "), only(False, "")


def _steps(response: Response) -> tuple[str, ...]:
    return response.steps or tuple(split(response.text, "sentence"))


def _mixed(item: Item) -> bool:
    return len(item.responses) > 1 and all(_has_both(_steps(response)) for response in item.responses)


@lru_cache(maxsize=2**16)  # asked again for each model
def _has_both(steps: tuple[str, ...]) -> bool:
    return {kind for pieces in parts(steps) for kind, piece in pieces if _WORD.search(piece)} == {True, False}
