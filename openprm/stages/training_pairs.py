"""The pairs that the stage `train` reads: those that are trained on, and those that are held out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.holdout import hold_out, shared_questions
from ..errors import InputError
from ..runs.declaration import nearest
from ..runs.folder import is_folder, read_manifest, read_rows
from ..schema import LEVELS, Pair

if TYPE_CHECKING:
    from .train import Train


def training_pairs(stage: Train) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The pairs of the stage's levels to train on, and those to measure the accuracy on.

    Raises InputError for an unknown level, where none is left, and where held-out questions are trained on.
    """
    for level in stage.levels:
        if level not in LEVELS:
            raise InputError(f"--level: there is no level {level!r}{nearest(level, LEVELS)}")
    rows = [row for path in stage.pairs.values() for row in read_rows(path, Pair)]
    held = list(read_rows(stage.eval_pairs, Pair)) if stage.eval_pairs else []
    if stage.holdout and not held:  # the same prompts whatever the levels
        rows, held = hold_out(rows, stage.holdout)
    rows = [row for row in rows if row["level"] in stage.levels]
    if not rows:
        raise InputError(f"no pairs of level {' or '.join(stage.levels)} in {', '.join(stage.pairs.values())}")
    if stage.eval_pairs and (leaked := shared_questions(rows, held)):
        raise InputError(
            f"{stage.eval_pairs}: {len(leaked)} questions are trained on (but for case, space and punctuation), "
            f"such as {leaked[0]!r}; hold out pairs of other prompts"
        )
    if (stage.keeps_best or stage.patience) and not held:
        raise InputError("--keep best and --patience need held-out pairs: give --eval-pairs, or a --holdout above 0")
    return rows, held


def tree_separator(pairs: Iterable[str | Path]) -> str | None:
    """The one separator that the manifests of the pairs name, if there is exactly one."""
    found = {
        separator
        for path in pairs
        if is_folder(path)
        for separator in read_manifest(path)["counts"].get("separators", ())
    }
    return found.pop() if len(found) == 1 else None
