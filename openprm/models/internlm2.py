"""InternLM2 reward models (internlm/internlm2-7b-reward and its sizes) as plain Llama checkpoints.

These models need code of their own (`InternLM2ForRewardModel`), but compute what Llama computes, with other names and
with queries, keys and values in one matrix. So weights are only renamed and split, and no number changes.

Up to `max_position_embeddings` tokens, rewards are theirs. Beyond, their code stretches the rotary frequencies with
the length ("dynamic" scaling); here sequences end there, for engines differ beyond: in transformers a long sequence
leaves its mark on those after it, and vLLM (0.32) takes twice the tokens without stretching anything.

Their reward is read at a token of its own (`reward_token_id`), which their `get_score` appends to the ids of the
rendered conversation: here the token's text is the `suffix` that the config records (see `openprm.scoring.encoding`),
unless their chat template renders it itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, first_line
from ..schema import Message
from ..scoring.encoding import encode
from .internlm2_tokenizer import load_tokenizer, plain_tokenizer

ARCHITECTURE = "InternLM2ForRewardModel"

_SAMPLE = "Which is larger, 9.11 or 9.9?\n\tif x  ==  1:  # naïve café, 你好，世界 🙂"
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
    """Whether `model` (a folder or a Hub id) is an InternLM2 reward model with code of its own."""
    from transformers import PreTrainedConfig

    try:
        config, _ = PreTrainedConfig.get_config_dict(model, revision=revision)
    except (OSError, ValueError):
        return False
    return ARCHITECTURE in (config.get("architectures") or [])


def convert_internlm2(model: str | Path, out: str | Path, *, revision: str | None = None) -> None:
    """Writes the reward model `model` (a folder or a Hub id) as a plain checkpoint into the folder `out`.

    None of their code runs. Weights keep their dtype; all are held in memory. The tokenizer is theirs as a plain fast
    one, with their chat template: from `tokenizer.json`, or, where they have none, from their `tokenizer.model`. The
    padding token, EOS with them, becomes an unused one of their vocabulary.

    Raises InputError for what is not such a model, one with a kind of rotary scaling that it never had, weights that
    are missing, unknown or of another shape, and a tokenizer that does not give the same ids when plain.
    """
    import torch
    from transformers import LlamaForSequenceClassification

    from .reward_checkpoint import prepare_reward_model, save_reward_model

    source = _folder(model, revision)
    theirs = _read_config(source)
    config = _llama_config(theirs, source)
    original, encode_as_theirs = load_tokenizer(source)
    tokenizer = plain_tokenizer(original, theirs["reward_token_id"], source)
    turns = [Message(role=role, content=f"{role}: {_SAMPLE}") for role in ("user", "assistant") * 2]
    ids, reward = encode_as_theirs(original.apply_chat_template(turns, tokenize=False)), theirs["reward_token_id"]
    # their `get_score` appends the reward token where the chat template has not rendered it
    suffix = "" if ids[-1] == reward else tokenizer.convert_ids_to_tokens(reward)
    with torch.device("meta"):
        llama: Any = LlamaForSequenceClassification(config)
    _load_weights(llama, source)
    prepare_reward_model(llama, tokenizer, suffix=suffix)
    plain_ids = encode(tokenizer, turns[:-1], turns[-1]["content"], suffix)
    if plain_ids != (ids if ids[-1] == reward else [*ids, reward]):
        raise InputError(f"{source}: its tokenizer gives other ids when plain, for {turns!r} and the reward token")
    save_reward_model(llama, tokenizer, out)


def _folder(model: str | Path, revision: str | None) -> Path:
    """The folder of the model, downloaded from the Hub where it is not on this machine."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(model), revision=revision))
    except Exception as error:  # of whatever HTTP client the Hub's library uses
        raise InputError(f"{model}: the Hub does not give it: {first_line(error)}; check the name") from error


def _read_config(source: Path) -> dict[str, Any]:
    from transformers import PreTrainedConfig

    try:
        config, _ = PreTrainedConfig.get_config_dict(source)
    except (OSError, ValueError) as error:
        raise InputError(f"{source} has no config.json that can be read: {first_line(error)}; get it again") from error
    if ARCHITECTURE not in (config.get("architectures") or []):
        found = ", ".join(config.get("architectures") or ["nothing"])
        raise InputError(
            f"{source} is no InternLM2 reward model ({ARCHITECTURE}): its config names {found}. Other reward models "
            "with a sequence-classification head need no conversion"
        )
    scaling = config.get("rope_scaling") or {"type": "dynamic"}
    if scaling.get("type") != "dynamic":
        raise InputError(f"{source}: the rotary scaling {scaling}, which no released model has, cannot be converted")
    if not isinstance(config.get("reward_token_id"), int):
        raise InputError(f"{source}: config.json has no reward_token_id, so it is not known where rewards are read")
    return config


def _llama_config(theirs: Mapping[str, Any], source: Path) -> Any:
    from transformers import LlamaConfig

    sizes = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads max_position_embeddings"
    try:
        settings: dict[str, Any] = {name: theirs[name] for name in [*sizes.split(), "hidden_act", "rms_norm_eps"]}
        settings |= {name: theirs.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        settings["num_key_value_heads"] = theirs.get("num_key_value_heads") or theirs["num_attention_heads"]
        settings["rope_parameters"] = {"rope_type": "default", "rope_theta": theirs["rope_theta"]}
    except KeyError as error:
        raise InputError(f"{source}: config.json has no {error}; get it again") from error
    return LlamaConfig(**settings, tie_word_embeddings=False, num_labels=1)  # type: ignore[call-arg]


def _load_weights(llama: Any, source: Path) -> None:
    """Puts their weights into `llama`, without copying those that are only renamed."""
    from transformers.modeling_utils import load_state_dict

    # by the rule of transformers, safetensors first
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
        found = llama.load_state_dict(ours, strict=False, assign=True)
    except RuntimeError as error:
        mismatch = str(error).splitlines()[-1].strip()
        raise InputError(f"{source}: its weights have other shapes than config.json says: {mismatch}") from error
    if found.missing_keys or found.unexpected_keys:
        raise InputError(
            f"{source} lacks the weights {', '.join(found.missing_keys) or 'none'}, and has the weights "
            f"{', '.join(found.unexpected_keys) or 'none'} that InternLM2 has not; get the model again"
        )


def _renamed(theirs: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Llama's names and weights for theirs. One matrix holds queries, keys and values, by key-value heads."""
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
