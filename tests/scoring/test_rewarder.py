"""Packed passes, prompts shared or not, give what one plain pass per sequence gives, or are not used."""

from __future__ import annotations

import logging
import random
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openprm.scoring import forward as passes
from openprm.scoring.packing import collate
from openprm.scoring.rewarder import SequenceRewarder
from tests import tiny_models

TOLERANCE = 1e-4

sequences = st.lists(st.lists(st.integers(3, 6), min_size=1, max_size=9), min_size=1, max_size=8)


@lru_cache
def rewarder(name: str) -> SequenceRewarder:
    return SequenceRewarder(tiny_models.model(name))


def one_by_one(model, groups) -> torch.Tensor:
    """The oracle: each sequence alone through transformers' own forward, nothing of ours."""
    rows = [sequence for group in groups for sequence in group]
    return torch.stack([model(input_ids=torch.tensor([row])).logits[0, 0] for row in rows])


def prefixes(seed: int, sizes=(9, 14, 23, 40), end=(5, 2)) -> list[list[int]]:
    tokens = random.Random(seed).choices(range(3, tiny_models.VOCABULARY), k=max(sizes))
    return [[*tokens[:size], *end] for size in sizes]


def flat(rewards) -> torch.Tensor:
    return torch.tensor([reward for group in rewards for reward in group])


GROUPS = [prefixes(1), prefixes(2, (5, 30)), [[7, 8, 9], [7, 8, 9], [7, 8]], [[9]]]


def prompted(seed: int, size: int, responses: int, end=(5, 2)) -> list[list[list[int]]]:
    """Groups of growing prefixes behind one prompt of `size` tokens."""
    draw = random.Random(seed)
    prompt = draw.choices(range(3, tiny_models.VOCABULARY), k=size)
    groups = []
    for _ in range(responses):
        answer = draw.choices(range(3, tiny_models.VOCABULARY), k=24)
        groups.append([[*prompt, *answer[:written], *end] for written in sorted(draw.sample(range(1, 25), 3))])
    return groups


#: Three prompts of different lengths, one of them too short to share; a response twice; and what stands alone.
PROMPTED = [*prompted(1, 40, 3), *GROUPS, *prompted(2, 23, 4), *prompted(1, 40, 3)[:2], *prompted(3, 7, 2)]

# --- rewards and gradients ---


@pytest.mark.parametrize("name", tiny_models.PACKABLE)
@settings(max_examples=6)
@given(groups=st.lists(sequences, min_size=1, max_size=3))
def test_packed_rewards_of_any_groups(name, groups):
    scorer = rewarder(name)
    with torch.no_grad():
        expected = one_by_one(scorer.model, groups)
    torch.testing.assert_close(flat(scorer.rewards(groups)), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", tiny_models.PACKABLE)
@pytest.mark.parametrize("max_tokens", [1, 150, 10_000])
def test_rewards_behind_shared_prompts_are_those_of_one_pass_per_sequence(name, max_tokens):
    scorer = rewarder(name)
    assert scorer.packed
    assert scorer.shares_prompts
    assert scorer.difference is not None
    assert scorer.difference < TOLERANCE
    groups = random.Random(max_tokens).sample(PROMPTED, len(PROMPTED))
    with torch.no_grad():
        expected = one_by_one(scorer.model, groups)
    assert expected.std() > 0.1, "rewards that are all alike prove nothing"
    torch.testing.assert_close(flat(scorer.rewards(groups, max_tokens)), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["llama", "gemma3"])
@settings(max_examples=10)
@given(prompts=st.lists(st.integers(1, 50), max_size=3), seed=st.integers(0, 9), max_tokens=st.integers(0, 500))
def test_rewards_behind_any_prompts(name, prompts, seed, max_tokens):
    scorer = rewarder(name)
    groups = [group for size in prompts for group in prompted(seed, size, 2)] + [[[7] * (3 * seed + 1)]]
    with torch.no_grad():
        expected = one_by_one(scorer.model, groups)
    torch.testing.assert_close(flat(scorer.rewards(groups, max_tokens)), expected, atol=TOLERANCE, rtol=0)


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
    model.train()
    found = gradients(model, scorer.forward(model, GROUPS))
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, atol=TOLERANCE, rtol=TOLERANCE)


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
    model = tiny_models.model(dtype=dtype)
    scorer = SequenceRewarder(model)
    assert scorer.shares_prompts
    with torch.no_grad():
        torch.testing.assert_close(
            flat(scorer.rewards(PROMPTED)), one_by_one(model, PROMPTED).float(), atol=0.05, rtol=0.02
        )


def test_autocast_gives_finite_rewards_and_gradients():
    model = tiny_models.model(attn_implementation="eager")
    scorer = SequenceRewarder(model)
    with torch.autocast("cpu", torch.bfloat16):
        rewards = scorer.forward(model, GROUPS)
    assert all(gradient.isfinite().all() for gradient in gradients(model, rewards).values())
    torch.testing.assert_close(rewards.detach(), one_by_one(model, GROUPS).detach(), atol=0.1, rtol=0.05)


# --- order, batches, padding ---


