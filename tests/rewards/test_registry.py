"""Rewarders by name, and back from their descriptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openprm.engines.specs import RewardSpec
from openprm.errors import InputError
from openprm.rewards.registry import make_rewarder, rewarder_from
from openprm.rewards.reward_model import ModelRewarder


@pytest.mark.parametrize("by", ["answer", "stated", "re:([0-9]+)", "choice", "math", "instructions"])
def test_a_rule_is_made_again_from_its_description(by: str):
    rewarder, _ = make_rewarder(by, name="mine")
    again = rewarder_from(json.loads(json.dumps(rewarder.describe())), "mine")
    assert again is not None
    assert (again.name, again.describe()) == ("mine", rewarder.describe())


def test_a_reward_model_is_made_again_from_its_description_and_folder(base: Path):
    options = {"max_model_len": 99}
    rewarder = ModelRewarder(RewardSpec(str(base), "vllm", dtype="bfloat16", options=options), name="mine")
    description = rewarder.describe()
    again = rewarder_from(description, "mine", base)
    assert again is not None
    assert again.describe() == description
    assert rewarder_from(description, "mine") is None
    assert rewarder_from({**description, "trust_remote_code": True}, "mine", base) is None


@pytest.mark.parametrize(
    "options", [{"trust_remote_code": True}, {"hf_overrides": {"auto_map": {}}}, {"max_model_len": "x"}, {"a": 1}]
)
def test_engine_options_of_a_description_are_limited(base: Path, options: dict[str, Any]):
    description = ModelRewarder(base, name="mine").describe()
    assert rewarder_from({**description, "engine_options": options}, "mine", base) is None


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (
            "guess",
            "unknown reward 'guess'; choose one of math, choice, instructions, answer, stated, re:PATTERN, model",
        ),
        ("file", "needs the file with the rewards: --file"),
        ("model", "needs the model: --model"),
        ("judge", "needs the model: --model"),
    ],
)
def test_what_is_missing_is_said(by: str, message: str):
    with pytest.raises(InputError, match=message):
        make_rewarder(by)
