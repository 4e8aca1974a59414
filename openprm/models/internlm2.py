"""InternLM2 reward models (internlm/internlm2-7b-reward and its sizes) as plain Llama checkpoints.

These models need remote code (`InternLM2ForRewardModel`), but compute what Llama computes, under other names and with
queries, keys and values in one matrix. So weights are only renamed and split, and no number changes.

Rewards are the same up to `max_position_embeddings` tokens. For longer sequences InternLM2's code stretches the rotary
frequencies ("dynamic" scaling); here that is the longest sequence, since engines differ beyond it: in transformers a
long sequence affects those after it, and vLLM (0.32) takes twice the tokens without stretching anything.

The reward is read at a token of its own (`reward_token_id`), which InternLM2's `get_score` appends to the ids of the
rendered conversation. Here the token's text is the `suffix` in the config (see `openprm.scoring.encoding`), unless the
chat template renders it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, first_line
from ..runs.folder import download
from ..schema import Message
from ..scoring.encoding import encode
from .internlm2_tokenizer import load_tokenizer

ARCHITECTURE = "InternLM2ForRewardModel"

_SAMPLE = "Which is larger, 9.11 or 9.9?\n\tif x  ==  1:  # naïve café, 你好，世界 🙂"
_SAME = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("max_position_embeddings", "hidden_act", "rms_norm_eps"),
)
_SAME_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
_NAMES = {
    "tok_embeddings": "embed_tokens",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "v_head": "score",
}


def is_internlm2(model: str | Path, revision: str | None = None) -> bool:
    """Whether `model` (a folder or a Hub id) is an InternLM2 reward model that needs remote code."""
    from transformers import PreTrainedConfig

    try:
        config, _ = PreTrainedConfig.get_config_dict(model, revision=revision)
    except (OSError, ValueError):
        return False
    return ARCHITECTURE in (config.get("architectures") or [])


def convert_internlm2(model: str | Path, out: str | Path, *, revision: str | None = None) -> None:
    """Writes the reward model `model` (a folder or a Hub id) as a plain checkpoint into the folder `out`.

    No remote code runs. Weights keep their dtype; all are held in memory. The tokenizer, from `tokenizer.json` or else
    `tokenizer.model`, becomes a plain fast one with the same chat template. An unused token of the vocabulary becomes
    the padding token, which is EOS in InternLM2.

    Raises InputError for a model of another kind, rotary scaling of an unknown kind, weights that are missing, unknown
    or of another shape, and a tokenizer that does not give the same ids when plain.
    """
    import torch
    from transformers import LlamaForSequenceClassification

    from .reward_checkpoint import prepare_reward_model, save_reward_model

    source = Path(model) if Path(model).is_dir() else download(str(model), "model", revision)
    config, reward_token = _read_config(source)
    tokenizer, encode_as_theirs = load_tokenizer(source, reward_token)
    turns = [Message(role=role, content=f"{role}: {_SAMPLE}") for role in ("user", "assistant") * 2]
    ids, suffix = encode_as_theirs(tokenizer.apply_chat_template(turns, tokenize=False)), ""
    if ids[-1] != reward_token:  # not rendered by the chat template: `get_score` appends it
        ids, suffix = [*ids, reward_token], tokenizer.convert_ids_to_tokens(reward_token)
    with torch.device("meta"):
        llama: Any = LlamaForSequenceClassification(config)
    _load_weights(llama, source)
    prepare_reward_model(llama, tokenizer, suffix=suffix)
    if encode(tokenizer, turns[:-1], turns[-1]["content"], suffix) != ids:
        raise InputError(f"{source}: its tokenizer gives other ids when plain, for {turns!r} and the reward token")
    save_reward_model(llama, tokenizer, out)


def _read_config(source: Path) -> tuple[Any, int]:
    """The config as Llama's, and the id of the token that the reward is read at."""
    from transformers import LlamaConfig, PreTrainedConfig

    if not is_internlm2(source):
        raise InputError(
            f"{source} is not an InternLM2 reward model: its config.json does not name {ARCHITECTURE}. Other reward "
            "models with a sequence-classification head need no conversion"
        )
    theirs, _ = PreTrainedConfig.get_config_dict(source)
    missing = [name for name in (*_SAME, "rope_theta", "reward_token_id") if theirs.get(name) is None]
    if missing:
        raise InputError(f"{source}: config.json has no {', '.join(missing)}; get the model again")
    scaling = theirs.get("rope_scaling") or {"type": "dynamic"}
    if scaling.get("type") != "dynamic":
        raise InputError(f"{source}: the rotary scaling {scaling}, which no released model has, cannot be converted")
    settings: dict[str, Any] = {name: theirs.get(name) for name in (*_SAME, *_SAME_TOKENS)}
    settings["num_key_value_heads"] = theirs.get("num_key_value_heads") or theirs["num_attention_heads"]
    settings["rope_parameters"] = {"rope_type": "default", "rope_theta": theirs["rope_theta"]}
    config: Any = LlamaConfig(**settings, tie_word_embeddings=False, num_labels=1)  # type: ignore[call-arg]
    return config, theirs["reward_token_id"]


def _load_weights(llama: Any, source: Path) -> None:
    """Puts the weights into `llama`; those that are only renamed are not copied."""
    from transformers.modeling_utils import load_state_dict

    # safetensors first, as in transformers
    files = sorted(source.glob("model*.safetensors")) or sorted(source.glob("pytorch_model*.bin"))
    if not files:
        raise InputError(f"{source} has no weights (model*.safetensors or pytorch_model*.bin); get the model again")
    ours: dict[str, Any] = {}
    for file in files:
        try:
            ours.update(_renamed(load_state_dict(str(file), map_location="cpu"), llama.config))
        except Exception as error:  # of whatever reads the format
            raise InputError(f"{file} cannot be read: {first_line(error)}; get it again") from error
    try:
        llama.load_state_dict(ours, assign=True)
    except RuntimeError as error:
        differences = "; ".join(line.strip() for line in str(error).splitlines()[1:])
        raise InputError(f"{source}: its weights are not those of its config.json: {differences}") from error


def _renamed(theirs: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """The weights under Llama's names, with queries, keys and values as matrices of their own."""
    ours: dict[str, Any] = {}
    for name, tensor in theirs.items():
        stem, qkv, _ = name.partition("attention.wqkv")
        if qkv:
            # for each key-value head, the queries that share it, then its key, then its value
            shared = config.num_attention_heads // config.num_key_value_heads
            grouped = tensor.view(config.num_key_value_heads, shared + 2, config.head_dim, config.hidden_size)
            parts = {"q": grouped[:, :shared], "k": grouped[:, shared], "v": grouped[:, shared + 1]}
            for letter, part in parts.items():
                ours[f"{stem}self_attn.{letter}_proj.weight"] = part.reshape(-1, config.hidden_size)
        else:
            for old, new in _NAMES.items():
                name = name.replace(f"{old}.", f"{new}.")
            ours[name] = tensor
    return ours