@pytest.mark.parametrize("name", ["llama", "mistral-window", "bert", "mpt", "qwen3-next"])
@pytest.mark.parametrize("max_tokens", [1, 70, 10_000])
def test_rewards_do_not_depend_on_batches_or_order(name, max_tokens):
    scorer = rewarder(name)
    expected = scorer.rewards(PROMPTED)
    assert scorer.rewards([]) == []
    assert scorer.rewards([[], PROMPTED[0]], max_tokens)[0] == []
    found = scorer.rewards(PROMPTED[::-1], max_tokens)[::-1]
    assert [len(group) for group in found] == [len(group) for group in PROMPTED]
    torch.testing.assert_close(flat(found), flat(expected), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mpt"])
def test_without_a_padding_token_rewards_work_and_training_says_what_to_do(name):
    model = tiny_models.model(name, pad_token_id=None)
    scorer = SequenceRewarder(model)
    with torch.no_grad():
        expected = one_by_one(model, PROMPTED)
    torch.testing.assert_close(flat(scorer.rewards(PROMPTED)), expected, atol=TOLERANCE, rtol=0)
    with pytest.raises(ValueError, match="set model"):
        scorer.forward(model, GROUPS)


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


# --- the trial at load time ---


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mpt", "differ by"),
        ("gpt-neo", "differ by"),
        ("bloom", "failed"),
        ("qwen3-next", "linear_attention"),
        ("bert", "`score` head"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_models_that_cannot_be_packed_take_plain_passes_and_say_why(name, reason, dtype, caplog):
    with caplog.at_level(logging.WARNING, logger="openprm.scoring.rewarder"):
        scorer = SequenceRewarder(tiny_models.model(name, dtype=dtype))
    assert not scorer.packed
    assert len(caplog.records) == 1
    assert reason in caplog.text
    # In bfloat16 the model itself depends on what else is in a batch: by 0.17 with Qwen3-Next in transformers 5.16.
    if dtype == torch.float32:
        with torch.no_grad():
            expected = one_by_one(scorer.model, GROUPS)
        torch.testing.assert_close(flat(scorer.rewards(GROUPS)), expected, atol=TOLERANCE, rtol=0)


def test_models_that_are_refused_or_not_packed(caplog):
    with pytest.raises(ValueError, match="num_labels=1"):
        SequenceRewarder(tiny_models.model(num_labels=2))
    flash = tiny_models.model()
    flash.config._attn_implementation = "flash_attention_2"
    assert not SequenceRewarder(flash).packed
    assert 'attn_implementation="sdpa"' in caplog.text
    headless = tiny_models.model("mpt")  # a new head of zeros does not hide a mismatch
    torch.nn.init.zeros_(headless.score.weight)
    assert not SequenceRewarder(headless).packed


def test_forcing_packed_passes_is_refused_without_a_head_and_wrong_with_alibi():
    with pytest.raises(ValueError, match="score"):
        SequenceRewarder(tiny_models.model("bert"), packed=True)
    forced = SequenceRewarder(tiny_models.model("mpt"), packed=True)
    with torch.no_grad():
        expected = one_by_one(forced.model, GROUPS)
    assert (flat(forced.rewards(GROUPS)) - expected).abs().max() > 0.01, "so the trial is needed"


@pytest.mark.parametrize("name", ["mistral-window", "gemma2"])
def test_a_window_longer_than_the_trial_is_tried_all_the_same(name, monkeypatch):
    model = tiny_models.model(name, sliding_window=200)
    assert SequenceRewarder(model).shares_prompts
    assert model.config.sliding_window == 200

    def forgets_the_window(packs, pad_token_id, config, dtype, device):
        inputs = collate(packs, pad_token_id, tiny_models.model("llama").config, dtype, device)
        if config.get_text_config().to_dict().get("layer_types"):
            inputs["attention_mask"] = dict.fromkeys(config.layer_types, inputs["attention_mask"])
        return inputs

    monkeypatch.setattr(passes, "collate", forgets_the_window)
    assert not SequenceRewarder(model).packed


class ForgetsWhatIsBefore(torch.nn.Module):
    """A backbone that takes a cache but does not attend to what is in it."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, *args, attention_mask=None, past_key_values=None, **kwargs):
        if past_key_values is not None and past_key_values.get_seq_length():
            attention_mask = attention_mask[..., -attention_mask.shape[-2] :]
            past_key_values = None
        return self.backbone(*args, attention_mask=attention_mask, past_key_values=past_key_values, **kwargs)


def test_a_model_whose_cache_is_not_exact_is_packed_without_sharing(caplog):
    model = tiny_models.model()
    model.model = ForgetsWhatIsBefore(model.model)
    with caplog.at_level(logging.WARNING, logger="openprm.scoring.rewarder"):
        scorer = SequenceRewarder(model)
    assert (scorer.packed, scorer.shares_prompts) == (True, False)
    assert len(caplog.records) == 1
    assert "prompt" in caplog.text
    with torch.no_grad():
        expected = one_by_one(model, PROMPTED)
    torch.testing.assert_close(flat(scorer.rewards(PROMPTED)), expected, atol=TOLERANCE, rtol=0)


def test_the_trial_leaves_random_state_and_modes_alone():
    model = tiny_models.model("qwen2")
    model.train()
    model.score.eval()
    state = torch.get_rng_state()
    SequenceRewarder(model).rewards(PROMPTED)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model.score.training
    assert not model.score._forward_hooks


def test_rotary_frequencies_that_depend_on_the_longest_sequence_of_a_pass():
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 64}
    rope |= {"short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
    model = tiny_models.model("llama", rope_parameters=rope)
    scorer = SequenceRewarder(model)
    assert scorer.packed
    groups = [prefixes(5, (20, 60, 90)), prefixes(6, (30, 50)), prefixes(7, (70,))]
    with torch.no_grad():
        expected = one_by_one(model, groups)
        together = scorer.forward(model, groups)
    assert (together - expected).abs().max() > 0.01
    torch.testing.assert_close(flat(scorer.rewards(groups)), expected, atol=TOLERANCE, rtol=0)
    groups = [*prompted(8, 50, 3), *prompted(8, 60, 2), *prompted(9, 20, 2)]
    with torch.no_grad():
        expected = one_by_one(model, groups)
    torch.testing.assert_close(flat(scorer.rewards(groups)), expected, atol=TOLERANCE, rtol=0)
