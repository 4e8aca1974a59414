"""InternLM2 reward models (internlm/internlm2-7b-reward and its sizes) as plain Llama checkpoints.

Theirs run code of their own (`InternLM2ForRewardModel`), but compute what Llama computes, with other names and with
queries, keys and values in one matrix. So only weights are renamed and cut apart, and no number changes.

Up to `max_position_embeddings` tokens, rewards are theirs. Beyond, their code stretches the rotary frequencies with
the length ("dynamic" scaling); here sequences end there, for engines differ beyond: in transformers a long sequence
leaves its mark on those after it, and vLLM (0.32) takes twice the tokens without stretching anything.

Their reward is read at a token of its own (`reward_token_id`), which their `get_score` appends to the ids of the
rendered conversation: here the token's text is the `suffix` that the config records (see `openprm.scoring.encoding`),
unless their chat template renders it itself.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, first_line
from ..runs.manifest import files_hash, resolve_model, run_stage
from ..schema import Message
from ..scoring.encoding import encode
from .internlm2_tokenizer import load_tokenizer, plain_tokenizer

ARCHITECTURE = "InternLM2ForRewardModel"

#: Bytes of weights held in memory and written to one file.
SHARD_SIZE = 4 * 2**30

_SAMPLE = "Which is larger, 9.11 or 9.9?\n\tif x  ==  1:  # naïve café, 你好，世界 🙂"


def convert_internlm2(
    model: str | Path,
    out: str | Path,
    *,
    revision: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: the reward model `model` (a folder or a Hub id) as a plain checkpoint in `out`. Returns the manifest.

    None of their code runs. Weights keep their dtype and are read and written a shard at a time. The tokenizer is
    theirs as a plain fast one, with their chat template: from `tokenizer.json`, or, where they have none, from their
    `tokenizer.model`. The padding token, EOS with them, becomes an unused one of their vocabulary.

    Raises InputError for what is not such a model, one with biases or a kind of rotary scaling that it never had,
    weights that are missing, unknown or of another shape, and a tokenizer that does not give the same ids when plain.
    """

    def work(folder: Path) -> dict[str, Any]:
        from transformers import AutoTokenizer

        source = _source(model, commit)
        theirs = _read_config(source)
        llama = _llama_config(theirs, source)
        files = _weight_files(source)
        _check_weights(files, _layout(llama), source)
        original, encode_as_theirs = load_tokenizer(source)
        turns = [Message(role=role, content=f"{role}: {_SAMPLE}") for role in ("user", "assistant") * 2]
        text = original.apply_chat_template(turns, tokenize=False)
        ids, reward = encode_as_theirs(text), theirs["reward_token_id"]
        tokenizer = plain_tokenizer(original, reward, source)
        # Their `get_score` appends the reward token where the chat template has not rendered it.
        suffix = "" if ids[-1] == reward else tokenizer.convert_ids_to_tokens(reward)
        config = _prepared_config(llama, tokenizer, suffix)
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        plain_ids = encode(AutoTokenizer.from_pretrained(folder), turns[:-1], turns[-1]["content"], suffix)
        if plain_ids != (ids if ids[-1] == reward else [*ids, reward]):
            raise InputError(f"{source}: its tokenizer gives other ids when plain, for {text!r} and the reward token")
        for stale in folder.glob("model*"):  # of a run that was killed
            stale.unlink()
        parameters = _write_weights(folder, _converted(files, _layout(llama), llama, config.vocab_size), config)
        config.save_pretrained(folder)  # now with the weights' dtype
        return {"files_hash": files_hash(folder), "counts": {"parameters": parameters}}

    commit = resolve_model(str(model), revision)
    identity = f"{model}@{commit}" if commit else model
    return run_stage(
        out,
        "conversion",
        {"architecture": ARCHITECTURE},
        {"model": identity},
        work,
        force=force,
        replace_finished=True,
    )


def _source(model: str | Path, commit: str | None) -> Path:
    """The folder of the model, fetched from the Hub where it has a commit there."""
    if commit is None:
        return Path(model)
    from huggingface_hub import HfApi, snapshot_download

    try:
        names = HfApi().list_repo_files(str(model), revision=commit)
        twice = ["*.bin"] if any(name.endswith(".safetensors") for name in names) else []
        return Path(snapshot_download(str(model), revision=commit, ignore_patterns=twice))
    except Exception as error:  # of whatever HTTP client the Hub's library uses
        raise InputError(f"{model}: the Hub does not give it: {first_line(error)}; check the name") from error


