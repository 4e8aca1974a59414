"""Models of every family that people use are trained, score and reward: a long text is a failure of its row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from openprm.runs.folder import read_rows
from openprm.schema import Candidate, Pair
from openprm.stages.reward import RewardResponses
from openprm.stages.score import Score
from openprm.stages.train import Train
from tests import tiny_models
from tests.answers import rejected
from tests.folders import candidate, dataset
from tests.small_training import pair, pairs

#: Its config, and options.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: tiny_models.PACKABLE[name] for name in ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "gpt2")},
    "mistral": tiny_models.PACKABLE["mistral-window"],
    "olmo2": ("Olmo2Config", {}),
    "phi3": ("Phi3Config", {}),
    "bert": ("BertConfig", {}),
    "roberta": ("RobertaConfig", {"pad_token_id": 1, "bos_token_id": 0}),
    "xlm-roberta": ("XLMRobertaConfig", {"pad_token_id": 1, "bos_token_id": 0}),
    "deberta": ("DebertaV2Config", {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    "modernbert": ("ModernBertConfig", {"local_attention": 16}),
}
POSITIONS = 130
LONG = " seven" * 140


def base(folder: Path, name: str) -> Path:
    """A language model or an encoder, in a folder with its tokenizer, which sets no limit."""
    config_class, own = FAMILIES[name]
    settings = {**tiny_models.SIZES, **own, "max_position_embeddings": POSITIONS}
    settings.pop("num_labels")
    settings.pop("attn_implementation", None)
    tokenizer = tiny_models.tokenizer()
    settings = {key: value for key, value in settings.items() if value is not None} | {"vocab_size": len(tokenizer)}
    config = getattr(transformers, config_class)(**settings)
    torch.manual_seed(0)
    encoder = type(config) in transformers.AutoModelForMaskedLM._model_mapping
    auto = transformers.AutoModel if encoder else transformers.AutoModelForCausalLM
    return tiny_models.saved(folder, auto.from_config(config), tokenizer)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_trained_scores_and_rewards(name: str, tmp_path: Path):
    torch.set_num_threads(1)
    found = dataset(tmp_path / "pairs", Pair, [*pairs(8), pair(31, rejected=LONG)])
    train = Train(
        pairs={"pairs": str(found)},
        base=str(base(tmp_path / "base", name)),
        max_steps=1,
        batch_size=8,
        learning_rate=1e-3,
        trainer_options={"use_cpu": True},
    )
    manifest = train.run(tmp_path / "model")
    assert manifest["counts"]["pairs"]["train"]["left_out"] == {"overlong": {"open": {"process": 1}}}
    rows = [candidate("p0", index, text) for index, text in enumerate(["Five.\nSo five.\n", LONG, "Five.\n" + LONG])]
    candidates = str(dataset(tmp_path / "candidates", Candidate, rows))
    Score(candidates=candidates, model=str(tmp_path / "model")).run(tmp_path / "scores")
    scored = list(read_rows(tmp_path / "scores"))
    assert [(row["sample_index"], row["truncated"]) for row in scored] == [(0, False), (2, True)]
    RewardResponses(candidates=candidates, by="model", model=str(tmp_path / "model")).run(tmp_path / "rewards")
    rewarded = list(read_rows(tmp_path / "rewards"))
    assert [len(row["rewards"]) for row in rewarded] == [1, 0, 0]
    assert all("question and response take" in row["reason"] for row in rejected(tmp_path / "scores"))
