"""Tiny models and tokenizers, made on the spot: no Hub, no files. Seeded, so that they are always the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 96
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "num_labels": 1,
}

#: Configurations whose sequences can be packed: (config class, options).
PACKABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "qwen2": ("Qwen2Config", {}),
    "qwen2-window": ("Qwen2Config", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    "qwen3": ("Qwen3Config", {"head_dim": 8}),
    "gemma2": ("Gemma2Config", {"head_dim": 8, "sliding_window": 4, "attn_implementation": "eager"}),
    "gemma3": (
        "Gemma3TextConfig",
        {"head_dim": 8, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "mistral-window": ("MistralConfig", {"sliding_window": 4, "head_dim": 8}),
    "gpt2": ("GPT2Config", {"n_inner": 48, "num_key_value_heads": None}),
}

#: Configurations whose sequences cannot: ALiBi, linear attention, a window of the model's own, an encoder.
NOT_PACKABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt-neo": (
        "GPTNeoConfig",
        {
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 512,
        },
    ),
    "mpt": ("MptConfig", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 512}),
    "bloom": ("BloomConfig", {"n_head": 4, "n_layer": 2}),
    "qwen3-next": (
        "Qwen3NextConfig",
        {
            "head_dim": 8,
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
            "layer_types": ["linear_attention", "full_attention"],
        },
    ),
    "bert": ("BertConfig", {}),
}


def model(
    name: str = "llama",
    dtype: torch.dtype = torch.float32,
    kind: str = "AutoModelForSequenceClassification",
    seed: int = 0,
    **options: Any,
) -> PreTrainedModel:
    """A tiny reward model with random weights, in evaluation mode. The weights are large, so that rewards differ."""
    config_class, own = {**PACKABLE, **NOT_PACKABLE}[name]
    settings = {**SIZES, **own, **options}
    attention = settings.pop("attn_implementation", None)
    settings = {key: value for key, value in settings.items() if value is not None or key in options}
    config = getattr(transformers, config_class)(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = getattr(transformers, kind).from_config(config, dtype=dtype, attn_implementation=attention)
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(std=0.2)
    made.config.problem_type = "regression"
    return made.eval()


CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

CORPUS = [
    "The sum of two and three is five.\nSo the answer is five.\n",
    "First, add the numbers.\nThen, divide by two.\n\nThe answer is seven.",
    "What is the sum of two and three?",
]


def tokenizer(chat_template: str | None = CHAT_TEMPLATE, **options: Any) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that merges across white space and punctuation, and so across a step's end."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    settings: dict[str, Any] = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", **options}
    made = PreTrainedTokenizerFast(tokenizer_object=bpe, **settings)
    made.chat_template = chat_template
    return made


def saved(folder: Path, model: Any, tokenizer: Any) -> Path:
    """The folder, which holds both as a checkpoint."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
