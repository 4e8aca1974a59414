"""Training of the top layers alone, on states that all runs with the same frozen layers share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..models.trunk import TRIE, Trunk, with_trunk
from ..models.trunk_states import node_keys, trie, tries


def train_top_layers(trainer: Any, top: int, folder: str | Path, order: str) -> dict[str, int]:
    """Freezes all below the `top` layers of an `OpenPRMTrainer`'s model, and computes the states of its pairs there.

    folder, order: see `with_trunk`. Returns for a manifest: `top_layers`, `kept_tokens` (distinct ones of all pairs)
    and `kept_bytes`. Raises InputError where the model's top layers cannot be trained alone.
    """
    trunk = Trunk(trainer.model, top)
    trunk.freeze()
    sets = [trainer.train_dataset, trainer.eval_dataset]
    sequences = [side for some in sets if some for pair in some.pairs for side in pair.sides]
    with trainer.accelerator.autocast():
        trainer.rewarder = with_trunk(trainer.rewarder, trunk, folder, f"{order} {trainer.args.process_index}")
        trainer.rewarder.calls.prepare(sequences)
    count = len(np.unique(np.concatenate([node_keys(trie(group)) for group in tries(sequences, TRIE)])))
    size = trainer.model.config.get_text_config().hidden_size * trainer.model.dtype.itemsize
    return {"top_layers": top, "kept_tokens": count, "kept_bytes": count * size}
