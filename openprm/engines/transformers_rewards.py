"""Reward token sequences with transformers: for small models, laptops and tests (big runs go to vLLM).

engine = TransformersRewardEngine("runs/tiny/orm")
engine.rewards([[[1, 5], [1, 5, 7]]])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from ..models.reward_checkpoint import reward_model_config
from ..models.trunk import Trunk, trained_layers, with_trunk
from ..scoring.forward import longest_sequence
from ..scoring.rewarder import DEFAULT_MAX_TOKENS, SequenceRewarder
from .base import Report, no_report
from .transformers_loading import load_model


class TransformersRewardEngine:
    """A `RewardEngine`: an `AutoModelForSequenceClassification` with one label.

    What sequences share is computed once where that is exact with this model, which is tried when it is loaded;
    `packed` False takes plain passes, True does not try (see `SequenceRewarder`).

    `dtype` is float32, bfloat16, float16 or auto; in float32 rewards are the same to 1e-4 whatever the batch, its
    order and padding. `max_tokens` (padding included) bounds one pass: speed and memory only. The model is spread over
    the GPUs there are, else it runs on the CPU. `states`: of a model whose top layers alone were trained, the folder
    that keeps the states of the others (`openprm train --states`), for all models that share them. Raises InputError
    for what is no reward model or lacks weights, and for a model with code of its own without `trust_remote_code`.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        trust_remote_code: bool = False,
        packed: bool | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        states: str | None = None,
    ) -> None:
        origin: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        config = reward_model_config(model, **origin)
        device_map = "auto" if torch.cuda.is_available() else None
        loaded = load_model(
            AutoModelForSequenceClassification, model, dtype, config=config, device_map=device_map, **origin
        )
        self._rewarder: Any = SequenceRewarder(loaded, packed)
        if states is not None:
            top = trained_layers(loaded)
            self._rewarder = with_trunk(self._rewarder, Trunk(loaded, top), states, str(model))
        self.max_tokens = max_tokens
        self.max_length = longest_sequence(loaded)

    def rewards(self, groups: Sequence[Sequence[Sequence[int]]], report: Report = no_report) -> list[list[float]]:
        """See `RewardEngine`. Raises ValueError for an empty sequence."""
        return self._rewarder.rewards(groups, self.max_tokens, report)

    def close(self) -> None:
        """Frees the model's memory."""
        self._rewarder = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
