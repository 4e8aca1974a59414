import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from openprm.errors import InputError
from openprm.models.reward_checkpoint import (
    check_reward_model,
    load_reward_model,
    prepare_reward_model,
    reward_model_config,
    save_reward_model,
)
from openprm.scoring.encoding import DEFAULT_CHAT_TEMPLATE, encode
from tests import tiny_models

NO_PAD = {"pad_token": None}


def language_model(folder: Path, name: str = "LlamaConfig", tokenizer: Any = None, **options: Any) -> Path:
    """A base model's checkpoint: no score head, and a tokenizer without a padding token."""
    tokenizer = tokenizer or tiny_models.tokenizer(**NO_PAD)
    sizes = {**tiny_models.SIZES, "vocab_size": len(tokenizer), "pad_token_id": None, **options}
    del sizes["num_labels"]
    config = getattr(transformers, name)(**{key: value for key, value in sizes.items() if value is not None})
    torch.manual_seed(0)
    return tiny_models.saved(folder, AutoModelForCausalLM.from_config(config), tokenizer)


def reward_model(folder: Path, tokenizer: Any = None, **options: Any) -> Path:
    tokenizer = tokenizer or tiny_models.tokenizer()
    return tiny_models.saved(folder, tiny_models.model(vocab_size=len(tokenizer), **options), tokenizer)


def reward(model: Any, tokenizer: Any) -> float:
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([encode(tokenizer, "What?", "Five.")])).logits.item()


def test_a_language_model_gets_a_head_by_its_seed(tmp_path: Path):
    base = language_model(tmp_path, torch_dtype="bfloat16")
    first: Any
    again: Any
    other: Any
    first, again, other = (load_reward_model(base, seed=seed)[0] for seed in (0, 0, 1))
    assert first.score.weight.shape == (1, 32)
    assert torch.equal(first.score.weight, again.score.weight)
    assert not torch.equal(first.score.weight, other.score.weight)
    assert 0.5 < first.score.weight.std() * 33**0.5 < 1.5
    assert {parameter.dtype for parameter in first.parameters()} == {torch.float32}
    kept: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).model.layers[0].mlp.up_proj.weight
    assert torch.equal(first.model.layers[0].mlp.up_proj.weight, kept)


