r"""Outcome rewards by the golden answer: 1 where a response states it, else 0 (paper, section 3.1).

    extract_answer("... so the answer is **1,000 dollars**.")  ->  "1000"
    golden_answer("... so the answer is **1,000 dollars**.", reference="1000")  ->  1.0

Exact comparison of short answers: numbers, option letters, words. `1/2` and `0.5`, or two ways to write one LaTeX
expression, are different answers here: see `math_answer`. Pure Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial

from ..errors import Failure, InputError
from ..schema import Candidate
from ..text import comparable
from .base import RuleRewarder, reference_of

_SIGN = r"(?:(?<![\w)])[-+−])?"
# 1.6e-19, 1.6 x 10^-19
_POWER = r"(?:[eE][-+−]?[0-9]+(?!\w)|\s?(?:[x×·*]|\\times|\\cdot)\s?10\^(?:[-+−]?[0-9]+|\{[-+−]?[0-9]+\}))"
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
#: A number or a fraction of a running text: not inside a word (H2O) nor the minutes of a time (5:00), a sign only
#: where it isn't a minus (10-5).
NUMBER = rf"(?<!\w)(?<![0-9]:){_SIGN}(?:{_DIGITS}(?:\.[0-9]+)?|(?<!\.)\.[0-9]+)(?:{_POWER}|/[0-9]+(?![\w/]))?"

# The argument of \boxed: braces may nest three deep.
_BRACED = r"[^{}]*"
for _ in range(3):
    _BRACED = rf"(?:[^{{}}]|\{{{_BRACED}\}})*"
_BOXED = rf"\\boxed\s*\{{({_BRACED})\}}"

# "The answer is", "**Final answer:**", ... and the marks that may stand between it and the answer.
ANSWER_IS = r"(?i:\banswers?[\s*_]*(?:is\b|are\b|:))[\s*_:]*+"

# Up to six words: longer text is an explanation. The first character is not one of the marks before it, and only a
# few marks may follow, so that a long run of them is read only once.
_WORD = r"(?:(?!\\boxed)\S)"
_WORDS = rf"(?![\s*_:])(?!(?i:(?:in)?correct|right|wrong)\b){_WORD}+?(?:[ \t]+{_WORD}+?){{0,5}}?"

#: A stated answer, by alternatives:
#: 1. `\boxed{X}`;
#: 2. `#### X`, where X is a number on its own or all that remains (`#### ` also begins a Markdown heading);
#: 3. `the answer is X`, `Answer: X`, up to the sentence's, the line's or the emphasis' end, where that is
#:    within six words; a `\boxed` in it is left to 1.
STATED = (
    rf"{_BOXED}"
    rf"|(?<!#)####(?!#)[ \t]*(\$?{NUMBER})[ \t]*$"
    r"|(?<!#)####(?!#)[ \t]*(\S(?:(?!####)[^\n])*)(?:\n\s*)?\Z"
    rf"|{ANSWER_IS}({_WORDS})(?=[.!?。！？*_]{{0,4}}[ \t]*$|[.!?]{{1,4}}[*_]{{0,3}}\s|\*\*(?!\w))"
)

# A number that the last equation gives and the response's last sentence, a conclusion, repeats:
# `240 / 16 = 15. Therefore, she drinks 15 gallons in 30 days.`
_IN_SENTENCE = r"(?:[^=\n.!?]|[.!?](?!\s|\Z))"
_CONCLUDED = (
    rf"=\s*\$?({NUMBER})(?![\d,.]*\d)[^=]{{0,300}}?\b(?i:therefore|thus|hence|so)\b"
    rf"{_IN_SENTENCE}{{0,200}}?(?<![\d.,])\1(?![\d,.]*\d){_IN_SENTENCE}{{0,200}}[.!?*\s]{{0,9}}\Z"
)
#: Where no answer is stated, by patterns in turn: such a conclusion, else the last number.
LAST_NUMBER = (_CONCLUDED, NUMBER)

#: Patterns by name. Where the first of a name's patterns matches nothing, the next one is tried.
PATTERNS = {"answer": (STATED, *LAST_NUMBER), "stated": (STATED,)}
DEFAULT_PATTERN = "answer"

# With such a line a model that completes text continues after its answer.
_NEXT_QUESTION = re.compile(r"^[*# \t]*(?:Question|Q)[*\s]*:", re.MULTILINE)


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> tuple[re.Pattern[str], ...]:
    if pattern.startswith("re:"):
        try:
            return (re.compile(pattern[3:], re.MULTILINE),)
        except re.error as error:
            raise InputError(f"pattern {pattern!r} is not a regular expression: {error}") from error
    if pattern not in PATTERNS:
        raise InputError(f"unknown pattern {pattern!r}; use one of {', '.join(PATTERNS)} or re:PATTERN")
    return tuple(re.compile(alternative, re.MULTILINE) for alternative in PATTERNS[pattern])


def extract_answer(response: str, pattern: str = DEFAULT_PATTERN) -> str | None:
    r"""The last answer that `response` states, normalized (see `normalize`); None where it states none.

    `pattern` is one of
    - `answer`: a stated answer (see `STATED`), else the last number (see `LAST_NUMBER`);
    - `stated`: a stated answer only;
    - `re:PATTERN`: a regular expression (`^` and `$` match at lines). The answer is the first group that took part in
      its last match, or the whole match where it has no groups.

    What a response states after a question of its own is not an answer (see `own_statements`). Raises InputError for
    a pattern that cannot be read.
    """
    return next(filter(None, map(normalize, final_statements(response, _compiled(pattern)))), None)


def unix_lines(text: str) -> str:
    r"""The text as it is compared (see `comparable`), with `\n` as the end of each line."""
    return comparable(text).replace("\r\n", "\n").replace("\r", "\n")


def final_statements(response: str, patterns: Iterable[re.Pattern[str]]) -> Iterator[str]:
    """What a response states, the last first: by the first of the patterns, then by the next."""
    for pattern in patterns:
        for match in reversed(own_statements(list(pattern.finditer(unix_lines(response))))):
            yield _inside(match)


def own_statements(matches: list[re.Match[str]]) -> list[re.Match[str]]:
    """Of the statements found in a response, in order, those before a question that the model asks itself.

    A model that completes text often continues with a line `Question: ...` and answers that, too. A question before
    the first statement is not the next one: the response discusses the question that was asked.
    """
    asked = _NEXT_QUESTION.search(matches[0].string) if matches else None
    if asked is None or asked.start() < matches[0].end():
        return matches
    return [match for match in matches if match.end() <= asked.start()]


def golden_answer(response: str, reference: str, pattern: str = DEFAULT_PATTERN) -> float:
    """1.0 where the answer that `response` states last is `reference`, else 0.0.

    A response that states no answer gets 0.0 too. `reference` is the golden answer alone, in any spelling that
    `normalize` understands. Raises Failure where it is empty.
    """
    golden = normalize(reference)
    if not golden:
        raise Failure("the reference holds no answer", "give the golden answer alone")
    return float(extract_answer(response, pattern) == golden)


def golden_rule(pattern: str = DEFAULT_PATTERN, name: str = "golden") -> RuleRewarder:
    """Rewards by exact answers: `golden_answer` as a `Rewarder`. Raises InputError for an unknown pattern."""
    _compiled(pattern)
    return RuleRewarder(name, partial(_golden, pattern=pattern), {"rule": "golden answer", "pattern": pattern})


def _golden(candidate: Candidate, pattern: str) -> float | None:
    value = golden_answer(candidate["response"], reference_of(candidate), pattern)
    return value if value or extract_answer(candidate["response"], pattern) else None


def normalize(answer: str) -> str:
    r"""One spelling for answers that mean the same.

    Removed: white space, emphasis, quotes and final punctuation around it; `$...$`, `\(...\)` and `\text{...}` around
    all of it; brackets around a single letter. Of a number: the thousands' commas, a currency before it, a percent
    sign or a unit in letters after it (`1,000 km` is `1000`; an expression, `2x` or `3 or 4`, is left alone),
    unnecessary zeros (`16.0` is `16`), and what it is the value of: one variable or a calculation (`x = 14`,
    `2(11) = 22`). Upper and lower case stay different.
    """
    text = comparable(answer).replace("{,}", ",").replace(r"\!", "").replace(r"\$", "$").replace(r"\%", "%")
    for _ in range(_NESTED):
        text = _AROUND.sub(_inside, text.lstrip(_MARKS).rstrip(_MARKS + ".,;:。"))
    calculated, equals, result = text.rpartition("=")
    if equals and _CALCULATED.fullmatch(calculated) and _AMOUNT.fullmatch(result.strip()):
        text = result.strip()
    number = _AMOUNT.fullmatch(text)
    if not number:
        return text
    sign, whole, fraction = number.groups(default="")
    whole = whole.replace(",", "").lstrip("0") or "0"
    fraction = fraction.rstrip("0").rstrip(".")
    minus = "-" if sign in ("-", "−") and (whole, fraction) != ("0", "") else ""
    return minus + whole + fraction


_NESTED = 4  # deep at most
_MARKS = "*_`\"'“”" + "".join(filter(str.isspace, map(chr, range(0x3001))))
_AROUND = re.compile(
    r"\A(?:\$+([^$]+)\$+|\\\((.+)\\\)|\\\[(.+)\\\]|\\text\s*\{([^{}]*)\}|[(\[]?([A-Za-z])[)\]])\Z", re.DOTALL
)
# What a number may be the value of: one variable, or a calculation. An equation in two unknowns stays one.
_CALCULATED = re.compile(r"\s*[A-Za-z]\s*|[^A-Za-z<>≤≥]+")
_AMOUNT = re.compile(rf"([-+−])?\s*[$€£]?\s*({_DIGITS}|(?=\.[0-9]))(\.[0-9]*)?\s*(?:%|(?<=\s)[A-Za-z ]+)?")


def _inside(match: re.Match[str]) -> str:
    return next((group for group in match.groups() if group is not None), match[0])
