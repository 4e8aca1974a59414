"""Reward token sequences with transformers: for small models, laptops and tests (big runs go to vLLM).

engine = TransformersRewardEngine("runs/tiny/orm")
engine.rewards([[[1, 5], [1, 5, 7]]])
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import InputError, first_line
from .base import Report, no_report

_DTYPES = ("float32", "bfloat16", "float16")


class TransformersRewardEngine:
    """A `RewardEngine`: an `AutoModelForSequenceClassification` with one label.

    What sequences share is computed once where that is exact with this model, which is tried when it is loaded;
    `packed` False takes plain passes, True does not try (see `SequenceRewarder`).

    `dtype` is float32, bfloat16 or float16; in float32 rewards are the same to 1e-4 whatever the batch, its order
    and padding. `max_tokens` (padding included) bounds one pass: speed and memory only. The model is spread over the
    GPUs there are, else it runs on the CPU. Raises InputError for what is no reward model or lacks weights, and
    for a model with code of its own without `trust_remote_code`.
    """

    engine = "transformers"

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        trust_remote_code: bool = False,
        packed: bool | None = None,
        max_tokens: int | None = None,
    ) -> None:
        from ..scoring.rewarder import DEFAULT_MAX_TOKENS, SequenceRewarder

        self.version: str | None = version("transformers")
        self.max_tokens = max_tokens or DEFAULT_MAX_TOKENS
        loaded = _load(model, revision, dtype, trust_remote_code)
        self._rewarder: SequenceRewarder | None = SequenceRewarder(loaded, packed)
        text = loaded.config.get_text_config()
        self.max_length: int = getattr(text, "max_position_embeddings", None) or sys.maxsize

    def rewards(self, groups: Sequence[Sequence[Sequence[int]]], report: Report = no_report) -> list[list[float]]:
        """See `RewardEngine`. Raises ValueError for an empty sequence."""
        if self._rewarder is None:
            raise RuntimeError("the engine is closed")
        return self._rewarder.rewards(groups, self.max_tokens, report)

    def close(self) -> None:
        """Gives the model's memory back."""
        import torch

        self._rewarder = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _load(model: str | Path, revision: str | None, dtype: str, trust_remote_code: bool) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    from ..models.reward_checkpoint import reward_model_config

    if dtype not in _DTYPES:
        raise InputError(f"unknown dtype {dtype!r}; choose one of {', '.join(_DTYPES)}")
    config = reward_model_config(model, revision=revision, trust_remote_code=trust_remote_code)
    try:
        loaded, found = AutoModelForSequenceClassification.from_pretrained(
            model,
            config=config,
            revision=revision,
            dtype=getattr(torch, dtype),
            device_map="auto" if torch.cuda.is_available() else None,
            output_loading_info=True,
            trust_remote_code=trust_remote_code,
        )
    except (OSError, ValueError) as error:
        raise InputError(f"{model} cannot be loaded: {first_line(error)}; check the checkpoint") from error
    if found["missing_keys"]:
        missing = ", ".join(sorted(found["missing_keys"]))
        raise InputError(f"{model} lacks weights ({missing}), and random ones would give its rewards; get it whole")
    return loaded.eval()
