"""Candidates for rules, and what rules say of them."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

from openprm.errors import Failure
from openprm.rewards.base import RewardResult, RuleRewarder
from openprm.schema import Candidate, plain_reward
from tests import folders


def candidate(response: str, reference: str | None = None, question: str = "What?", index: int = 0) -> Candidate:
    asked = [{"role": "user", "content": question}]
    return folders.candidate("p", index, response, reference=reference, question=asked)  # type: ignore[return-value]


def outcome(rule: RuleRewarder, response: str, reference: str | None, question: str = "What?") -> RewardResult:
    """What `rule` says, sent to another process first: the stage does so."""
    sent: RuleRewarder = pickle.loads(pickle.dumps(rule))
    return sent.reward(candidate(response, reference, question))


def failure(rule: RuleRewarder, response: str, reference: str | None, question: str = "What?") -> Failure:
    found = outcome(rule, response, reference, question)
    assert found.reward is None
    assert found.failure is not None
    assert not found.failure.transient
    return found.failure


def reward(name: str, value: float, *marks: str) -> RewardResult:
    return RewardResult(plain_reward(name, value), marks=marks)


#: Between texts of 40,000 characters, that make readers slow whose time is quadratic.
AROUND = (("", ""), ("", "x"), ("", "\nx"), ("The answer is ", ""), ("The answer is ", " x\ny"), (r"\boxed{", ""))


def assert_quick(read: Callable[[str], Any], unit: str) -> None:
    """Whether `read` takes little time for long texts that repeat `unit`."""
    for before, after in AROUND:
        start = time.process_time()
        read(before + unit * (40_000 // len(unit)) + after)
        assert time.process_time() - start < 2, (before, after)
