from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from openprm.engines.transformers_rewards import TransformersRewardEngine
from openprm.errors import InputError
from openprm.models.internlm2 import convert_internlm2, is_internlm2
from openprm.models.reward_checkpoint import check_reward_model, load_reward_model
from openprm.rewards.base import RewardBatch
from openprm.rewards.reward_model import ModelRewarder
from openprm.schema import Message
from openprm.scoring.pipeline import load_scorer
from openprm.stages.convert import Convert
from tests.folders import candidate

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONVERSATIONS: list[tuple[list[Message], str]] = [
    ([Message(role="user", content="What is 2 + 3?")], "Two and three make five.\nSo: 5"),
    ([Message(role="user", content="Hi")], "Hello!"),
    (
        [
            Message(role="system", content="Be brief."),
            Message(role="user", content="Why?"),
            Message(role="assistant", content="Because."),
            Message(role="user", content="你好 🙂"),
        ],
        "  if x == 1:\n\treturn 9.11",
    ),
]


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes; the unused tokens are plain words of the vocabulary, and the padding token is EOS, as in InternLM2."""
    words = ["<unk>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    words += [f"[UNUSED_TOKEN_{index}]" for index in range(4)] + ["<|im_end|>", "<|im_start|>"]
    bpe = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, [], unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(["<unk>", "<s>", "</s>", "<|im_end|>", "<|im_start|>"])
    special: dict[str, Any] = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    made = PreTrainedTokenizerFast(tokenizer_object=bpe, **special)
    made.chat_template = TEMPLATE
    return made


TOKENIZER = tokenizer()
REWARD_TOKEN = TOKENIZER.convert_tokens_to_ids("[UNUSED_TOKEN_2]")
CONFIG: dict[str, Any] = {
    "architectures": ["InternLM2ForRewardModel"],
    "auto_map": {"AutoConfig": "configuration_internlm2.Config", "AutoModel": "modeling_internlm2.Model"},
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "max_position_embeddings": 160,
    "model_type": "internlm2",
    "num_attention_heads": 8,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "reward_token_id": REWARD_TOKEN,
    "rms_norm_eps": 1e-5,
    "rope_scaling": {"factor": 2.0, "type": "dynamic"},
    "rope_theta": 1000000,
    "torch_dtype": "float32",
    "vocab_size": len(TOKENIZER),
}


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.2

    made = {"model.tok_embeddings.weight": normal(CONFIG["vocab_size"], 32)}
    for index in range(CONFIG["num_hidden_layers"]):
        layer = {
            "attention.wqkv": normal((8 + 2 + 2) * 4, 32),
            "attention.wo": normal(32, 32),
            "feed_forward.w1": normal(48, 32),
            "feed_forward.w2": normal(32, 48),
            "feed_forward.w3": normal(48, 32),
            "attention_norm": 1 + normal(32),
            "ffn_norm": 1 + normal(32),
        }
        made.update({f"model.layers.{index}.{name}.weight": weight for name, weight in layer.items()})
    return {**made, "model.norm.weight": 1 + normal(32), "v_head.weight": normal(1, 32)}


WEIGHTS = weights()


def internlm2_reward(ids: list[int], config: dict[str, Any], weights: dict[str, Tensor]) -> float:
    """The reward at the last token, by InternLM2's own definition.

    Up to `max_position_embeddings` tokens, where its dynamic rotary scaling begins.
    """
    assert len(ids) <= config["max_position_embeddings"]
    size = config["hidden_size"] // config["num_attention_heads"]
    group = config["num_attention_heads"] // config["num_key_value_heads"]
    angles = torch.arange(len(ids))[:, None] / config["rope_theta"] ** (torch.arange(0, size, 2) / size)
    later = torch.ones(len(ids), len(ids), dtype=torch.bool).triu(1)

    def weight(name: str) -> Tensor:
        return weights[f"{name}.weight"]

    def norm(x: Tensor, name: str) -> Tensor:
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + config["rms_norm_eps"]) * weight(name)

    def rotate(x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    x = weight("model.tok_embeddings")[ids]
    for layer in (f"model.layers.{index}" for index in range(config["num_hidden_layers"])):
        packed = norm(x, f"{layer}.attention_norm") @ weight(f"{layer}.attention.wqkv").T
        # for each key-value head the queries that share it, its key, its value
        heads = packed.view(len(ids), config["num_key_value_heads"], group + 2, size)
        queries = rotate(heads[:, :, :group].flatten(1, 2))
        keys, values = (one.repeat_interleave(group, 1) for one in (rotate(heads[:, :, -2]), heads[:, :, -1]))
        scores = torch.einsum("qhd,khd->hqk", queries, keys) / math.sqrt(size)
        mixed = torch.einsum("hqk,khd->qhd", scores.masked_fill(later, -math.inf).softmax(-1), values)
        x = x + mixed.flatten(1) @ weight(f"{layer}.attention.wo").T
        w1, w2, w3 = (weight(f"{layer}.feed_forward.w{index}") for index in (1, 2, 3))
        normed = norm(x, f"{layer}.ffn_norm")
        x = x + (torch.nn.functional.silu(normed @ w1.T) * (normed @ w3.T)) @ w2.T
    return (weight("v_head") @ norm(x[-1], "model.norm")).item()


def their_ids(question: list[Message], response: str) -> list[int]:
    """What `get_score` of InternLM2's own code reads: the rendered conversation and the reward token."""
    turns: list[Any] = [*question, {"role": "assistant", "content": response}]
    text = TOKENIZER.apply_chat_template(turns, tokenize=False)
    return [*TOKENIZER(text, add_special_tokens=False)["input_ids"], REWARD_TOKEN]


