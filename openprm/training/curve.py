"""The curve of a training run: the loss of every step and what was measured on held-out pairs, as CSV and picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from statistics import fmean
from typing import Any

from ..figure import new_figure, save_figure
from ..runs.manifest import CURVE
from ..schema import TRAINED

#: What transformers' Trainer has logged, in order (`state.log_history`).
History = Sequence[Mapping[str, Any]]

#: A row for each step: what was logged.
Curve = Sequence[Mapping[str, float]]

_KEPT = ("step", "epoch", "loss", "learning_rate", "grad_norm")
_ACCURACIES = ("eval_accuracy", *(f"eval_accuracy_{level}" for level in TRAINED))


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


def read_curve(folder: Path) -> Curve:
    """The rows of `curve.csv`."""
    with (folder / CURVE[0]).open(encoding="utf-8", newline="") as file:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]


def by_step(runs: Sequence[Curve], column: str, width: int = 1) -> dict[int, list[float]]:
    """For every `width` steps, by the last of them, the mean of a column in each run that has any there."""
    found: dict[int, list[float]] = {}
    for run in runs:
        parts: dict[int, list[float]] = {}
        for row in run:
            if column in row:
                parts.setdefault(math.ceil(row["step"] / width) * width, []).append(row[column])
        for step, values in parts.items():
            found.setdefault(step, []).append(fmean(values))
    return dict(sorted(found.items()))


def plot_curves(variants: Mapping[str, Sequence[Curve]], path: Path, kept: int | None = None) -> None:
    """Draws losses (means over a 50th of the longest run) and held-out accuracies by step, with the `kept` step.

    variants: runs that differ only in their seed, by name: a line is their mean, its band goes from least to most. Of
    several variants the training loss and the accuracy over all levels are drawn, of one the others, too.

    Raises InputError without matplotlib.
    """
    width = math.ceil(max(row["step"] for runs in variants.values() for run in runs for row in run) / 50)
    only = 1 if len(variants) > 1 else None
    lines: dict[str, dict[str, dict[int, list[float]]]] = {}
    for title, columns in (("loss", ("loss", "eval_loss")), ("held-out accuracy", _ACCURACIES)):
        for name, runs in variants.items():
            for column in columns[:only]:
                if points := by_step(runs, column, width):
                    lines.setdefault(title, {})[name if only else column] = points
    figure, panels = new_figure(len(lines), 1, (7, 6), sharex=True)
    for axis, (title, labeled) in zip(panels[:, 0], lines.items(), strict=True):
        for (label, points), marker in zip(labeled.items(), cycle(".o^s"), strict=False):
            (line,) = axis.plot([*points], [fmean(values) for values in points.values()], label=label, marker=marker)
            ends = ([end(values) for values in points.values()] for end in (min, max))
            axis.fill_between([*points], *ends, color=line.get_color(), alpha=0.2, linewidth=0)
        axis.axhline(math.log(2) if title == "loss" else 0.5, color="0.8", label="chance")
        if kept is not None:
            axis.axvline(kept, color="0.5", linestyle=":", label=f"step {kept} is kept")
        axis.set(xlabel="step", ylabel=title)
        axis.legend()
    save_figure(figure, path)
