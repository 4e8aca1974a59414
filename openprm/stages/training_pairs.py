"""The pairs and labels that the stage `train` reads: those that are trained on, and those that are held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.holdout import hold_out, shared_questions
from ..errors import InputError
from ..labels.conversions import to_points
from ..runs.declaration import nearest
from ..runs.folder import is_folder, read_manifest, read_rows
from ..schema import LEVELS, POINT, Pair, StepLabels

if TYPE_CHECKING:
    from .train import Train


def training_pairs(stage: Train) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The pairs of the stage's levels and the points of its labels to train on, and those to measure the accuracy on.

    Raises InputError for an unknown level, where none is left, and where held-out questions are trained on.
    """
    for level in stage.levels:
        if level not in LEVELS:
            raise InputError(f"--level: there is no level {level!r}{nearest(level, LEVELS)}")
    if not stage.pairs and not stage.labels:
        raise InputError("there is nothing to train on; give pairs, or --labels")
    rows: list[Any] = [row for path in stage.pairs.values() for row in read_rows(path, Pair)]
    rows += _points(stage.labels.values())
    held: list[Any] = list(read_rows(stage.eval_pairs, Pair)) if stage.eval_pairs else []
    held += _points([stage.eval_labels] if stage.eval_labels else [])
    if stage.holdout and not held:  # the same prompts whatever the levels
        rows, held = hold_out(rows, stage.holdout)
    rows = [row for row in rows if row.get("level", POINT) in (*stage.levels, POINT)]
    if not rows:
        raise InputError(f"no pairs of level {' or '.join(stage.levels)} in {', '.join(stage.pairs.values())}")
    given = stage.eval_pairs or stage.eval_labels
    if given and (leaked := shared_questions(rows, held)):
        raise InputError(
            f"{given}: {len(leaked)} questions are trained on (but for case, space and punctuation), "
            f"such as {leaked[0]!r}; hold out other prompts"
        )
    if (stage.keeps_best or stage.patience) and not held:
        raise InputError(
            "--keep best and --patience need held-out pairs or labels: give --eval-pairs, --eval-labels or a --holdout"
        )
    return rows, held


def _points(paths: Iterable[str]) -> list[Any]:
    """The labelled steps of all paths. Raises InputError where labels are of two kinds, which are not the same."""
    kinds: dict[str, str] = {}
    points: list[Any] = []
    for path in paths:
        rows: Iterator[Any] = read_rows(path, StepLabels)
        for row in rows:
            kinds.setdefault(row["kind"], path)
            points += to_points(row)
    if len(kinds) > 1:
        named = " and ".join(f"{path} ({kind})" for kind, path in kinds.items())
        raise InputError(f"labels of two kinds: {named}; harden the values, or train on one of them")
    return points


def tree_separator(pairs: Iterable[str | Path]) -> str | None:
    """The one separator that the manifests of the pairs name, if there is exactly one."""
    found = {
        separator
        for path in pairs
        if is_folder(path)
        for separator in read_manifest(path)["counts"].get("separators", ())
    }
    return found.pop() if len(found) == 1 else None
