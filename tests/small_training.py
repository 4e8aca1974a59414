"""A tiny training run."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

import torch

from openprm.models.reward_checkpoint import prepare_reward_model
from openprm.schema import Pair
from openprm.training.config import OpenPRMConfig
from openprm.training.trainer import OpenPRMTrainer
from tests import tiny_models

torch.set_num_threads(1)  # tensors this small only lose by more, most of all on a busy machine

WORDS = "the sum of two and three is five seven so answer first add numbers".split()


def pair(index: int = 0, **columns: Any) -> Pair:
    """A pair whose chosen side says "good", with texts drawn by its index."""
    draw = random.Random(index)

    def text(size: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(size))

    row: dict[str, Any] = {
        "schema_version": 1,
        "prompt_id": f"p{index}",
        "source": ("math", "open")[index % 2],
        "question": [{"role": "user", "content": text(5)}],
        "context": text(draw.randrange(12)),
        "chosen": f" {text(4)} good.",
        "rejected": f" {text(4)} bad.",
        "rejected_context": text(4) if index % 5 == 0 else None,
        "level": ("outcome", "process", "process")[index % 3],
        "gap": draw.random(),
        "depth": 1,
        "support": {"chosen": 1, "rejected": 1},
        "weight": 0.5 if index % 4 == 3 else 1.0,
    }
    return cast(Pair, {**row, **columns})


def pairs(count: int, start: int = 0) -> list[Pair]:
    return [pair(index) for index in range(start, start + count)]


def points(count: int, start: int = 0) -> list[Any]:
    """Labelled steps of the chosen (0.9) and the rejected sides (0.1) of pairs, in turn."""
    sides = [(one, side) for one in pairs(count, start) for side in ("chosen", "rejected")]
    return [
        {
            **{name: one[name] for name in ("prompt_id", "source", "question", "context")},
            "step": one[side],
            "target": 0.9 if side == "chosen" else 0.1,
        }
        for one, side in sides
    ]


def tree_pairs(count: int) -> list[Pair]:
    """Pairs of trees, three of each: two behind one context, with the same chosen side, and one right at the root."""
    rows = []
    for index in range(count):
        tree = pair(index - index % 3)
        shared: dict[str, Any] = {name: tree[name] for name in ("prompt_id", "source", "question")}
        if index % 3 < 2:
            shared |= {name: tree[name] for name in ("context", "chosen")} | {"rejected_context": None}
        rows.append(pair(index, **shared))
    return rows


def trainer(folder: str | Path, train: Any = None, evaluate: Any = None, *, model: Any = None, **options: Any) -> Any:
    """An `OpenPRMTrainer`, by plain gradient descent: unlike Adam's, its steps show the size of the gradient."""
    settings: dict[str, Any] = {
        "batch_size": 8,
        "learning_rate": 1e-2,
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
    }
    tokenizer = tiny_models.tokenizer()
    model = model or tiny_models.model(vocab_size=len(tokenizer))
    prepare_reward_model(model, tokenizer)
    config = OpenPRMConfig(str(folder), **{**settings, **options})
    return OpenPRMTrainer(model, config, train_dataset=train, eval_dataset=evaluate, processing_class=tokenizer)
