"""Packed passes, with and without shared prompts, give what one plain pass per sequence gives."""

from __future__ import annotations

import random
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openprm.scoring.rewarder import SequenceRewarder
from tests import tiny_models

TOLERANCE = 1e-4


@lru_cache
def rewarder(name: str) -> SequenceRewarder:
    return SequenceRewarder(tiny_models.model(name))


def one_by_one(model, groups) -> torch.Tensor:
    """The oracle: each sequence alone through transformers, without this package."""
    rows = [sequence for group in groups for sequence in group]
    return torch.stack([model(input_ids=torch.tensor([row])).logits[0, 0] for row in rows])


def prefixes(seed: int, sizes=(9, 14, 23, 40), end=(5, 2)) -> list[list[int]]:
    tokens = random.Random(seed).choices(range(3, tiny_models.VOCABULARY), k=max(sizes))
    return [[*tokens[:size], *end] for size in sizes]


def flat(rewards) -> torch.Tensor:
    return torch.tensor([reward for group in rewards for reward in group])


def check(scorer, groups, *max_tokens, atol=TOLERANCE, rtol=0.0) -> torch.Tensor:
    """The rewards are those of the oracle, which are returned."""
    with torch.no_grad():
        expected = one_by_one(scorer.model, groups).float()
    torch.testing.assert_close(flat(scorer.rewards(groups, *max_tokens)), expected, atol=atol, rtol=rtol)
    return expected


GROUPS = [prefixes(1), prefixes(2, (5, 30)), [[7, 8, 9], [7, 8, 9], [7, 8]], [[9]]]


def prompted(seed: int, size: int, responses: int, end=(5, 2)) -> list[list[list[int]]]:
    """Groups of growing prefixes after one prompt of `size` tokens."""
    draw = random.Random(seed)
    prompt = draw.choices(range(3, tiny_models.VOCABULARY), k=size)
    groups = []
    for _ in range(responses):
        answer = draw.choices(range(3, tiny_models.VOCABULARY), k=24)
        groups.append([[*prompt, *answer[:written], *end] for written in sorted(draw.sample(range(1, 25), 3))])
    return groups


#: Three prompts of different lengths, one of them too short to share; a response twice; single ones; an empty group.
PROMPTED = [*prompted(1, 40, 3), *GROUPS, [], *prompted(2, 23, 4), *prompted(1, 40, 3)[:2], *prompted(3, 7, 2)]

# --- rewards and gradients ---


@pytest.mark.parametrize("name", tiny_models.PACKABLE)
@settings(max_examples=6)
@given(
    groups=st.lists(st.lists(st.lists(st.integers(3, 6), min_size=1, max_size=9), max_size=8), min_size=1, max_size=3)
)
def test_packed_rewards_of_any_groups(name, groups):
    check(rewarder(name), [*groups, [[9]]])


@pytest.mark.parametrize("name", [*tiny_models.PACKABLE, "bert", "mpt", "qwen3-next"])
@pytest.mark.parametrize("max_tokens", [1, 150, 10_000])
def test_rewards_in_any_order_and_batches_are_those_of_one_pass_per_sequence(name, max_tokens):
    scorer = rewarder(name)
    assert scorer.packed == scorer.shares_prompts == (name in tiny_models.PACKABLE)
    assert not scorer.packed or scorer.difference < TOLERANCE
    assert scorer.rewards([]) == []
    expected = check(scorer, random.Random(max_tokens).sample(PROMPTED, len(PROMPTED)), max_tokens)
    assert expected.std() > 0.1, "equal rewards prove nothing"


@pytest.mark.parametrize("name", ["llama", "gemma3"])
@settings(max_examples=10)
@given(prompts=st.lists(st.integers(1, 50), max_size=3), seed=st.integers(0, 9), max_tokens=st.integers(0, 500))
def test_rewards_after_any_prompts(name, prompts, seed, max_tokens):
    groups = [group for size in prompts for group in prompted(seed, size, 2)] + [[[7] * (3 * seed + 1)]]
    check(rewarder(name), groups, max_tokens)


def computed_tokens(scorer, groups, max_tokens=10_000) -> tuple[int, int]:
    """How many tokens, padding included, and how many passes."""
    sizes = []
    handle = scorer.model.score.register_forward_hook(lambda _, args, output: sizes.append(output.numel()))
    scorer.rewards(groups, max_tokens)
    handle.remove()
    return sum(sizes), len(sizes)


def test_a_prompt_and_a_repeated_answer_are_computed_once():
    scorer = rewarder("llama")
    prompt, answers = list(range(3, 53)), [[60, 61, 62], [70, 71, 72], [80, 81, 82]]
    groups = [[[*prompt, *answer]] for answer in answers]
    assert computed_tokens(scorer, groups) == (50 + 3 * 3, 2)
    assert computed_tokens(scorer, groups * 4) == (50 + 3 * 3, 2)
    assert computed_tokens(scorer, [groups[0]] * 4) == (53, 1)
    short = [[group[0][40:]] for group in groups]
    assert computed_tokens(scorer, short) == (3 * 13, 1), "a short prompt is not worth a pass of its own"


