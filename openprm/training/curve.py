"""The curve of a training run: the loss of every step and what was measured on held-out pairs, as CSV and picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from ..figure import new_figure, save_figure
from ..runs.manifest import CURVE
from ..schema import LEVELS

#: What transformers' Trainer has logged, in order (`state.log_history`).
History = Sequence[Mapping[str, Any]]

_KEPT = ("step", "epoch", "loss", "learning_rate", "grad_norm")
_ACCURACIES = ("eval_accuracy", *(f"eval_accuracy_{level}" for level in LEVELS))
_STYLES = ({"color": "0.5"}, {"marker": "o"}, {"marker": "^", "linestyle": "-."}, {"marker": "s", "linestyle": ":"})


def curve(history: History) -> list[dict[str, float]]:
    """A row for each step: its loss, and the loss and accuracies on held-out pairs where they were measured (`eval_`).

    Times are left out, so that equal runs have equal curves.
    """
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        measured = [name for name in sorted(entry) if name.startswith(("eval_loss", "eval_accuracy"))]
        rows.setdefault(entry["step"], {}).update({name: entry[name] for name in [*_KEPT, *measured] if name in entry})
    return list(rows.values())


def mean_loss(history: History, after: int = 0) -> float:
    """The mean training loss of the steps after `after`, those before a kill too, which Trainer's own mean omits."""
    return fmean([entry["loss"] for entry in history if "loss" in entry and entry["step"] > after] or [0.0])


def write_curve(history: History, folder: Path) -> None:
    """Writes `curve.csv`; a cell is empty where nothing was measured."""
    rows = curve(history)
    columns = dict.fromkeys(name for row in rows for name in row)
    with (folder / CURVE[0]).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*columns])
        writer.writeheader()
        writer.writerows(rows)


def plot_curve(history: History, folder: Path, kept: int | None = None) -> None:
    """Draws `curve.png`: the loss, and the accuracy on held-out pairs, in all and by level; and the step that is kept.

    Raises InputError without matplotlib.
    """
    rows = curve(history)
    lines = {"loss": ["loss", "eval_loss"], "held-out accuracy": [name for name in rows[-1] if name in _ACCURACIES]}
    lines = {title: names for title, names in lines.items() if names}
    figure, panels = new_figure(len(lines), 1, (7, 6), sharex=True)
    for axis, (title, names) in zip(panels[:, 0], lines.items(), strict=True):
        for name, style in zip(names, _STYLES, strict=False):
            points = [(row["step"], row[name]) for row in rows if name in row]
            axis.plot([step for step, _ in points], [value for _, value in points], label=name, **style)
        axis.axhline(math.log(2) if title == "loss" else 0.5, color="0.8", label="chance")
        if kept is not None:
            axis.axvline(kept, color="C3", linewidth=1, label=f"step {kept} is kept")
        axis.set(xlabel="step", ylabel=title)
        axis.legend()
    save_figure(figure, folder / CURVE[1])
