"""Rewarding and training with shared prefixes computed once, against not, on a small random Llama."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForSequenceClassification

from benchmarks.timing import Comparison, compare
from openprm.scoring.rewarder import DEFAULT_MAX_TOKENS, SequenceRewarder

VOCABULARY, PAD, END = 512, 0, 2
QUESTION, STEP = 40, 20  # tokens
ANSWERS, PAIRS = 4, 8
PROMPT, STEPS = 200, 8  # of responses to one prompt: its tokens, and the steps of each
TOLERANCE = 1e-4

Groups = list[list[list[int]]]


def model() -> LlamaForSequenceClassification:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 1024,
        "pad_token_id": PAD,
        "num_labels": 1,
        "initializer_range": 0.1,  # so that rewards differ
    }
    return LlamaForSequenceClassification(LlamaConfig(**settings)).eval()


def _tokens(count: int, rng: random.Random) -> list[int]:
    return [rng.randrange(3, VOCABULARY) for _ in range(count)]


def answers(steps: int, rng: random.Random) -> Groups:
    """To a question each."""
    return [group for _ in range(ANSWERS) for group in responses(1, QUESTION, steps, rng)]


def responses(count: int, prompt: int, steps: int, rng: random.Random) -> Groups:
    """To one prompt. For each one sequence a step: the prompt, the response up to there, the end of the turn."""
    question = _tokens(prompt, rng)
    groups = []
    for _ in range(count):
        whole = [*question, *_tokens(steps * STEP, rng)]
        groups.append([[*whole[: prompt + (step + 1) * STEP], END] for step in range(steps)])
    return groups


def pairs(context: int, rng: random.Random) -> Groups:
    """Two sides of one step each, after a shared question and context."""
    shared = [_tokens(QUESTION + context, rng) for _ in range(PAIRS)]
    return [[[*before, *_tokens(STEP, rng), END] for _ in range(2)] for before in shared]


def scoring() -> Iterator[Comparison]:
    reward_model = model()
    packed, plain = (SequenceRewarder(reward_model, packed=choice) for choice in (True, False))
    rng = random.Random(0)
    for steps in (5, 10, 20):
        groups = answers(steps, rng)
        ours = _flat(packed.rewards(groups))
        assert ours.std() > 0.01, "the rewards are equal: nothing is compared"
        for name, max_tokens in (("plain passes, batched", DEFAULT_MAX_TOKENS), ("plain passes, one by one", 1)):
            _equal(ours, _flat(plain.rewards(groups, max_tokens)))
            yield compare(
                f"score, {steps} steps",
                name,
                partial(packed.rewards, groups),
                partial(plain.rewards, groups, max_tokens),
                ANSWERS,
                "answers/s",
                repetitions=3,
            )


def sharing() -> Iterator[Comparison]:
    reward_model = model()
    shared, packed = SequenceRewarder(reward_model), SequenceRewarder(reward_model)
    packed.shares_prompts = False
    rng = random.Random(0)
    for prompts, count in ((1, 64), (16, 4)):
        groups = [group for _ in range(prompts) for group in responses(count, PROMPT, STEPS, rng)]
        _equal(_flat(shared.rewards(groups)), _flat(packed.rewards(groups)))
        yield compare(
            f"score, {prompts} x {count} responses to a prompt",
            "packed, the prompt in each",
            partial(shared.rewards, groups),
            partial(packed.rewards, groups),
            len(groups),
            "responses/s",
        )


def training() -> Iterator[Comparison]:
    reward_model = model()
    packed, plain = (SequenceRewarder(reward_model, packed=choice) for choice in (True, False))
    rng = random.Random(0)
    for context in (0, 100, 300):
        groups = pairs(context, rng)
        with torch.no_grad():
            _equal(packed.forward(reward_model, groups), plain.forward(reward_model, groups))
        yield compare(
            f"train, {QUESTION + context} tokens shared",
            "plain passes, batched",
            _step(packed, reward_model, groups),
            _step(plain, reward_model, groups),
            sum(len(side) for group in groups for side in group),
            "tokens/s",
        )


def _step(rewarder: SequenceRewarder, reward_model: LlamaForSequenceClassification, groups: Groups) -> Callable:
    def step() -> None:
        reward_model.zero_grad()
        chosen, rejected = rewarder.forward(reward_model, groups).view(-1, 2).unbind(1)
        (-torch.nn.functional.logsigmoid(chosen - rejected).mean()).backward()

    return step


def _flat(rewards: list[list[float]]) -> Tensor:
    return torch.tensor([reward for group in rewards for reward in group])


def _equal(ours: Tensor, plain: Tensor) -> None:
    apart = (ours - plain).abs().max().item()
    assert apart <= TOLERANCE, f"packed and plain rewards differ by {apart:.1e}"
