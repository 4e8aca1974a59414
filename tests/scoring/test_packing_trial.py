"""Models whose passes cannot be packed, or not all of them, are found by a trial when they are loaded."""

from __future__ import annotations

import logging

import pytest
import torch

from openprm.scoring import forward as passes
from openprm.scoring.packing import collate
from openprm.scoring.rewarder import SequenceRewarder
from tests import tiny_models
from tests.scoring.test_rewarder import GROUPS, PROMPTED, check, prefixes, prompted


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
        check(scorer, GROUPS)


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
    with pytest.raises(ValueError, match="score"):
        SequenceRewarder(tiny_models.model("bert"), packed=True)


def test_packing_that_is_not_tried_is_wrong_with_alibi():
    forced = SequenceRewarder(tiny_models.model("mpt"), packed=True)
    with pytest.raises(AssertionError, match="not close"):
        check(forced, GROUPS, atol=0.01)


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
    check(scorer, PROMPTED)


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
    expected = check(scorer, groups)
    assert (scorer.forward(model, groups) - expected).abs().max() > 0.01
    check(scorer, [*prompted(8, 50, 3), *prompted(8, 60, 2), *prompted(9, 20, 2)])
