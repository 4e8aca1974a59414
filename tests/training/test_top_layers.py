"""Training the top layers on kept states is training them with the layers below frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from openprm.models.trunk import Trunk
from openprm.training.top_layers import train_top_layers
from tests import tiny_models
from tests.models.test_trunk import MODELS
from tests.small_training import pairs, trainer

OPTIONS = {"num_train_epochs": 2, "tokens_per_device": 150}


def made(folder: Path, name: str, **options: Any) -> Any:
    size = len(tiny_models.tokenizer())
    model = tiny_models.model(name, num_hidden_layers=3, **MODELS[name], vocab_size=size)
    return trainer(folder, pairs(21), pairs(9, start=100), model=model, **{**OPTIONS, **options})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in MODELS),
        ("llama", {"gradient_checkpointing": True}),
        ("gpt2", {"pairs_together": 3, "center_rewards_coefficient": 0.02}),
    ],
)
def test_loss_and_weights_are_those_of_training_with_frozen_layers(name: str, options: dict[str, Any], tmp_path: Path):
    ordinary, cut = made(tmp_path, name, **options), made(tmp_path, name, **options)
    Trunk(ordinary.model, 1).freeze()
    before = {key: weights.clone() for key, weights in cut.model.named_parameters()}
    told = train_top_layers(cut, 1, tmp_path / "states", "run")
    assert cut.train().training_loss == pytest.approx(ordinary.train().training_loss, abs=1e-6)
    measured, expected = cut.evaluate(), ordinary.evaluate()
    assert measured["eval_loss"] == pytest.approx(expected["eval_loss"], abs=1e-6)
    expected_weights, changed = dict(ordinary.model.named_parameters()), set()
    for key, weights in cut.model.named_parameters():
        torch.testing.assert_close(weights, expected_weights[key], rtol=0, atol=1e-6)
        if not torch.equal(weights, before[key]):
            changed.add(key)
    assert {"score.weight"} < changed <= Trunk(ordinary.model, 1).trained
    assert told["top_layers"] == 1
    assert told["kept_tokens"] == len(cut.rewarder.calls.states)
    assert told["kept_bytes"] == 32 * 4 * told["kept_tokens"]
    assert cut.model.config.openprm["top_layers"] == 1


def test_bfloat16_has_states_of_its_own(tmp_path: Path):
    runs = [made(tmp_path, "llama", bf16=bf16) for bf16 in (False, True)]
    for run in runs:
        train_top_layers(run, 1, tmp_path / "states", "run")
    assert len(list((tmp_path / "states").iterdir())) == 2
    losses = [run.train().training_loss for run in runs]
    assert losses[1] == pytest.approx(losses[0], abs=0.05)
    ordinary = made(tmp_path, "llama", bf16=True)
    Trunk(ordinary.model, 1).freeze()
    assert losses[1] == pytest.approx(ordinary.train().training_loss, abs=0.01)
