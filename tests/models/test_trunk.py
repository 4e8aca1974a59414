"""Only the layers above a frozen trunk are computed: same rewards, losses, gradients and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from openprm.errors import InputError
from openprm.models.trunk import Trunk, with_trunk
from openprm.models.trunk_states import node_keys
from openprm.scoring.rewarder import SequenceRewarder
from tests import tiny_models
from tests.scoring.test_rewarder import PROMPTED, flat

#: Models of three layers.
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "gemma3": {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "qwen2-window": {},
}


def model(name: str, **options: Any) -> Any:
    made = tiny_models.model(name, num_hidden_layers=3, **MODELS.get(name, {}), **options)
    made.config.openprm = {}
    return made


def cut(made: Any, folder: Path, top: int = 1, packed: bool | None = None) -> Any:
    return with_trunk(SequenceRewarder(made, packed), Trunk(made, top), folder)


@pytest.mark.parametrize("packed", [None, False])
@pytest.mark.parametrize("name", MODELS)
def test_rewards_are_those_of_whole_passes(name: str, packed: bool | None, tmp_path: Path):
    made = model(name)
    expected = flat(SequenceRewarder(made, packed).rewards(PROMPTED))
    torch.testing.assert_close(flat(cut(made, tmp_path, 1, packed).rewards(PROMPTED)), expected, rtol=0, atol=1e-5)


def test_states_are_computed_once_for_all_models_above_a_trunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = model("llama"), model("llama")
    with torch.no_grad():
        second.score.weight.mul_(-2)
        second.model.layers[2].mlp.down_proj.weight.mul_(0.5)
    cut(first, tmp_path).rewards(PROMPTED)
    whole = flat(SequenceRewarder(second).rewards(PROMPTED))
    again = cut(second, tmp_path)
    for layer in second.model.layers[:2]:
        monkeypatch.setattr(layer.mlp, "forward", None)  # computed, it would fail
    torch.testing.assert_close(flat(again.rewards(PROMPTED)), whole, rtol=0, atol=1e-5)
    assert len(list(tmp_path.iterdir())) == 1
    distinct = {tuple(one[: end + 1]) for group in PROMPTED for one in group for end in range(len(one))}
    assert len(again.calls.states) == len(distinct)


def test_states_are_looked_up_once_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = model("llama")
    expected = flat(SequenceRewarder(made).rewards(PROMPTED))
    rewarder, asked = cut(made, tmp_path), []

    def counted(one: Any) -> Any:
        asked.append(one)
        return node_keys(one)

    for name in ("trunk", "trunk_states"):
        monkeypatch.setattr(f"openprm.models.{name}.node_keys", counted)
    for prepared in (False, True):  # what is not prepared is computed on the way, and seen by no one
        asked.clear()
        torch.testing.assert_close(rewarder.forward(made, PROMPTED).detach(), expected, rtol=0, atol=1e-5)
        assert (len(asked) == sum(map(bool, PROMPTED))) == prepared


def test_other_frozen_weights_or_layers_have_other_states(tmp_path: Path):
    made = model("llama")
    prints = [Trunk(made, 1).fingerprint(), Trunk(made, 2).fingerprint(), Trunk(model("llama"), 1).fingerprint()]
    with torch.no_grad():
        made.model.layers[0].mlp.down_proj.weight[0, 0] += 1e-3
    changed = model("llama", rope_parameters={"rope_type": "default", "rope_theta": 500.0})
    prints += [Trunk(made, 1).fingerprint(), Trunk(changed, 1).fingerprint()]
    assert prints[0] == prints[2]
    assert len(set(prints)) == 4


def test_what_cannot_be_cut_is_refused(tmp_path: Path):
    for top in (0, 3, 4):
        with pytest.raises(InputError, match=rf"top {top} layers cannot be trained alone: the model has 3"):
            Trunk(model("llama"), top)
    made = tiny_models.model("bert")
    with pytest.raises(InputError, match="the top layers of this model cannot be computed alone"):
        cut(made, tmp_path)
    made = model("llama")
    made.model.layers.append(torch.nn.Identity())
    with pytest.raises(InputError, match="LlamaForSequenceClassification has 0 lists of 3 layers"):
        Trunk(made, 1)


def test_a_model_whose_states_depend_on_more_than_what_is_before_is_refused(tmp_path: Path):
    made = model("llama")
    made.model.layers[0].register_forward_hook(lambda _, args, output: output + 0.1 * output.shape[1])
    with pytest.raises(InputError, match="the states at the head differ by"):
        cut(made, tmp_path)
