"""Rewards with a real vLLM (`make test-engines`), on a tiny model; without it only what needs none."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, LlamaForCausalLM

from openprm.engines.vllm_rewards import VllmRewardEngine
from openprm.errors import InputError
from tests import tiny_models

with_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-engines")

#: What vLLM can run on a CPU: heads of 32.
HEADS: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It asks for a sigmoid, as a reward model of others may: rewards are raw all the same."""
    folder = tmp_path_factory.mktemp("vllm") / "reward"
    tokenizer = tiny_models.tokenizer()
    model = tiny_models.model(vocab_size=len(tokenizer), **HEADS)
    model.config.problem_type = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def engine(reward_model: Path) -> Iterator[VllmRewardEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
        patch.setenv("OMP_NUM_THREADS", "1")
        made = VllmRewardEngine(reward_model, enforce_eager=True)
        yield made
        made.close()


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_it_says_what_to_install(reward_model: Path) -> None:
    with pytest.raises(InputError, match=r"openprm\[vllm\]"):
        VllmRewardEngine(reward_model)


def test_a_language_model_gives_no_rewards(tmp_path: Path) -> None:
    model: Any = LlamaForCausalLM(tiny_models.model(**HEADS).config)
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="sequence-classification"):
        VllmRewardEngine(tmp_path)


@with_vllm
@pytest.mark.slow
def test_rewards_are_those_of_transformers(engine: VllmRewardEngine, reward_model: Path) -> None:
    rng = random.Random(0)
    answers = [[rng.randrange(3, 90) for _ in range(rng.randrange(40, 200))] for _ in range(12)]
    groups = [[answer[:size] for size in (1, 17, 33, len(answer))] for answer in answers]
    groups += [[groups[0][-1]], [], [[*answers[0][:32], *answers[1][:20]]]]  # shared between groups, too
    model = AutoModelForSequenceClassification.from_pretrained(reward_model)
    with torch.no_grad():
        plain = [[model(torch.tensor([sequence])).logits.item() for sequence in group] for group in groups]
    assert min(plain[0]) < -0.1 or max(plain[0]) > 1.1  # no sigmoid
    for _ in range(2):  # the second time out of the prefix cache
        for found, expected in zip(engine.rewards(groups), plain, strict=True):
            assert found == pytest.approx(expected, abs=1e-3)
    backwards = engine.rewards([group[::-1] for group in groups[::-1]])
    for found, expected in zip(backwards, plain[::-1], strict=True):
        assert found == pytest.approx(expected[::-1], abs=1e-3)


@with_vllm
@pytest.mark.slow
def test_what_does_not_fit(engine: VllmRewardEngine) -> None:
    assert engine.max_length == 256
    assert engine.rewards([]) == []
    for length in (0, 257):
        with pytest.raises(ValueError, match=f"{length} tokens"):
            engine.rewards([[[5], [5] * length]])
