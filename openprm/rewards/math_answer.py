r"""Outcome rewards of mathematical answers, equal by value: 1 where a response's answer equals the reference, else 0.

    "... so $x = \boxed{\frac{2}{4}}$."  against the reference  "0.5"  ->  1.0

Which part of a response is its answer is decided here; `math-verify` (extra `math`) reads and compares it by SymPy. A
calculation counts as its value: `8-4` is 4. An answer has at most `LONGEST` characters, and reading and comparing may
take `SECONDS` of processor time each (not of the clock, so that a busy machine gives the same rewards).
"""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib.metadata import version
from types import FrameType
from typing import Any

from ..errors import Failure, InputError
from ..schema import Candidate
from .base import RuleRewarder, reference_of
from .exact_answer import ANSWER_IS, LAST_NUMBER, STATED, final_statements, normalize

#: Characters of an answer; longer text is not one.
LONGEST = 400
#: Processor time to read an answer, or to compare two.
SECONDS = 2.0

# Mathematics in a text. A dollar opens and closes as Pandoc has it, so that "$5 and $6" are two prices.
_INLINE = (
    rf"\$\$.{{1,{LONGEST}}}?\$\$|\\\(.{{1,{LONGEST}}}?\\\)|\\\[.{{1,{LONGEST}}}?\\\]"
    rf"|(?<!\\)\$(?![\s$])(?:\\.|[^$\\\n]){{1,{LONGEST}}}?(?<!\s)\$(?!\d)"
)
_SEVERAL = rf"(?:{_INLINE})(?:(?:\s*,|\s*,?\s*(?:and|or)\b)\s*(?:{_INLINE})){{0,9}}"
# A formula without dollars: commands and single letters, but no words.
_BARE = rf"(?:\\[A-Za-z]+|\\.|\{{[a-z]+\}}|(?<![A-Za-z])[A-Za-z](?![A-Za-z])|[^A-Za-z\\\n]){{1,{LONGEST}}}"
_STATED = (
    re.compile(rf"{ANSWER_IS}((?s:{_SEVERAL}))|{ANSWER_IS}((?!\s*\\boxed){_BARE})$|{STATED}", re.MULTILINE),
    re.compile(LAST_NUMBER[0]),
    re.compile(rf"((?s:{_SEVERAL}))|{LAST_NUMBER[1]}", re.MULTILINE),
)
_BRACES = re.compile(r"\\boxed\s*\{|\\[{}]|[{}]")
_BETWEEN = re.compile(r"[\s$.]*(?:,|,?\s*\b(?:and|or)\b)[\s$]*")


def mathematics_rule(name: str = "math") -> RuleRewarder:
    """Rewards by mathematical equality, as a `Rewarder`.

    The reference is the golden answer alone, in LaTeX or plain; one that cannot be read is a failure. A response that
    states no answer, or one that cannot be read in time, gets 0 and the mark `unparsable`. A signal limits the time:
    the rule works in a process's main thread, on POSIX systems. Raises InputError where the extra `math` is missing.
    """
    _library()
    limits = {"seconds": SECONDS, "longest": LONGEST, "math-verify": version("math-verify")}
    return RuleRewarder(name, _mathematics, {"rule": "mathematics", **limits})


def _mathematics(candidate: Candidate) -> float | None:
    reference = reference_of(candidate)
    if not _read(reference):
        raise Failure(
            f"the reference {reference[:80]!r} cannot be read as mathematics",
            "give the golden answer alone, in LaTeX or plain, or reward by exact answers",
        )
    answer = stated_expression(candidate["response"])
    right = None if answer is None else equal(reference, answer)
    return None if right is None else float(right)


def stated_expression(response: str) -> str | None:
    r"""The answer that a response states, as it is written; None where it states none.

    The last `\boxed{...}`, with those joined to it; without a box, the last text after "the answer is" and the like
    (see `exact_answer.STATED`); else the last mathematics between dollars or the like, or the last number.
    """
    if boxes := _boxed(response):
        return _joined(response, boxes)
    return next(filter(None, map(str.strip, final_statements(response, _STATED))), None)


def _boxed(text: str) -> list[tuple[int, int, str]]:
    r"""Start, end and content of each outermost `\boxed{...}`, with braces nested as deep as they are."""
    boxes: list[tuple[int, int, str]] = []
    opened: list[re.Match[str]] = []
    for brace in _BRACES.finditer(text):
        if brace[0][-1] == "{" and brace[0] != r"\{":
            opened.append(brace)
        elif brace[0] == "}" and opened:
            start = opened.pop()
            if start[0] != "{":
                while boxes and boxes[-1][0] > start.start():
                    boxes.pop()
                boxes.append((start.start(), brace.end(), text[start.end() : brace.start()].strip()))
    return [box for box in boxes if box[2]]


def _joined(text: str, boxes: list[tuple[int, int, str]]) -> str:
    """The last box, with those before it that "and", "or" or a comma join to it."""
    contents = [boxes[-1][2]]
    for (_, end, content), (start, *_) in zip(boxes[-2::-1], boxes[:0:-1], strict=True):
        if not _BETWEEN.fullmatch(text, end, start):
            break
        contents.insert(0, content)
    return ", ".join(contents)


@lru_cache(maxsize=4096)
def equal(reference: str, answer: str) -> bool | None:
    """Whether two answers have one value; None where `answer` cannot be read, or not compared in time.

    Raises RuntimeError outside a process's main thread.
    """
    if normalize(reference) == normalize(answer):
        return True
    golden, stated = _read(reference), _read(answer)
    if not golden or not stated:
        return None
    return _in_time(lambda: _library().verify(list(golden), list(stated), timeout_seconds=None))


@lru_cache(maxsize=4096)
def _read(answer: str) -> tuple[Any, ...] | None:
    """The SymPy expressions that an answer may mean; None where it cannot be read."""
    if len(answer) > LONGEST:
        return None
    inline = re.fullmatch(rf"(?s:{_SEVERAL})", answer.strip())
    text = answer if inline else rf"\boxed{{{normalize(answer)}}}"
    found = _in_time(lambda: _library().parse(text, parsing_timeout=None)) or []
    # what could not be read is a string
    return tuple(part for part in found if not isinstance(part, str)) or None


@cache
def _library() -> Any:
    try:
        import math_verify
    except ImportError as error:
        raise InputError("mathematical answers need the extra: pip install 'openprm[math]'") from error
    # it warns that its own time limit is off, and of each expression it cannot read
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return math_verify


class _TimeIsUp(BaseException):
    """Not an Exception: SymPy and math-verify catch those."""


def _in_time(work: Callable[[], Any]) -> Any:
    """What `work` returns; None where it takes longer than `SECONDS` of processor time, or more than there is."""
    try:
        with _limit():
            return work()
    except (_TimeIsUp, MemoryError, RecursionError, OverflowError):
        return None


@contextmanager
def _limit() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("mathematical answers are compared in a process's main thread only: use processes")
    before = signal.signal(signal.SIGVTALRM, _stop)
    # repeatedly, should a library catch the first
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise _TimeIsUp
