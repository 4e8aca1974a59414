"""Pictures of what the probes say of single answers, from `details` in results.json (needs the extra `plots`).

A panel for each kind of models, as rewards of different models are on different scales.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...figure import new_figure
from ..tables import Row
from .plots import BLUE, ORANGE, Picture, label
from .tables import number

_COLUMNS = 3


def detail_pictures(name: str, result: Mapping[str, Any], kinds: Mapping[str, Any]) -> Iterator[Picture]:
    """What there is to draw of the models' single rewards on one benchmark. Raises InputError without matplotlib."""
    for probe, (draw, caption) in _PICTURES.items():
        details = result["details"].get(probe, {})
        # a probe without points says why instead
        drawn = {kind: found for kind in kinds if (found := details.get(kind)) and "why" not in found}
        if drawn:
            rows = [row for row in result["metrics"] if row["part"] == probe and not row["subset"]]
            yield Picture(f"{name}-{probe}-models", caption, _panels(drawn, rows, draw))


def _panels(drawn: Mapping[str, Any], rows: list[Row], draw: Callable[[Any, Any], tuple[str, str]]) -> Any:
    """A panel a model, with its first number of that probe in the title."""
    columns = min(len(drawn), _COLUMNS)
    lines = -(-len(drawn) // columns)
    figure, axes = new_figure(lines, columns, (1.2 + 3.6 * columns, 3.4 * lines))
    for axis, (kind, details) in zip(axes.ravel(), drawn.items(), strict=False):
        row = next((one for one in rows if one["model"] == kind and one["value"] is not None), None)
        told = f"\n{row['metric']} {number(row, '.2f')}" if row else ""
        x, y = draw(axis, details)
        axis.set(xlabel=x, ylabel=y)
        axis.set_title(label(kind) + told, loc="left", fontsize=9)
        axis.grid(color="0.92")
    for axis in axes.ravel()[len(drawn) :]:
        axis.remove()
    return figure


def _length(axis: Any, details: Mapping[str, Any]) -> tuple[str, str]:
    best = max(point["golden"] for point in details["points"])
    for color, marker, name, better in ((ORANGE, "x", "worse", False), (BLUE, "o", "better", True)):
        some = [point for point in details["points"] if (point["golden"] == best) == better]
        x, y = ([point[key] for point in some] for key in ("length", "score"))
        # as pixels: thousands of dots would make a large file
        axis.plot(x, y, marker, color=color, markersize=3, alpha=0.6, label=name, rasterized=True)
    axis.legend(frameon=False, fontsize=8)
    return f"length in {details['unit']}", "score"


def _distribution(axis: Any, details: Mapping[str, Any]) -> tuple[str, str]:
    for key, color, line in (("worse", ORANGE, "--"), ("better", BLUE, "-")):
        axis.stairs(details[key], details["edges"], color=color, linestyle=line, linewidth=1.8, label=key)
    axis.legend(frameon=False, fontsize=8)
    return "score", "share of answers"


def _abstention(axis: Any, details: list[Mapping[str, float]]) -> tuple[str, str]:
    axis.plot([point["coverage"] for point in details], [point["risk"] for point in details], color=BLUE)
    axis.axhline(details[-1]["risk"], color="0.5", linestyle=":")
    axis.set_xlim(0, 1)
    return "coverage (dotted: at random)", "risk"


def _calibration(axis: Any, details: Mapping[str, Any]) -> tuple[str, str]:
    axis.plot([0, 1], [0, 1], color="0.5", linestyle=":")
    x, y = ([one[key] for one in details["bins"]] for key in ("probability", "right"))
    axis.plot(x, y, "o-", color=BLUE, markersize=4)
    for one in details["bins"]:
        beside = {"textcoords": "offset points", "xytext": (4, -9), "fontsize": 7, "color": "0.3"}
        axis.annotate(f"{one['steps']:,}", (one["probability"], one["right"]), **beside)
    axis.set(xlim=(0, 1), ylim=(0, 1))
    return "mean probability (with the number of steps)", "share of right steps"


#: By probe: how it is drawn, and what it shows.
_PICTURES: Mapping[str, tuple[Callable[[Any, Any], tuple[str, str]], str]] = {
    "length": (_length, "Score against length, of better and worse answers (the paper's Figure 4b)."),
    "distribution": (_distribution, "Scores of better and worse answers (the paper's Figure 6)."),
    "abstention": (_abstention, "Risk against coverage: only the prompts with the highest scores are answered."),
    "calibration": (_calibration, "Reliability: the share of right steps by the probability that rewards say."),
}
