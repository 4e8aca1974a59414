r"""Outcome rewards of mathematical answers, equal by value: 1 where a response's answer equals the reference, else 0.

    "... so $x = \boxed{\frac{2}{4}}$."  against the reference  "0.5"  ->  1.0

Which part of a response is its answer is decided here; `math-verify` (extra `math`) reads and compares it by SymPy. A
calculation counts as its value: `8-4` is 4; `50\%` is 50 and 0.5. Decimals are equal that agree to six places, or to
five digits where they are below 0.01. An answer has at most `LONGEST` characters, and reading and comparing may
take `SECONDS` of processor time each (not of the clock, so that a busy machine gives the same rewards).
"""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
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
_BARE = rf"(?:\\[A-Za-z]+|\\.|\{{[a-z]+\}}|(?<![A-Za-z])[A-Za-z](?![A-Za-z])|[^A-Za-z\\\n]){{1,{LONGEST}}}+"
_STATED = (
    re.compile(rf"{ANSWER_IS}((?s:{_SEVERAL}))|{ANSWER_IS}((?!\s*\\boxed){_BARE})$|{STATED}", re.MULTILINE),
    re.compile(LAST_NUMBER[0]),
    re.compile(rf"((?s:{_SEVERAL}))|{LAST_NUMBER[1]}", re.MULTILINE),
)
_BRACES = re.compile(r"\\boxed\s*\{|\\[{}]|[{}]")
# 1.6e-19, 1.6 x 10^-19: as LaTeX
_SCIENTIFIC = re.compile(
    r"(?<![\w\\.])([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]|\s*(?:\\times|\\cdot|[x×·*])\s*10\s*\^)\s*(\{)?([-+−]?[0-9]+)(?(2)\})(?!\w)"
)
_BETWEEN = re.compile(r"[\s$.]*(?:,|,?\s*\b(?:and|or)\b)[\s$]*")


def mathematics_rule(name: str = "math") -> RuleRewarder:
    """Rewards by mathematical equality, as a `Rewarder`.

    The reference is the golden answer alone, in LaTeX or plain; one that cannot be read is a failure. A response that
    states no answer, or one that cannot be read, gets 0 and the mark `unparsable`; one that takes too long, 0 and the
    mark `timed-out`. A signal limits the time: the rule works in a process's main thread, on POSIX systems. Raises
    InputError where the extra `math` is missing.
    """
    _library()
    limits = {"seconds": SECONDS, "longest": LONGEST, "math-verify": version("math-verify")}
    return RuleRewarder(name, _mathematics, {"rule": "mathematics", **limits})


def _mathematics(candidate: Candidate) -> float | None:
    reference = reference_of(candidate)
    if not read(reference):
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


def spelling(answer: str) -> str:
    """`normalize`, but a percent sign stays: 50% is also 0.5."""
    text = normalize(answer)
    return f"{text}%" if "%" in answer and text.removeprefix("-").replace(".", "", 1).isdecimal() else text


@lru_cache(maxsize=4096)
def equal(reference: str, answer: str) -> bool | None:
    """Whether two answers have one value; None where `answer` cannot be read.

    Raises TimeoutError where the time did not suffice, which is not cached, and RuntimeError outside a process's main
    thread.
    """
    if normalize(reference) == normalize(answer):
        return True
    golden, stated = read(reference), read(answer)
    if not golden or not stated:
        return None
    library = _library()  # imports take their time, too

    def compared() -> bool:
        more = max(map(_more_decimals, (*golden, *stated)))
        rounded = {"float_rounding": 6 + more, "numeric_precision": 15 + more}
        return library.verify(list(golden), list(stated), timeout_seconds=None, **rounded)

    return bool(_in_time(compared))


@lru_cache(maxsize=4096)
def read(answer: str) -> tuple[Any, ...] | None:
    """The SymPy expressions that an answer may mean; None where it cannot be read. Raises TimeoutError."""
    if len(answer) > LONGEST:
        return None
    inline = re.fullmatch(rf"(?s:{_SEVERAL})", answer.strip())
    text = _SCIENTIFIC.sub(r"\1\\times 10^{\3}", answer if inline else rf"\boxed{{{spelling(answer)}}}")
    library = _library()
    found = _in_time(lambda: library.parse(text, parsing_timeout=None)) or []
    # what could not be read is a string
    return tuple(part for part in found if not isinstance(part, str)) or None


def _more_decimals(expression: Any) -> int:
    """How many decimals more than six the smallest number in an expression takes, for five digits of it."""
    from sympy import Basic, floor, log, preorder_traversal

    more, nodes = 0, preorder_traversal(expression)
    for node in nodes:
        if isinstance(node, Basic) and node.is_number:
            nodes.skip()  # its parts are not compared
            if (size := abs(node.evalf())).is_Float and 0 < size < 0.01:
                more = max(more, -2 - int(floor(log(size, 10))))
    return min(more, 1000)


@cache
def _library() -> Any:
    try:
        import math_verify
    except ImportError as error:
        raise InputError("mathematical answers need the extra: pip install 'openprm[math]'") from error
    # it warns that its own time limit is off, and of each expression it cannot read
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    math_verify.parse(r"\boxed{\frac{1}{2}}", parsing_timeout=None)  # what it imports only then
    return math_verify


class _TimeIsUp(BaseException):
    """Not an Exception: SymPy and math-verify catch those."""


def _in_time(work: Callable[[], Any]) -> Any:
    """What `work` returns; None where it is nested too deeply, or its numbers are too large.

    Raises TimeoutError where it takes longer than `SECONDS` of processor time, or more memory than there is.
    """
    try:
        with _limit():
            return work()
    except (RecursionError, OverflowError):
        return None
    except (_TimeIsUp, MemoryError):
        raise TimeoutError(f"not read or compared within {SECONDS:g} s of processor time") from None


@contextmanager
def _limit() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("mathematical answers are compared in a process's main thread only: use processes")
    end = time.thread_time() + SECONDS

    def stop(number: int, frame: FrameType | None) -> None:
        if time.thread_time() >= end:  # the timer counts other threads' time, too
            raise _TimeIsUp

    before = signal.signal(signal.SIGVTALRM, stop)
    # repeatedly, should a library catch the first
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