def test_answers_to_many_prompts_share_passes():
    scorer = rewarder("llama")
    groups = [[[*range(first, first + 40), *answer]] for first in range(3, 23) for answer in ([90, 91], [92, 93])]
    assert computed_tokens(scorer, groups) == (20 * 40 + 40 * 2, 2)
    tokens, passes = computed_tokens(scorer, groups, 420)  # 10 prompts, or 10 answers and what they follow
    assert (tokens, passes) == (20 * 40 + 40 * 2, 2 + 4)


def test_equal_sequences_have_equal_rewards():
    """To the last bit: answers that share their worst step are tied, whatever they are computed with."""
    scorer = rewarder("llama")
    shared = prefixes(1, (20,))[0]
    groups = [[shared, *prefixes(seed, (9 + 7 * seed % 60, 90))] for seed in range(2, 40)]
    assert len({rewards[0] for rewards in scorer.rewards(groups, max_tokens=700)}) == 1


def gradients(model, rewards) -> dict[str, torch.Tensor]:
    weights = torch.linspace(-1, 1, len(rewards))
    model.zero_grad()
    (weights * rewards).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", [*tiny_models.PACKABLE, *tiny_models.NOT_PACKABLE])
def test_gradients_are_those_of_one_pass_per_sequence(name):
    scorer = rewarder(name)
    expected = gradients(scorer.model, one_by_one(scorer.model, GROUPS))
    found = gradients(scorer.model, scorer.forward(scorer.model, GROUPS))
    assert max(gradient.abs().max() for gradient in expected.values()) > 0.1
    for parameter, gradient in expected.items():
        # Sums over many tokens: relative to the largest of the parameter.
        error = (found[parameter] - gradient).abs().max() / gradient.abs().max().clamp(min=1)
        assert error < TOLERANCE, parameter


def test_gradients_with_checkpointing():
    model = tiny_models.model()
    scorer = SequenceRewarder(model)
    expected = gradients(model, scorer.forward(model, GROUPS))
    model.gradient_checkpointing_enable()
    found = gradients(model.train(), scorer.forward(model, GROUPS))
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=TOLERANCE)


class Wrapper(torch.nn.Module):
    """What DDP is to a model: its hooks must see every call, and exactly one a step."""

    def __init__(self, model):
        super().__init__()
        self.module, self.calls = model, 0

    def forward(self, **inputs):
        self.calls += 1
        return self.module(**inputs)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_training_calls_the_wrapped_model_once(name):
    scorer = rewarder(name)
    wrapped = Wrapper(scorer.model)
    rewards = scorer.forward(wrapped, GROUPS)
    assert wrapped.calls == 1
    assert rewards.dtype == torch.float32
    torch.testing.assert_close(rewards, one_by_one(scorer.model, GROUPS), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_packed(dtype):
    scorer = SequenceRewarder(tiny_models.model(dtype=dtype))
    assert scorer.shares_prompts
    check(scorer, PROMPTED, atol=0.05, rtol=0.02)


def test_autocast_gives_finite_rewards_and_gradients():
    model = tiny_models.model(attn_implementation="eager")
    scorer = SequenceRewarder(model)
    with torch.autocast("cpu", torch.bfloat16):
        rewards = scorer.forward(model, GROUPS)
    assert all(gradient.isfinite().all() for gradient in gradients(model, rewards).values())
    torch.testing.assert_close(rewards.detach(), one_by_one(model, GROUPS).detach(), atol=0.1, rtol=0.05)


# --- padding ---


@pytest.mark.parametrize("name", ["llama", "gpt2", "mpt"])
def test_without_a_padding_token_rewards_work_and_training_says_what_to_do(name):
    scorer = SequenceRewarder(tiny_models.model(name, pad_token_id=None))
    check(scorer, PROMPTED)
    with pytest.raises(ValueError, match="set model"):
        scorer.forward(scorer.model, GROUPS)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mpt"])
def test_sequences_that_end_with_the_padding_token_are_read_at_their_last_token(name, caplog):
    groups = [prefixes(3), [[4, 2, 2], [4]]]
    with torch.no_grad():
        expected = one_by_one(tiny_models.model(name, pad_token_id=None), groups)
    scorer = SequenceRewarder(tiny_models.model(name, pad_token_id=2))
    caplog.clear()
    torch.testing.assert_close(flat(scorer.rewards(groups)), expected, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(scorer.forward(scorer.model.eval(), groups), expected, atol=TOLERANCE, rtol=0)
    scorer.rewards(groups)
    (record,) = caplog.records
    assert "padding token" in record.message
