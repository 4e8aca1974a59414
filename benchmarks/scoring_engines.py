"""Step rewards of the same responses by transformers (packed, and plain) and by vLLM, on one small model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig

from benchmarks.timing import Comparison, compare
from openprm import tiny
from openprm.engines.base import RewardEngine
from openprm.engines.hf_rewards import TransformersRewardEngine

PROMPTS, RESPONSES = 2, 16
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
    """Each way against plain passes of transformers; all rewards are checked to be the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(folder)
        plain = TransformersRewardEngine(folder, packed=False)
        expected = plain.rewards(responses(0))
        packed = TransformersRewardEngine(folder)
        yield compared("step rewards, packed", packed, "plain passes of transformers", plain, expected)
        if find_spec("vllm") is None:
            yield "vLLM is not installed: `make bench` measures it in an environment of its own"
            return
        from openprm.engines.vllm_rewards import VllmRewardEngine

        vllm = VllmRewardEngine(folder, enforce_eager=True)
        try:
            yield compared("step rewards with vLLM", vllm, "plain passes of transformers", plain, expected)
            yield compared("step rewards with vLLM", vllm, "packed", packed, expected)
        finally:
            vllm.close()


def compared(
    what: str, ours: RewardEngine, against: str, other: RewardEngine, expected: list[list[float]]
) -> Comparison:
    for engine in (ours, other):
        found = engine.rewards(responses(0))
        pairs = zip(chain.from_iterable(expected), chain.from_iterable(found), strict=True)
        assert max(abs(left - right) for left, right in pairs) < TOLERANCE
    turns = iter(range(1, 1000))  # new responses each time: vLLM keeps what it has read
    steps = PROMPTS * RESPONSES * STEPS
    return compare(
        what,
        against,
        lambda: ours.rewards(responses(next(turns))),
        lambda: other.rewards(responses(next(turns))),
        steps,
        "steps/s",
        repetitions=REPETITIONS,
    )
