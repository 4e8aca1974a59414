"""The curve of a training run: the loss of every step and what was measured on held-out pairs, as CSV and picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from ..runs.manifest import CURVE
from ..schema import LEVELS

#: What transformers' Trainer has logged, in order (`state.log_history`).
History = Sequence[Mapping[str, Any]]

_KEPT = ("step", "epoch", "loss", "learning_rate", "grad_norm")
_STYLES = ({"color": "#12344d"}, {"color": "#5b8fb0", "linestyle": "-."}, {"color": "0.5", "linestyle": ":"})


def curve(history: History) -> list[dict[str, float]]:
    """A row for each step: its loss, and the loss and accuracies on held-out pairs where they were measured (`eval_`).

    Times are left out, so that equal runs have equal curves.
    """
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        names = [*_KEPT, *filter(is_measured, sorted(entry))]  # a checkpoint keeps no order
        kept = {name: entry[name] for name in names if name in entry}
        rows.setdefault(entry["step"], {}).update(kept)
    return list(rows.values())


def is_measured(name: str) -> bool:
    """Whether a number that Trainer logs was measured on held-out pairs, and is no time."""
    return name.startswith("eval_") and ("loss" in name or "accuracy" in name)


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


def plot_curve(history: History, folder: Path) -> None:
    """Draws `curve.png`: the loss, and the accuracy on held-out pairs, in all and by level.

    Raises ImportError without matplotlib.
    """
    from matplotlib.figure import Figure

    rows = curve(history)
    measured = [row for row in rows if "eval_accuracy" in row]
    figure = Figure(figsize=(7, 6 if measured else 3), layout="constrained")
    axes = figure.subplots(2 if measured else 1, sharex=True, squeeze=False)[:, 0]
    axes[0].plot(*_line(rows, "loss"), color="0.6", linewidth=0.8, label="of a step")
    axes[0].axhline(math.log(2), color="0.8", label="log 2: chance")
    axes[0].set_ylabel("loss")
    if measured:
        axes[0].plot(*_line(measured, "eval_loss"), color="black", marker="o", label="held-out pairs")
        axes[1].plot(*_line(measured, "eval_accuracy"), color="black", marker="o", label="all")
        for level, style in zip(LEVELS, _STYLES, strict=True):
            axes[1].plot(*_line(measured, f"eval_accuracy_{level}"), marker=".", label=level, **style)
        axes[1].axhline(0.5, color="0.8")
        axes[1].set_ylabel("accuracy on held-out pairs")
    for axis in axes:
        axis.legend()
    axes[-1].set_xlabel("step")
    figure.savefig(folder / CURVE[1])


def _line(rows: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    there = [row for row in rows if name in row]
    return [row["step"] for row in there], [row[name] for row in there]
