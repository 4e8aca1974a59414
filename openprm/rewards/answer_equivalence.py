r"""Which responses to one question give the same answer, so that they can vote for it.

    labels(["... the answer is 0.5", "So 1/2.", "The answer is 3"], "math")  ->  ["0.5", "0.5", "3"]

Equal labels are equal answers, whichever of the equal spellings stands for them. Pure Python, except for `math`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..errors import InputError
from ..schema import Message
from .exact_answer import DEFAULT_PATTERN, extract_answer
from .multiple_choice import options_of, stated_option

logger = logging.getLogger(__name__)

#: exact: one normalized spelling. option: one letter of a multiple choice. math: mathematically equal (math-verify).
EQUIVALENCES = ("exact", "option", "math")
DEFAULT_EQUIVALENCE = "exact"
# by the description of a rule
_OF_RULE = {"golden answer": "exact", "multiple choice": "option", "mathematics": "math"}


def equivalence_of(rule: Mapping[str, Any] | None) -> str | None:
    """The equivalence of the rule that graded answers, by its description; None where there is none or another one."""
    return _OF_RULE.get((rule or {}).get("rule", ""))


def labels(
    responses: Sequence[str],
    equivalence: str = DEFAULT_EQUIVALENCE,
    pattern: str = DEFAULT_PATTERN,
    question: Sequence[Message] = (),
) -> list[str | None]:
    """For each response to one question the label of its answer; None where it states none.

    `exact` finds the answer by `pattern` (see `openprm.rewards.extract_answer`); `option` takes an option's text for
    its letter, as `question` shows them. Raises InputError for an unknown equivalence or pattern, and where `math`
    lacks its extra; RuntimeError for `math` outside the main thread.
    """
    if equivalence == "exact":
        return [extract_answer(response, pattern) for response in responses]
    if equivalence == "option":
        options = options_of(question)
        return [stated_option(response, options) for response in responses]
    if equivalence == "math":
        from .math_answer import stated_expression

        return _mathematical([stated_expression(response) for response in responses])
    raise InputError(f"unknown equivalence {equivalence!r}; choose one of {', '.join(EQUIVALENCES)}")


def stated_answer(text: str, question: Sequence[Message] = ()) -> str | None:
    """The final answer that a step or response states, as the rules of the rewards read it; None where it states none.

    An option's letter where `question` shows options; else the answer as it is spelled (see `normalize`).
    """
    options = options_of(question)
    option = stated_option(text, options)
    return option if option and options else extract_answer(text, "stated") or option


def _mathematical(answers: Sequence[str | None]) -> list[str | None]:
    """For each answer one of those that it equals; one that cannot be read as mathematics equals only itself.

    Answers of one label all equal one another: 50% may stand with 50 or with 0.5, which stay apart. The groups are the
    same in any order of the answers. What is not compared in time counts as different, with a warning; an answer that
    takes too long with two others is compared no more.
    """
    from .math_answer import equal, read, spelling

    spelled = [answer and spelling(answer) for answer in answers]
    slow: list[str] = []
    late: dict[str, set[str]] = defaultdict(set)  # of an answer those that it was not compared with in time

    def readable(answer: str) -> bool:
        with suppress(TimeoutError):
            return bool(read(answer))
        slow.append(answer)
        return False

    def same(one: str, other: str) -> bool:
        if len(late[one]) > 1 or len(late[other]) > 1:  # no more time for it
            return False
        try:
            # in both orders: an answer may be written more freely than the reference that it is compared with
            return bool(equal(one, other) or equal(other, one))
        except TimeoutError:
            slow.append(one)
            late[one].add(other)
            late[other].add(one)
            for answer in (other, one):
                if len(late[answer]) > 1:  # not the fault of the others
                    for innocent in late[answer]:
                        late[innocent].discard(answer)
            return False

    groups: list[list[str]] = []
    for answer in sorted(set(filter(None, spelled)), key=lambda text: ("%" in text, text)):
        comparable = groups if readable(answer) else []
        group = next((group for group in comparable if all(same(answer, other) for other in group)), None)
        groups.append([answer]) if group is None else group.append(answer)
    if slow:
        logger.warning("%d comparisons of answers took too long and count as different: %s", len(slow), slow[0][:80])
    found = {answer: group[0] for group in groups for answer in group}
    return [answer and found[answer] for answer in spelled]
