from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForCausalLM

from openprm.engines.transformers_rewards import TransformersRewardEngine
from openprm.errors import InputError
from tests import tiny_models

PAD, EOS = tiny_models.SIZES["pad_token_id"], tiny_models.SIZES["eos_token_id"]
SEQUENCES = [[1, 5, 9, 2], [1, 7], [1, 5, 9, 40, 41, 42, 43, 2], [1, 5, 9, 2], [3, 2, 2]]


def saved(folder: Path, name: str = "llama", **options: Any) -> Path:
    tiny_models.model(name, **options).save_pretrained(folder)
    return folder


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def one_by_one(folder: Path, sequences: list[list[int]]) -> list[float]:
    """What the head says at the last token: a row alone, and no padding token for transformers to look for."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    model.config.pad_token_id = model.config.get_text_config().pad_token_id = None
    with torch.no_grad():
        return [model(input_ids=torch.tensor([sequence])).logits.item() for sequence in sequences]


def rewards(engine: TransformersRewardEngine, sequences: list[list[int]]) -> list[float]:
    (found,) = engine.rewards([sequences])
    return found


@pytest.mark.parametrize("name", ["llama", "bert", "bloom"])
@pytest.mark.parametrize("pad", [PAD, None, EOS])
def test_each_sequence_is_read_at_its_end_whatever_the_padding_token(tmp_path: Path, name: str, pad: int | None):
    folder = saved(tmp_path, name, pad_token_id=pad)
    engine = TransformersRewardEngine(folder)
    expected = one_by_one(folder, SEQUENCES)
    assert rewards(engine, SEQUENCES) == pytest.approx(expected, abs=1e-4)
    assert len({round(value, 3) for value in expected}) == 4  # two are the same sequence
    config = json.loads((folder / "config.json").read_text())
    assert config.get("pad_token_id") == pad  # the checkpoint stays as it is


@pytest.fixture(scope="module")
def engine_and_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = saved(tmp_path_factory.mktemp("model"), pad_token_id=EOS)
    return TransformersRewardEngine(folder), folder


def test_what_the_engine_says_of_itself(tmp_path: Path):
    engine = TransformersRewardEngine(saved(tmp_path))
    assert engine.max_length == 256
    assert engine.rewards([]) == []
    with pytest.raises(ValueError, match="sequence 0 is empty"):
        rewards(engine, [[]])


def test_every_pass_is_reported(engine_and_folder: Any):
    engine, _ = engine_and_folder
    calls: list[tuple[int, int]] = []
    engine.max_tokens = 4
    engine.rewards([[[1, 5], [1, 5, 7]], [[1, 6]], [[1, 5], [1, 5, 7]]], lambda *call: calls.append(call))
    assert [sum(call) for call in zip(*calls, strict=True)] == [3, 5]  # equal groups are computed once
    assert len(calls) == 2


def test_the_groups_that_are_reported_are_a_share_of_the_work(engine_and_folder: Any):
    """Inside one call too, whose longest groups come first: so the time left is right from the start."""
    engine, _ = engine_and_folder
    engine.max_tokens = 40
    calls: list[tuple[int, int]] = []
    groups = [[[1, 5, *[7] * (40 if index < 10 else 1)]] for index in range(100)]
    groups = [[[*sequence, 9 + index % 50, 3 + index // 50]] for index, [sequence] in enumerate(groups)]
    engine.rewards(groups, lambda *call: calls.append(call))
    total = sum(tokens for _, tokens in calls)
    assert sum(done for done, _ in calls) == 100
    assert len(calls) > 10
    done = tokens = 0
    for some, more in calls:
        done, tokens = done + some, tokens + more
        assert done / 100 == pytest.approx(tokens / total, abs=0.01)


def test_what_is_no_reward_model_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="classifier with 3 labels"):
        TransformersRewardEngine(saved(tmp_path / "labels", num_labels=3))
    sizes = {key: value for key, value in tiny_models.SIZES.items() if key != "num_labels"}
    LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(tmp_path / "language")
    with pytest.raises(InputError, match=r"\(LlamaForCausalLM\) has no sequence-classification head"):
        TransformersRewardEngine(tmp_path / "language")
    edit_config(tmp_path / "language", num_labels=1, architectures=["LlamaForSequenceClassification"])
    with pytest.raises(InputError, match=r"lacks weights \(score.weight\)"):
        TransformersRewardEngine(tmp_path / "language")
    with pytest.raises(InputError, match="unknown dtype 'int8'; choose one of auto, float32"):
        TransformersRewardEngine(tmp_path / "language", dtype="int8")
    with pytest.raises(InputError, match="nowhere cannot be read as a model"):
        TransformersRewardEngine(tmp_path / "nowhere")


OWN_CODE = """
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, LlamaModel, LlamaPreTrainedModel

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnModel(LlamaPreTrainedModel):
    config_class = OwnConfig
    forward = LlamaForSequenceClassification.forward

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.score = torch.nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()
"""


def test_a_models_own_code_runs_only_when_trusted(tmp_path: Path):
    folder = saved(tmp_path / "own")
    expected = one_by_one(folder, SEQUENCES)
    (folder / "own.py").write_text(OWN_CODE)
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForSequenceClassification": "own.OwnModel"}
    edit_config(folder, model_type="own", architectures=["OwnModel"], auto_map=own)
    with pytest.raises(InputError, match=r"needs remote code.*trust_remote_code=True"):
        TransformersRewardEngine(folder)
    engine = TransformersRewardEngine(folder, trust_remote_code=True)
    assert rewards(engine, SEQUENCES) == pytest.approx(expected, abs=1e-4)
