"""Step rewards of the same responses by transformers and by vLLM, on one small model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig

from benchmarks.timing import Comparison, compare
from openprm.engines.transformers_rewards import TransformersRewardEngine
from openprm.presets import toy_domain as tiny

PROMPTS, RESPONSES = 2, 8
PROMPT, STEPS, STEP = 200, 8, 20  # in tokens
REPETITIONS = 3
TOLERANCE = 1e-3

Groups = list[list[list[int]]]


def save_model(folder: Path) -> None:
    """A Llama of 13 million random weights. vLLM on a CPU takes no heads narrower than 32."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tiny.tokenizer()),
        hidden_size=512,
        intermediate_size=1024,
        num_hidden_layers=5,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=512,
        pad_token_id=0,
    )
    config.num_labels = 1
    model = AutoModelForSequenceClassification.from_config(config)
    model.config.problem_type = "regression"
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)


def responses(seed: int) -> Groups:
    """The prefixes of each response, each with an end of turn."""
    generator = torch.Generator().manual_seed(seed)
    size = len(tiny.tokenizer())

    def drawn(n: int) -> list[int]:
        return torch.randint(3, size, (n,), generator=generator).tolist()

    groups = []
    for _ in range(PROMPTS):
        prompt = drawn(PROMPT)
        for _ in range(RESPONSES):
            answer = drawn(STEPS * STEP)
            groups.append([prompt + answer[: STEP * (step + 1)] + [2] for step in range(STEPS)])
    return groups


def comparisons() -> Iterator[Comparison | str]:
    """vLLM against packed transformers; the rewards of both are checked against plain passes of transformers."""
    if find_spec("vllm") is None:
        yield "vLLM is not installed: `make bench` measures it in an environment of its own"
        return
    from openprm.engines.vllm_rewards import VllmRewardEngine

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(folder)
        expected = TransformersRewardEngine(folder, packed=False).rewards(responses(0))
        packed = TransformersRewardEngine(folder)
        vllm = VllmRewardEngine(folder, enforce_eager=True)
        try:
            for engine in (packed, vllm):
                check(engine.rewards(responses(0)), expected)
            turns = count(1)  # new responses each time: vLLM keeps what it has read
            yield compare(
                "step rewards with vLLM",
                "transformers, packed",
                lambda: vllm.rewards(responses(next(turns))),
                lambda: packed.rewards(responses(next(turns))),
                PROMPTS * RESPONSES * STEPS,
                "steps/s",
                repetitions=REPETITIONS,
            )
        finally:
            vllm.close()


def check(found: list[list[float]], expected: list[list[float]]) -> None:
    pairs = zip(chain.from_iterable(found), chain.from_iterable(expected), strict=True)
    assert max(abs(left - right) for left, right in pairs) < TOLERANCE
