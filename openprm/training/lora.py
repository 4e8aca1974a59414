"""Low-rank adapters (Hu et al., 2021), by peft, of the extra `lora`."""

from __future__ import annotations

from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from ..errors import InputError


def add_lora(model: Any, rank: int, seed: int) -> Any:
    """The model with adapters of this rank on all linear layers of its backbone (scale 1), and a head trained whole.

    All else is frozen. An adapter adds 0 until it is trained; what it is drawn from is set by `seed`. Raises
    InputError without peft.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("--lora needs peft: pip install 'openprm[lora]'") from None
    backbone = model.base_model_prefix
    linear = [
        f"{backbone}.{name}"
        for name, module in model.base_model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
    ]
    heads = [name for name, module in model.named_children() if name != backbone and [*module.parameters()]]
    adapters = LoraConfig(r=rank, lora_alpha=rank, target_modules=linear, modules_to_save=heads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, adapters)