def test_saving_gives_a_plain_checkpoint(tmp_path: Path):
    model, tokenizer = load_reward_model(
        language_model(tmp_path / "base"), separator="line", aggregation="mean", suffix=" ok"
    )
    model.config.custom_pipelines = {"openprm-scoring": {}}  # as a model that a scoring pipeline has been saved with
    prepare_reward_model(model, tokenizer)
    save_reward_model(model, tokenizer, tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    expected = {"architectures": ["LlamaForSequenceClassification"], "problem_type": "regression"}
    ours = {"separator": "line", "aggregation": "mean", "suffix": " ok", "date": "2024-07-26", "unit": "strength"}
    expected |= {"openprm": ours}
    assert {**config, **expected} == config
    assert len(config["id2label"]) == 1
    assert "custom_pipelines" not in config
    again, tokens = load_reward_model(tmp_path / "saved")
    assert again.config.openprm == config["openprm"]
    assert config["pad_token_id"] == tokens.pad_token_id == tokenizer.pad_token_id != tokens.eos_token_id
    assert reward(again, tokens) == reward(model, tokenizer)


@pytest.mark.parametrize(
    ("reserved", "spare_rows", "expected"),
    [
        (["<|reserved_0|>", "<|finetune_pad|>"], 0, "<|finetune_pad|>"),
        (["<|reserved_0|>", "<|reserved_1|>"], 0, "<|reserved_0|>"),
        ([], 3, "<|pad|>"),
        ([], 0, "<|pad|>"),
    ],
)
@pytest.mark.parametrize("pad", [None, "</s>"])
def test_the_padding_token_ends_no_turn(
    tmp_path: Path, reserved: list[str], spare_rows: int, expected: str, pad: str | None
):
    # The tiny vocabulary without its own token for padding, which would be found.
    backend = Tokenizer.from_str(tiny_models.tokenizer().backend_tokenizer.to_str().replace("<pad>", "<zero>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token=pad)
    tokenizer.chat_template = tiny_models.CHAT_TEMPLATE
    tokenizer.add_special_tokens({"additional_special_tokens": reserved})
    rows = len(tokenizer) + spare_rows
    base = language_model(tmp_path, tokenizer=tokenizer, vocab_size=rows)
    model, tokens = load_reward_model(base)
    assert tokens.pad_token == expected
    assert model.config.pad_token_id == tokens.pad_token_id
    grown = not reserved and not spare_rows
    assert model.get_input_embeddings().num_embeddings == model.config.vocab_size == rows + grown


def test_a_tokenizer_without_a_template_gets_ours(tmp_path: Path):
    model, tokenizer = load_reward_model(language_model(tmp_path, tokenizer=tiny_models.tokenizer(None, **NO_PAD)))
    assert tokenizer.chat_template == DEFAULT_CHAT_TEMPLATE
    save_reward_model(model, tokenizer, tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").chat_template == DEFAULT_CHAT_TEMPLATE


def test_dropout_is_off(tmp_path: Path):
    base = language_model(tmp_path, "GPT2Config", n_inner=48, num_key_value_heads=None)
    model, tokenizer = load_reward_model(base)
    ids = torch.tensor([encode(tokenizer, "What?", "Five.")])
    model.train()
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}


def test_checkpoints_of_another_kind_are_refused(tmp_path: Path):
    classifier = reward_model(tmp_path / "classifier", num_labels=3)
    with pytest.raises(ValueError, match="classifier with 3 labels"):
        load_reward_model(classifier)
    other = language_model(tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForRewardModel"]}))
    with pytest.raises(ValueError, match="is a LlamaForRewardModel: its head would be lost"):
        load_reward_model(other)
    headless = language_model(tmp_path / "headless")
    (headless / "config.json").write_text(
        json.dumps({**config, "architectures": ["LlamaForSequenceClassification"], "id2label": {"0": "LABEL_0"}})
    )
    with pytest.raises(ValueError, match=r"lacks weights: score\.weight"):
        load_reward_model(headless)


def test_only_a_reward_model_is_used_as_it_is(tmp_path: Path):
    assert reward_model_config(reward_model(tmp_path / "reward")).num_labels == 1
    with pytest.raises(InputError, match="classifier with 3 labels"):
        reward_model_config(reward_model(tmp_path / "classifier", num_labels=3))
    language = language_model(tmp_path / "language")
    with pytest.raises(InputError, match=r"language \(LlamaForCausalLM\) has no sequence-classification head"):
        reward_model_config(language)
    config = json.loads((language / "config.json").read_text())
    own = {"architectures": ["OwnForRewardModel"], "auto_map": {"AutoModel": "code.Own", "AutoConfig": "code.Config"}}
    (language / "config.json").write_text(json.dumps({**config, **own, "model_type": "own"}))
    with pytest.raises(InputError, match=r"contains custom code.*trust_remote_code=True"):
        reward_model_config(language)
    (language / "config.json").write_text(json.dumps({**config, "architectures": ["InternLM2ForRewardModel"]}))
    with pytest.raises(InputError, match=r"convert it .*`convert` in a preset, or .*convert_internlm2"):
        reward_model_config(language)
    with pytest.raises(InputError, match="nowhere cannot be read as a model"):
        reward_model_config(tmp_path / "nowhere")


def test_a_reward_model_that_pads_with_its_end_token_gets_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    model, tokenizer = load_reward_model(
        reward_model(tmp_path, tiny_models.tokenizer(pad_token="</s>"), pad_token_id=2)
    )
    assert model.get_input_embeddings().padding_idx == tokenizer.pad_token_id != 2
    assert "read at the token before" in caplog.text
    check_reward_model(model, tokenizer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_labels": 2}, "has one label, this one has 2"),
        ({"pad_token_id": 5}, "should be one and the same"),
        ({"eos_token_id": [2, 0]}, "also ends a turn"),
    ],
)
def test_what_is_no_plain_reward_checkpoint_is_refused(change: dict[str, Any], message: str):
    tokenizer = tiny_models.tokenizer()
    model = tiny_models.model(vocab_size=len(tokenizer))
    prepare_reward_model(model, tokenizer)
    for name, value in change.items():
        setattr(model.config, name, value)
    with pytest.raises(ValueError, match=message):
        check_reward_model(model, tokenizer)


def test_bad_settings_are_refused():
    tokenizer = tiny_models.tokenizer()
    model = tiny_models.model(vocab_size=len(tokenizer))
    with pytest.raises(ValueError, match="unknown aggregation 'median'"):
        prepare_reward_model(model, tokenizer, aggregation="median")
    with pytest.raises(ValueError, match="the separator is empty"):
        prepare_reward_model(model, tokenizer, separator="")
