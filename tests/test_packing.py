"""Packed passes give what one plain pass per sequence gives, or are not used."""

from __future__ import annotations

import logging
import random
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openprm import packing
from openprm.packing import Pack, SequenceRewarder, batches, collate, pack
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

# --- the trie ---


def walk(packed: Pack, end: int) -> list[int]:
    tokens = []
    while end >= 0:
        tokens.append(packed.tokens[end])
        end = packed.parents[end]
    return tokens[::-1]


@given(sequences)
def test_walking_back_from_an_end_gives_the_sequence_and_prefixes_are_kept_once(rows):
    packed = pack(rows)
    assert [walk(packed, end) for end in packed.ends] == rows
    assert len(packed.tokens) == len({tuple(row[:size]) for row in rows for size in range(1, len(row) + 1)})
    for index, parent in enumerate(packed.parents):
        assert parent < index
        assert packed.depths[index] == (packed.depths[parent] + 1 if parent >= 0 else 0)


def test_an_empty_sequence_is_an_error_and_no_sequences_are_an_empty_pack():
    with pytest.raises(ValueError, match="sequence 1 is empty"):
        pack([[1], []])
    assert pack([]) == Pack([], [], [], [])


@given(sequences, st.sampled_from([None, 1, 2, 3]))
@settings(max_examples=40, deadline=None)
def test_a_token_sees_its_ancestors_within_the_window_and_nothing_else(rows, window):
    class Config:
        sliding_window = window

        def get_text_config(self):
            return self

    packs = [pack(rows), pack(rows[:1])]
    inputs = collate(packs, 0, Config(), torch.float32, "cpu")
    mask = inputs["attention_mask"]
    assert mask.shape == (2, 1, len(packs[0].tokens), len(packs[0].tokens))
    for row, packed in enumerate(packs):
        for query in range(len(packed.tokens)):
            seen, node = set(), query
            while node >= 0 and (window is None or len(seen) < window):
                seen.add(node)
                node = packed.parents[node]
            assert set((mask[row, 0, query] == 0).nonzero().flatten().tolist()) == seen
    assert mask.unique().tolist() in ([0.0], [torch.finfo(torch.float32).min, 0.0])
    assert (mask.max(-1).values == 0).all(), "padding must see something too, or a softmax is NaN"


def test_a_layer_type_that_no_mask_can_express_is_an_error():
    config = tiny_models.model("qwen3").config
    config.layer_types = ["full_attention", "chunked_attention"]
    with pytest.raises(ValueError, match="chunked_attention"):
        collate([pack([[1]])], 0, config, torch.float32, "cpu")


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(0, 60))
def test_batches_hold_everything_once_within_the_budget(lengths, max_tokens):
    made = batches(lengths, max_tokens)
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= max_tokens
    assert all(
        len(batch) == 1 or all(lengths[index] <= 9 for index in batch) for batch in batches(lengths, max_tokens, 9)
    )


# --- rewards and gradients ---


