"""A picture of an evaluation: the accuracy of each choice with its interval (needs the extra `plots`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..figure import new_figure, save_figure


def plot_evaluation(evaluation: Mapping[str, Any], path: Path) -> None:
    """Draws the accuracy of each choice with its interval, from an evaluation's results or manifest.

    Raises InputError without matplotlib.
    """
    results = evaluation["metrics"]
    figure, ((axis,),) = new_figure(1, 1, (8, 0.9 + 0.34 * len(results)))
    for place, row in enumerate(results):
        chosen = row["method"].startswith(("best of", "weighted"))
        color, marker = ("#1b4965", "o") if chosen else ("0.45", "D")
        axis.plot([row["low"], row["high"]], [place, place], color=color, linewidth=2)
        axis.plot(row["accuracy"], place, marker, color=color, markersize=6)
        beside = {"textcoords": "offset points", "va": "center", "fontsize": 9}
        axis.annotate(f"{row['accuracy']:.3f}", (row["high"], place), (6, 0), **beside)
        if row["method"] == "single sample":
            axis.axvline(row["accuracy"], color="0.45", linewidth=1, linestyle=":")
    axis.set_yticks(range(len(results)), [row["method"] for row in results])
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.set_xlabel("accuracy, with 95 % intervals over prompts (dotted: a single sample)")
    axis.grid(axis="x", color="0.9")
    save_figure(figure, path)
