"""Rewarders by name, and back from their descriptions."""

from __future__ import annotations

import json

import pytest

from openprm.errors import InputError
from openprm.rewards.registry import make_rewarder, rule_from


@pytest.mark.parametrize("by", ["answer", "stated", "re:([0-9]+)", "choice", "math", "instructions"])
def test_a_rule_is_made_again_from_its_description(by: str):
    rewarder, _ = make_rewarder(by, name="mine")
    again = rule_from(json.loads(json.dumps(rewarder.describe())), "mine")
    assert again is not None
    assert (again.name, again.describe()) == ("mine", rewarder.describe())


def test_other_rewards_are_not_rules():
    for description in ({}, {"kind": "model"}, {"judge": "x"}, {"kind": "given"}):
        assert rule_from(description, "mine") is None


@pytest.mark.parametrize(
    ("by", "model", "message"),
    [
        ("guess", None, "choose one of math, choice, instructions, answer, stated, re:PATTERN, model, judge, file"),
        ("file", None, "needs the file with the rewards: --file"),
        ("model", None, "needs the model: --model"),
        ("judge", None, "needs the model: --model"),
        ("judge", "m", "needs the servers"),
    ],
)
def test_what_is_missing_is_said(by: str, model: str | None, message: str):
    with pytest.raises(InputError, match=message):
        make_rewarder(by, model=model)