@pytest.mark.parametrize("name", tiny_models.PACKABLE)
def test_packed_rewards_are_those_of_one_pass_per_sequence(name):
    scorer = rewarder(name)
    assert scorer.packed
    assert scorer.difference is not None
    assert scorer.difference < TOLERANCE
    with torch.no_grad():
        expected = one_by_one(scorer.model, GROUPS)
    assert expected.std() > 0.1, "rewards that are all alike prove nothing"
    torch.testing.assert_close(flat(scorer.rewards(GROUPS)), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", tiny_models.PACKABLE)
@settings(max_examples=6, deadline=None)
@given(groups=st.lists(sequences, min_size=1, max_size=3))
def test_packed_rewards_of_any_groups(name, groups):
    scorer = rewarder(name)
    with torch.no_grad():
        expected = one_by_one(scorer.model, groups)
    torch.testing.assert_close(flat(scorer.rewards(groups)), expected, atol=TOLERANCE, rtol=0)


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


def test_sdpa_and_eager_agree():
    sdpa, eager = (tiny_models.model(attn_implementation=kind) for kind in ("sdpa", "eager"))
    found = [flat(SequenceRewarder(model).rewards(GROUPS)) for model in (sdpa, eager)]
    torch.testing.assert_close(*found, atol=TOLERANCE, rtol=0)


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
    assert scorer.packed
    with torch.no_grad():
        torch.testing.assert_close(
            flat(scorer.rewards(GROUPS)), one_by_one(model, GROUPS).float(), atol=0.05, rtol=0.02
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
    expected = scorer.rewards(GROUPS)
    found = scorer.rewards(GROUPS[::-1], max_tokens)[::-1]
    assert [len(group) for group in found] == [len(group) for group in GROUPS]
    torch.testing.assert_close(flat(found), flat(expected), atol=TOLERANCE, rtol=0)


def test_groups_without_sequences_keep_their_place():
    scorer = rewarder("llama")
    first, empty, last = scorer.rewards([GROUPS[0], [], GROUPS[3]])
    assert (len(first), empty, len(last)) == (4, [], 1)
    assert scorer.rewards([]) == []


@pytest.mark.parametrize("name", ["llama", "gpt2", "mpt"])
def test_without_a_padding_token_rewards_work_and_training_says_what_to_do(name):
    model = tiny_models.model(name, pad_token_id=None)
    scorer = SequenceRewarder(model)
    with torch.no_grad():
        expected = one_by_one(model, GROUPS)
    torch.testing.assert_close(flat(scorer.rewards(GROUPS)), expected, atol=TOLERANCE, rtol=0)
    with pytest.raises(ValueError, match="set model"):
        scorer.forward(model, GROUPS)


def test_sequences_that_end_with_the_padding_token_are_read_where_transformers_reads_them(caplog):
    model = tiny_models.model(pad_token_id=2)
    scorer = SequenceRewarder(model)
    assert scorer.packed
    groups = [prefixes(3), [[4, 2, 2], [4]]]
    with torch.no_grad():
        expected = one_by_one(model, groups)
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(flat(scorer.rewards(groups)), expected, atol=TOLERANCE, rtol=0)
        scorer.rewards(groups)
    assert len(caplog.records) == 1
    assert "padding token" in caplog.text


# --- the trial at load time ---


@pytest.mark.parametrize(
    ("name", "reason"),
    [("mpt", "differ by"), ("bloom", "failed"), ("qwen3-next", "linear_attention"), ("bert", "`score` head")],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_models_that_cannot_be_packed_take_plain_passes_and_say_why(name, reason, dtype, caplog):
    with caplog.at_level(logging.WARNING, logger="openprm.packing"):
        scorer = SequenceRewarder(tiny_models.model(name, dtype=dtype))
    assert not scorer.packed
    assert len(caplog.records) == 1
    assert reason in caplog.text
    # In bfloat16 the model itself depends on what else is in a batch: by 0.17 with Qwen3-Next in transformers 5.16.
    if dtype == torch.float32:
        with torch.no_grad():
            expected = one_by_one(scorer.model, GROUPS)
        torch.testing.assert_close(flat(scorer.rewards(GROUPS)), expected, atol=TOLERANCE, rtol=0)


def test_forcing_packed_passes_is_refused_without_a_head_and_wrong_with_alibi():
    with pytest.raises(ValueError, match="score"):
        SequenceRewarder(tiny_models.model("bert"), packed=True)
    forced = SequenceRewarder(tiny_models.model("mpt"), packed=True)
    with torch.no_grad():
        expected = one_by_one(forced.model, GROUPS)
    assert (flat(forced.rewards(GROUPS)) - expected).abs().max() > 0.01, "so the trial is needed"


def test_a_new_head_of_zeros_does_not_hide_a_mismatch():
    model = tiny_models.model("mpt")
    torch.nn.init.zeros_(model.score.weight)
    assert not SequenceRewarder(model).packed


@pytest.mark.parametrize("name", ["mistral-window", "gemma2"])
def test_a_window_longer_than_the_trial_is_tried_all_the_same(name, monkeypatch):
    model = tiny_models.model(name, sliding_window=200)
    assert SequenceRewarder(model).packed
    assert model.config.sliding_window == 200

    def forgets_the_window(packs, pad_token_id, config, dtype, device):
        inputs = collate(packs, pad_token_id, tiny_models.model("llama").config, dtype, device)
        if config.get_text_config().to_dict().get("layer_types"):
            inputs["attention_mask"] = dict.fromkeys(config.layer_types, inputs["attention_mask"])
        return inputs

    monkeypatch.setattr(packing, "collate", forgets_the_window)
    assert not SequenceRewarder(model).packed


def test_the_trial_leaves_random_state_and_modes_alone():
    model = tiny_models.model("qwen2")
    model.train()
    model.score.eval()
    state = torch.get_rng_state()
    SequenceRewarder(model).rewards(GROUPS)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model.score.training
    assert not model.score._forward_hooks


def test_attention_without_masks_is_not_packed(caplog):
    model = tiny_models.model()
    model.config._attn_implementation = "flash_attention_2"
    with caplog.at_level(logging.WARNING, logger="openprm.packing"):
        assert not SequenceRewarder(model).packed
    assert 'attn_implementation="sdpa"' in caplog.text


def test_more_than_one_label_is_an_error():
    with pytest.raises(ValueError, match="num_labels=1"):
        SequenceRewarder(tiny_models.model(num_labels=2))


def test_rotary_frequencies_that_depend_on_the_longest_sequence_of_a_pass():
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 64}
    rope |= {"short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
    model = tiny_models.model("llama", rope_parameters=rope)
    scorer = SequenceRewarder(model)
    assert scorer.packed
    groups = [prefixes(5, (20, 60, 90)), prefixes(6, (30, 50)), prefixes(7, (70,))]
    with torch.no_grad():
        expected = one_by_one(model, groups)
        packed_at_once = SequenceRewarder(tiny_models.model("llama"), packed=True)
        packed_at_once.model, packed_at_once._heads = model, scorer._heads
    assert (flat(packed_at_once.rewards(groups)) - expected).abs().max() > 0.01
    torch.testing.assert_close(flat(scorer.rewards(groups)), expected, atol=TOLERANCE, rtol=0)
