"""Load models and tokenizers with transformers, with errors that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from ..errors import InputError
from ..models.reward_checkpoint import loading

_DTYPES = ("auto", "float32", "bfloat16", "float16")


def checkpoint_dtype(model: str | Path, **origin: Any) -> str:
    """The dtype of a checkpoint by its config; float32 where that says none. `origin`: revision, trust_remote_code.

    vLLM's own `auto` makes bfloat16 of float32.
    """
    dtype = AutoConfig.from_pretrained(model, **origin).get_text_config().dtype
    return "float32" if dtype is None else str(dtype).removeprefix("torch.")


def load_model(auto_class: Any, model: str | Path, dtype: str, **options: Any) -> Any:
    """The model in evaluation mode. `options` are those of `from_pretrained`.

    Raises InputError for an unknown dtype, a model that cannot be loaded, and one that lacks weights.
    """
    name = auto_class.__name__
    if dtype not in _DTYPES:
        raise InputError(f"unknown dtype {dtype!r}; choose one of {', '.join(_DTYPES)}")
    with loading(model, name):
        loaded, found = auto_class.from_pretrained(model, dtype=dtype, output_loading_info=True, **options)
    if found["missing_keys"]:
        missing = ", ".join(sorted(found["missing_keys"]))
        raise InputError(
            f"{model} lacks weights ({missing}), and random ones would stand in for them; give a checkpoint that has "
            f"all those of {name}"
        )
    return loaded.eval()


def load_tokenizer(model: str | Path, **options: Any) -> Any:
    """Raises InputError where it cannot be loaded."""
    with loading(model, "AutoTokenizer"):
        return AutoTokenizer.from_pretrained(model, **options)