def _read_config(source: Path) -> dict[str, Any]:
    try:
        config = json.loads((source / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{source} has no config.json that can be read: {first_line(error)}; get it again") from error
    if ARCHITECTURE not in (config.get("architectures") or []):
        found = ", ".join(config.get("architectures") or ["nothing"])
        raise InputError(
            f"{source} is no InternLM2 reward model ({ARCHITECTURE}): its config names {found}. Other reward models "
            "with a sequence-classification head need no conversion"
        )
    if config.get("bias"):
        raise InputError(f"{source} has biases in its attention, which no released model has; it cannot be converted")
    if not isinstance(config.get("reward_token_id"), int):
        raise InputError(f"{source}: config.json has no reward_token_id, so it is not known where rewards are read")
    return config


def _llama_config(theirs: Mapping[str, Any], source: Path) -> Any:
    from transformers import LlamaConfig

    scaling = theirs.get("rope_scaling") or {"type": "dynamic"}
    if scaling.get("type") != "dynamic":
        raise InputError(
            f"{source} has the rotary scaling {scaling}, which no released model has; it cannot be converted"
        )
    try:
        return LlamaConfig(
            vocab_size=theirs["vocab_size"],
            hidden_size=theirs["hidden_size"],
            intermediate_size=theirs["intermediate_size"],
            num_hidden_layers=theirs["num_hidden_layers"],
            num_attention_heads=theirs["num_attention_heads"],
            num_key_value_heads=theirs.get("num_key_value_heads") or theirs["num_attention_heads"],
            hidden_act=theirs["hidden_act"],
            max_position_embeddings=theirs["max_position_embeddings"],
            rms_norm_eps=theirs["rms_norm_eps"],
            rope_parameters={"rope_type": "default", "rope_theta": theirs["rope_theta"]},
            bos_token_id=theirs.get("bos_token_id"),
            eos_token_id=theirs.get("eos_token_id"),
            pad_token_id=theirs.get("pad_token_id"),
            tie_word_embeddings=False,
            num_labels=1,  # type: ignore[call-arg]
        )
    except KeyError as error:
        raise InputError(f"{source}: config.json has no {error}; get it again") from error


#: Shape of one of their weights, and the names of ours that it becomes: one, or the query, key and value in it.
_Layout = dict[str, tuple[tuple[int, ...], tuple[str, ...]]]


def _layout(llama: Any) -> _Layout:
    hidden, inner = llama.hidden_size, llama.intermediate_size
    rows = (llama.num_attention_heads + 2 * llama.num_key_value_heads) * llama.head_dim
    layout: _Layout = {
        "model.tok_embeddings.weight": ((llama.vocab_size, hidden), ("model.embed_tokens.weight",)),
        "model.norm.weight": ((hidden,), ("model.norm.weight",)),
        "v_head.weight": ((1, hidden), ("score.weight",)),
    }
    for index in range(llama.num_hidden_layers):
        of_layer: _Layout = {
            "attention.wqkv": ((rows, hidden), ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
            "attention.wo": ((hidden, hidden), ("self_attn.o_proj",)),
            "feed_forward.w1": ((inner, hidden), ("mlp.gate_proj",)),
            "feed_forward.w3": ((inner, hidden), ("mlp.up_proj",)),
            "feed_forward.w2": ((hidden, inner), ("mlp.down_proj",)),
            "attention_norm": ((hidden,), ("input_layernorm",)),
            "ffn_norm": ((hidden,), ("post_attention_layernorm",)),
        }
        prefix = f"model.layers.{index}."
        for name, (shape, ours) in of_layer.items():
            layout[f"{prefix}{name}.weight"] = shape, tuple(f"{prefix}{one}.weight" for one in ours)
    return layout


def _weight_files(source: Path) -> list[Path]:
    """The files of weights, by the rule of transformers: safetensors first, an index before a single file."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = source / f"{name}.index.json"
        if index.is_file():
            listed = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
            lost = [file for file in listed if not (source / file).is_file()]
            if lost:
                raise InputError(f"{source} lacks {', '.join(lost)}, which its index lists; get the model again")
            return [source / file for file in listed]
        if (source / name).is_file():
            return [source / name]
    raise InputError(f"{source} has no weights (model.safetensors, pytorch_model.bin or an index of shards)")


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    if file.suffix != ".safetensors":
        return {name: tuple(tensor.shape) for name, tensor in _tensors(file)}
    from safetensors import safe_open

    with safe_open(file, "pt") as weights:
        return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118


def _tensors(file: Path) -> Iterator[tuple[str, Any]]:
    """The weights of a file one after the other, without holding the file in memory."""
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                yield name, weights.get_tensor(name)
    else:
        import torch

        yield from torch.load(file, map_location="cpu", mmap=True, weights_only=True).items()


def _check_weights(files: Iterable[Path], layout: _Layout, source: Path) -> None:
    found: dict[str, tuple[int, ...]] = {}
    for file in files:
        try:
            found.update(_shapes(file))
        except Exception as error:  # of whatever reads the format
            raise InputError(f"{file} cannot be read: {first_line(error)}; get it again") from error
    missing, unknown = sorted(layout.keys() - found.keys()), sorted(found.keys() - layout.keys())
    if missing:
        raise InputError(f"{source} lacks {len(missing)} weights, the first is {missing[0]}; get the model again")
    if unknown:
        raise InputError(f"{source} has {len(unknown)} weights that InternLM2 has not, the first is {unknown[0]}")
    for name, (shape, _) in layout.items():
        if found[name] != shape:
            raise InputError(f"{source}: {name} has the shape {found[name]}; by config.json it would be {shape}")


def _converted(files: Iterable[Path], layout: _Layout, llama: Any, vocabulary: int) -> Iterator[tuple[str, Any]]:
    """Our weights by name. The embedding gets rows of zeros up to `vocabulary`."""
    import torch

    for file in files:
        for name, tensor in _tensors(file):
            _, ours = layout[name]
            if len(ours) == 3:
                # For each key-value head, the queries that share it, then its key, then its value.
                shared = llama.num_attention_heads // llama.num_key_value_heads
                grouped = tensor.view(llama.num_key_value_heads, shared + 2, llama.head_dim, llama.hidden_size)
                parts = grouped[:, :shared], grouped[:, shared], grouped[:, shared + 1]
                yield from zip(ours, (part.reshape(-1, llama.hidden_size) for part in parts), strict=True)
                continue
            if name == "model.tok_embeddings.weight":
                tensor = torch.cat([tensor, tensor.new_zeros(vocabulary - len(tensor), llama.hidden_size)])
            yield ours[0], tensor


def _write_weights(folder: Path, weights: Iterable[tuple[str, Any]], config: Any) -> int:
    """Writes `weights` as transformers reads them, sets the config's dtype, and returns how many numbers they are."""
    from safetensors.torch import save_file

    shards: list[list[str]] = []
    held: dict[str, Any] = {}
    parameters = total = 0

    def write() -> None:
        save_file(held, folder / f"model-{len(shards):05d}.part", metadata={"format": "pt"})
        shards.append(list(held))
        held.clear()

    for name, tensor in weights:
        size = tensor.numel() * tensor.element_size()
        if held and sum(one.numel() * one.element_size() for one in held.values()) + size > SHARD_SIZE:
            write()
        held[name] = tensor.contiguous()
        parameters, total = parameters + tensor.numel(), total + size
        config.dtype = tensor.dtype
    write()
    names = [f"model-{index + 1:05d}-of-{len(shards):05d}.safetensors" for index in range(len(shards))]
    if len(shards) == 1:
        names = ["model.safetensors"]
    else:
        where = {weight: name for name, shard in zip(names, shards, strict=True) for weight in shard}
        index = {"metadata": {"total_parameters": parameters, "total_size": total}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    for number, name in enumerate(names):
        (folder / f"model-{number:05d}.part").rename(folder / name)
    return parameters


def _prepared_config(llama: Any, tokenizer: Any, suffix: str) -> Any:
    """The config of a reward checkpoint of ours, by `prepare_reward_model` on a model without memory."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from .reward_checkpoint import prepare_reward_model

    with torch.device("meta"):
        shell = AutoModelForSequenceClassification.from_config(copy.deepcopy(llama))
    prepare_reward_model(shell, tokenizer, suffix=suffix)
    shell.config.architectures = [type(shell).__name__]
    return shell.config
