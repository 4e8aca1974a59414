"""Rewards with a real vLLM (`make test-engines`), on a tiny model; without it only what needs none."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaForCausalLM

from openprm.engines.transformers_rewards import TransformersRewardEngine
from openprm.engines.vllm_rewards import VllmRewardEngine
from openprm.errors import InputError
from tests import tiny_models

with_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-engines")


def test_a_language_model_gives_no_rewards(tmp_path: Path) -> None:
    model: Any = LlamaForCausalLM(tiny_models.model().config)
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="sequence-classification"):
        VllmRewardEngine(tmp_path)


@with_vllm
@pytest.mark.slow
def test_rewards_are_those_of_transformers(vllm_rewards: VllmRewardEngine, reward_model: Path) -> None:
    rng = random.Random(0)
    answers = [[rng.randrange(3, 90) for _ in range(rng.randrange(40, 200))] for _ in range(12)]
    groups = [[answer[:size] for size in (1, 17, 33, len(answer))] for answer in answers]
    groups += [[groups[0][-1]], [], [[*answers[0][:32], *answers[1][:20]]]]  # shared between groups, too
    plain = TransformersRewardEngine(reward_model, packed=False).rewards(groups)
    assert min(plain[0]) < -0.1 or max(plain[0]) > 1.1  # no sigmoid
    for _ in range(2):  # the second time out of the prefix cache
        for found, expected in zip(vllm_rewards.rewards(groups), plain, strict=True):
            assert found == pytest.approx(expected, abs=1e-3)
    backwards = vllm_rewards.rewards([group[::-1] for group in groups[::-1]])
    for found, expected in zip(backwards, plain[::-1], strict=True):
        assert found == pytest.approx(expected[::-1], abs=1e-3)


@with_vllm
@pytest.mark.slow
def test_sequences_that_do_not_fit(vllm_rewards: VllmRewardEngine) -> None:
    assert vllm_rewards.max_length == 256
    assert vllm_rewards.rewards([]) == []
    for length in (0, 257):
        with pytest.raises(ValueError, match=f"{length} tokens"):
            vllm_rewards.rewards([[[5], [5] * length]])
