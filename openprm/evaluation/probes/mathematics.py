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
        some = [(item, [*map(_reduced, item.responses)]) for item in few([*filter(_has_both, items)], PROMPTS)]
        return {
            view: [replace(item, responses=tuple(answer[index] for answer in answers)) for item, answers in some]
            for index, view in enumerate(VIEWS)
        }

    def readings(self, views: Views) -> Mapping[str, Measured]:
        return {f"of {name}": views[name] for name in VIEWS if views[name].items}

    def details(self, views: Views) -> Any:
        left_out = sum(not _has_both(item) for item in views[""].items)
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


def _has_both(item: Item) -> bool:
    return len(item.responses) > 1 and all(map(_reduced, item.responses))


@lru_cache(maxsize=2**14)  # asked again for each model
def _reduced(response: Response) -> tuple[Response, ...]:
    """The response as in each of `VIEWS`; empty where it lacks mathematics or prose."""
    steps = response.steps or tuple(split(response.text, "sentence"))
    kept, found = [steps], parts(steps)
    for mathematics, between in ((True, " "), (False, "")):
        left = [between.join(piece for kind, piece in pieces if kind is mathematics).strip() for pieces in found]
        if not any(map(_WORD.search, left)):
            return ()
        spaces = [step[len(step.rstrip()) :] for step in steps]
        kept.append(tuple((one if _WORD.search(one) else "...") + end for one, end in zip(left, spaces, strict=True)))
    return tuple(Response("".join(steps), steps) for steps in kept)