def checkpoint(
    folder: Path, kind: str = "safetensors", weights: dict[str, Tensor] | None = None, **config: Any
) -> Path:
    """A folder like theirs, its weights in three shards."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    TOKENIZER.save_pretrained(folder)
    weights = WEIGHTS if weights is None else weights
    stem, save = {
        "safetensors": ("model", lambda part, path: save_file(part, path, {"format": "pt"})),
        "bin": ("pytorch_model", torch.save),
    }[kind]
    for shard in range(3):
        part = {key: weights[key] for key in list(weights)[shard::3]}
        save(part, folder / f"{stem}-{shard + 1:05d}-of-00003.{kind}")
    return folder


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("internlm2")
    Convert(model=str(checkpoint(folder / "theirs"))).run(folder / "ours")
    return folder / "ours"


@pytest.fixture(scope="module")
def expected() -> list[float]:
    return [internlm2_reward(their_ids(*one), CONFIG, WEIGHTS) for one in CONVERSATIONS]


def model_rewards(folder: Path) -> list[float]:
    """The rewards of the conversations, as `openprm reward` gives them."""
    candidates: Any = [candidate("p", 0, response, question=question) for question, response in CONVERSATIONS]
    ((_, outcomes),) = ModelRewarder(folder).rewards([RewardBatch(0, candidates)])
    return [outcome.reward["value"] for outcome in outcomes if outcome.reward]


def test_the_rewards_are_theirs_wherever_a_checkpoint_is_read(converted: Path, expected: list[float]):
    engine = TransformersRewardEngine(converted)
    assert engine.rewards([[their_ids(*one) for one in CONVERSATIONS]])[0] == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.1
    assert model_rewards(converted) == pytest.approx(expected, abs=1e-5)
    scorer = load_scorer(str(converted))
    assert scorer.rewarder.packed
    outputs = scorer([{"question": question, "steps": [response]} for question, response in CONVERSATIONS])
    assert [output["score"] for output in outputs] == pytest.approx(expected, abs=1e-5)


def test_rewards_are_theirs_up_to_the_longest_sequence_they_were_made_for(tmp_path: Path):
    config = {**CONFIG, "max_position_embeddings": 24, "num_hidden_layers": 1}
    few = {name: weight for name, weight in WEIGHTS.items() if not re.search(r"layers\.[12]", name)}
    convert_internlm2(checkpoint(tmp_path / "theirs", weights=few, **config), tmp_path / "ours")
    engine = TransformersRewardEngine(tmp_path / "ours")
    assert engine.max_length == 24
    for ids in (their_ids(*one)[-24:] for one in CONVERSATIONS):
        assert engine.rewards([[ids]])[0] == pytest.approx([internlm2_reward(ids, config, few)], abs=1e-5)


def test_the_checkpoint_is_plain(converted: Path):
    config = json.loads((converted / "config.json").read_text())
    expected = {"architectures": ["LlamaForSequenceClassification"], "model_type": "llama", "dtype": "float32"}
    expected |= {"problem_type": "regression", "vocab_size": len(TOKENIZER)}  # padding is an unused token
    assert {**config, **expected} == config
    assert config["openprm"]["suffix"] == "[UNUSED_TOKEN_2]"
    assert "auto_map" not in config
    model, found = AutoModelForSequenceClassification.from_pretrained(converted, output_loading_info=True)
    assert not any(found.values())
    plain = AutoTokenizer.from_pretrained(converted)
    assert plain.pad_token == "[UNUSED_TOKEN_0]"
    assert plain.chat_template == TEMPLATE
    check_reward_model(model, plain)
    assert torch.equal(model.score.weight, WEIGHTS["v_head.weight"])


def test_training_starts_from_bin_shards_in_half_precision(converted: Path, tmp_path: Path):
    half = {name: weight.bfloat16() for name, weight in WEIGHTS.items()}
    source = checkpoint(tmp_path / "theirs", "bin", weights=half)
    assert is_internlm2(source)
    assert not is_internlm2(converted)
    assert not is_internlm2(tmp_path / "none")
    trained, plain = load_reward_model(source, separator="line")
    assert torch.equal(trained.score.weight, half["v_head.weight"].float())  # type: ignore[union-attr, arg-type]
    assert (trained.config.openprm["separator"], trained.config.openprm["suffix"]) == ("line", "[UNUSED_TOKEN_2]")
    assert plain.pad_token == "[UNUSED_TOKEN_0]"
    convert_internlm2(source, tmp_path / "ours")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours", dtype="auto")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_template_may_render_the_reward_token_itself(tmp_path: Path, expected: list[float]):
    source = checkpoint(tmp_path / "theirs")
    plain = json.loads((source / "tokenizer.json").read_text())
    like = plain["added_tokens"][0]
    plain["added_tokens"].append({**like, "id": REWARD_TOKEN, "content": "[UNUSED_TOKEN_2]"})
    (source / "tokenizer.json").write_text(json.dumps(plain))
    (source / "chat_template.jinja").write_text(TEMPLATE + "[UNUSED_TOKEN_2]")
    convert_internlm2(source, tmp_path / "ours")
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["openprm"]["suffix"] == ""
    assert model_rewards(tmp_path / "ours") == pytest.approx(expected, abs=1e-5)


def remove(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


@pytest.mark.parametrize(
    ("changes", "damage", "message"),
    [
        ({"weights": {**WEIGHTS, "v_head.bias": torch.zeros(1)}}, None, r"Unexpected key.*score\.bias"),
        ({"weights": {**WEIGHTS, "v_head.weight": torch.zeros(2, 32)}}, None, r"size mismatch for score\.weight"),
        (
            {"weights": {**WEIGHTS, "model.layers.0.attention.wo.bias": torch.zeros(32)}},
            None,
            r"Unexpected key.*o_proj\.bias",
        ),
        ({"architectures": ["LlamaForSequenceClassification"]}, None, "is not an InternLM2 reward model"),
        ({"rope_scaling": {"type": "yarn", "factor": 2}}, None, "which no released model has"),
        ({"reward_token_id": 10_000}, None, "which its tokenizer does not know"),
        ({"reward_token_id": None}, None, "has no reward_token_id"),
        ({}, lambda source: remove(source, "*00002*"), r"Missing key.*model\.norm\.weight"),
        ({}, lambda source: remove(source, "model*"), "has no weights"),
        ({}, lambda source: remove(source, "config.json"), "is not an InternLM2 reward model"),
        ({}, lambda source: remove(source, "chat_template.jinja"), "has no chat template"),
        ({}, lambda source: (source / "model-00002-of-00003.safetensors").write_text("?"), "cannot be read"),
    ],
)
def test_what_cannot_be_converted_leaves_nothing(
    tmp_path: Path, changes: dict[str, Any], damage: Callable[[Path], Any] | None, message: str
):
    source = checkpoint(tmp_path / "theirs", **changes)
    if damage is not None:
        damage(source)
    with pytest.raises(InputError, match=message):
        convert_internlm2(source, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()
