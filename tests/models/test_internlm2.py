from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
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
from openprm.scoring.encoding import encode
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
    "attn_implementation": "eager",
    "bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
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
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_cache": True,
    "vocab_size": len(TOKENIZER),
}


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.2

    def scale(size: int) -> Tensor:
        return 1 + normal(size)

    made = {"model.tok_embeddings.weight": normal(CONFIG["vocab_size"], 32)}
    for index in range(CONFIG["num_hidden_layers"]):
        layer = {
            "attention.wqkv": normal((8 + 2 + 2) * 4, 32),
            "attention.wo": normal(32, 32),
            "feed_forward.w1": normal(48, 32),
            "feed_forward.w2": normal(32, 48),
            "feed_forward.w3": normal(48, 32),
            "attention_norm": scale(32),
            "ffn_norm": scale(32),
        }
        made.update({f"model.layers.{index}.{name}.weight": weight for name, weight in layer.items()})
    return {**made, "model.norm.weight": scale(32), "v_head.weight": normal(1, 32)}


WEIGHTS = weights()


def internlm2_reward(ids: list[int], config: dict[str, Any], weights: dict[str, Tensor]) -> float:
    """The reward at the last token, as InternLM2 defines it: position after position, head after head.

    Up to `max_position_embeddings` tokens, where its dynamic rotary scaling begins.
    """
    assert len(ids) <= config["max_position_embeddings"]
    size = config["hidden_size"] // config["num_attention_heads"]
    group = config["num_attention_heads"] // config["num_key_value_heads"]
    base = config["rope_theta"]

    def rms(x: Tensor, name: str) -> Tensor:
        return x / torch.sqrt((x * x).mean() + config["rms_norm_eps"]) * weights[f"{name}.weight"]

    def rotate(x: Tensor, position: int) -> Tensor:
        turned = x.clone()
        for i in range(size // 2):
            angle = position / base ** (2 * i / size)
            a, b = x[i], x[i + size // 2]
            turned[i] = a * math.cos(angle) - b * math.sin(angle)
            turned[i + size // 2] = b * math.cos(angle) + a * math.sin(angle)
        return turned

    states = [weights["model.tok_embeddings.weight"][token] for token in ids]
    for index in range(config["num_hidden_layers"]):
        name = f"model.layers.{index}"
        packed = [weights[f"{name}.attention.wqkv.weight"] @ rms(x, f"{name}.attention_norm") for x in states]
        # The rows of wqkv: for each key-value head the queries that share it, its key, its value.
        starts = [head // group * (group + 2) * size for head in range(config["num_attention_heads"])]
        mixed: list[list[Tensor]] = [[] for _ in ids]
        for head, start in enumerate(starts):
            queries = [rotate(row[start + head % group * size :][:size], p) for p, row in enumerate(packed)]
            keys = [rotate(row[start + group * size :][:size], p) for p, row in enumerate(packed)]
            values = [row[start + (group + 1) * size :][:size] for row in packed]
            for p, query in enumerate(queries):
                share = torch.softmax(torch.stack(keys[: p + 1]) @ query / math.sqrt(size), 0)
                mixed[p].append(share @ torch.stack(values[: p + 1]))
        for p, heads in enumerate(mixed):
            states[p] = states[p] + weights[f"{name}.attention.wo.weight"] @ torch.cat(heads)
        for position, x in enumerate(states):
            normed = rms(x, f"{name}.ffn_norm")
            gate = torch.nn.functional.silu(weights[f"{name}.feed_forward.w1.weight"] @ normed)
            up = weights[f"{name}.feed_forward.w3.weight"] @ normed
            states[position] = x + weights[f"{name}.feed_forward.w2.weight"] @ (gate * up)
    return (weights["v_head.weight"] @ rms(states[-1], "model.norm")).item()


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


def test_the_rewards_are_theirs(converted: Path, expected: list[float]):
    engine = TransformersRewardEngine(converted)
    assert engine.rewards([[their_ids(*one) for one in CONVERSATIONS]])[0] == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.1


def test_everything_that_reads_a_checkpoint_gives_them(converted: Path, expected: list[float]):
    candidates: Any = [candidate("p", 0, response, question=question) for question, response in CONVERSATIONS]
    ((_, outcomes),) = ModelRewarder(converted).rewards([RewardBatch(0, candidates)])
    rewards = [outcome.reward["value"] for outcome in outcomes if outcome.reward]
    assert rewards == pytest.approx(expected, abs=1e-5)
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
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    assert config["model_type"] == "llama"
    assert config["openprm"]["suffix"] == "[UNUSED_TOKEN_2]"
    assert config["problem_type"] == "regression"
    assert len(config["id2label"]) == 1
    assert config["dtype"] == "float32"
    assert config["vocab_size"] == len(TOKENIZER)  # an unused token is there to pad with
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
    candidates: Any = [candidate("p", 0, response, question=question) for question, response in CONVERSATIONS]
    ((_, outcomes),) = ModelRewarder(tmp_path / "ours").rewards([RewardBatch(0, candidates)])
    assert [one.reward["value"] for one in outcomes if one.reward] == pytest.approx(expected, abs=1e-5)


def test_a_sentencepiece_model_is_read_without_their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sentencepiece = pytest.importorskip("sentencepiece")
    source = checkpoint(tmp_path / "theirs")
    (source / "tokenizer.json").unlink()
    corpus = [f"{question[-1]['content']} {response}" for question, response in CONVERSATIONS]
    with (source / "tokenizer.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus * 4),
            model_writer=file,
            model_type="bpe",
            vocab_size=340,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            user_defined_symbols=[f"[UNUSED_TOKEN_{index}]" for index in range(8)],
            hard_vocab_limit=False,
            minloglevel=2,
        )
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(source / "tokenizer.model"))
    start, end, reward = (theirs.piece_to_id(f"[UNUSED_TOKEN_{index}]") for index in (7, 6, 5))
    added = {
        index: {"content": text, "special": True} for index, text in ((start, "<|im_start|>"), (end, "<|im_end|>"))
    }
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    (source / "tokenizer_config.json").write_text(json.dumps({**names, "added_tokens_decoder": added}))
    size = theirs.get_piece_size()
    rows = torch.randn(size, CONFIG["hidden_size"], generator=torch.Generator().manual_seed(1))
    first = next(source.glob("model-00001*"))
    save_file({**load_file(first), "model.tok_embeddings.weight": rows}, first)
    (source / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": size, "reward_token_id": reward}))

    convert_internlm2(source, tmp_path / "ours")
    ours = AutoTokenizer.from_pretrained(tmp_path / "ours")
    recorded = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert recorded["openprm"]["suffix"] == "[UNUSED_TOKEN_5]"
    assert recorded["vocab_size"] == size
    for question, response in CONVERSATIONS:
        ids = [theirs.bos_id()]
        for turn in [*question, Message(role="assistant", content=response)]:
            ids += [start, *theirs.encode(f"{turn['role']}\n{turn['content']}"), end, *theirs.encode("\n")]
        assert encode(ours, question, response, recorded["openprm"]["suffix"]) == [*ids, reward]
        assert len(set(ids)) > 5
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(InputError, match=r"openprm\[internlm2\]"):
        convert_internlm2(source, tmp_path / "none")
    (source / "tokenizer.model").unlink()
    with pytest.raises(InputError, match=r"neither tokenizer\.json nor tokenizer\.model"):
        convert_internlm2(source, tmp_path / "none")


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
