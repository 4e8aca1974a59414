from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from openprm.models.reward_checkpoint import prepare_reward_model
from openprm.training.lora import add_lora
from tests import tiny_models
from tests.small_training import pairs, trainer

pytest.importorskip("peft")


def adapted(kind: str = "llama", seed: int = 0) -> Any:
    tokenizer = tiny_models.tokenizer()
    model = tiny_models.model(kind, vocab_size=len(tokenizer))
    prepare_reward_model(model, tokenizer)
    return add_lora(model, 4, seed)


def state(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert"])
def test_only_adapters_and_the_head_are_trained_and_the_merged_model_has_the_same_rewards(tmp_path: Path, kind: str):
    rows = pairs(8)
    run = trainer(tmp_path, rows, model=adapted(kind), learning_rate=0.05, optim="adamw_torch", num_train_epochs=2)
    before = state(run.model)
    run.train()
    changed = {name for name, value in state(run.model).items() if not torch.equal(value, before[name])}
    head = {name for name in before if "modules_to_save" in name}
    adapters = {name for name in before if "lora_" in name}
    # a head's bias is the same on both sides: its gradient is 0 but for rounding
    assert changed | {name for name in head if name.endswith("bias")} == head | adapters
    assert head
    rewards = run.predict(rows).predictions
    plain = run.model.merge_and_unload()
    assert isinstance(plain, PreTrainedModel)
    assert not [name for name in plain.state_dict() if "lora" in name or "modules_to_save" in name]
    merged = trainer(tmp_path, rows, model=plain)
    assert merged.predict(rows).predictions == pytest.approx(rewards, abs=1e-5)
    untouched = tiny_models.model(kind, vocab_size=len(tiny_models.tokenizer()))
    assert plain.state_dict().keys() == untouched.state_dict().keys()


def test_packing_stays_exact_with_adapters(tmp_path: Path):
    model = adapted()
    with torch.no_grad():  # adapters that add something
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    run = trainer(tmp_path, pairs(8), model=model)
    assert run.rewarder.packed
    sides = [pair for batch in run.get_train_dataloader() for pair in batch["sequences"].groups]
    found = run.rewarder.forward(run.model, sides)
    expected = torch.stack([run.model(input_ids=torch.tensor([side])).logits[0, 0] for pair in sides for side in pair])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_adapters_are_drawn_from_their_seed():
    first, again, other = (state(adapted(seed=seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert {name for name in first if not torch.equal(first[name], other[name])} == {
        name for name in first if "lora_A" in name
    }
