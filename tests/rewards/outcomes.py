"""Candidates for rules, and what rules say of them."""

from __future__ import annotations

import pickle

from openprm.errors import Failure
from openprm.rewards.base import RewardResult, RuleRewarder
from openprm.schema import SCHEMA_VERSION, Candidate, Message, generated_by, plain_reward


def candidate(response: str, reference: str | None, question: str = "What?") -> Candidate:
    return Candidate(
        schema_version=SCHEMA_VERSION,
        prompt_id="0",
        source="test",
        question=[Message(role="user", content=question)],
        reference=reference,
        response=response,
        sample_index=0,
        generator=generated_by(),
        finish_reason=None,
        n_tokens=None,
        rewards=[],
        marks=[],
    )


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
