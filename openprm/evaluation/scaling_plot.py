"""Plots of `openprm.evaluation.scaling`'s results (needs the extra `plots`).

A panel for each kind of model. Lines are told apart in gray by lightness, dashes and markers; bands and bars are 95 %
intervals over prompts. The same results give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from ..figure import grid, save_figure
from .data import RANDOM

_PANEL = (6.1, 4.4)  # inches
_RANDOM = {"color": "0.35", "linestyle": (0, (1, 3))}
_COVERAGE = {"color": "0.6", "linestyle": "-", "linewidth": 1.2}
_MAJORITY = {"color": "0.35", "linestyle": ":"}
_WEIGHTED = {"color": "#a85a10", "linestyle": "--", "marker": "s"}
#: Best of n by each aggregation, in the order of the results: the same in every panel.
_BEST: Sequence[Mapping[str, Any]] = (
    {"color": "#12344d", "linestyle": "-", "marker": "o"},
    {"color": "#5b8fb0", "linestyle": "-.", "marker": "^"},
    {"color": "#8a8a8a", "linestyle": (0, (3, 1.5, 1, 1.5, 1, 1.5)), "marker": "v"},
    {"color": "#5b8fb0", "linestyle": (0, (8, 2)), "marker": "<"},
    {"color": "#8a8a8a", "linestyle": (0, (2, 2)), "marker": ">"},
)
_OWN_WIDTH = 2.4  # of the aggregation that the model is meant to be read by
_SEARCHES = "*DPXph"  # markers


@dataclass(frozen=True)
class _Line:
    name: str
    style: Mapping[str, Any]
    points: Sequence[Mapping[str, Any]]
    is_search: bool = False


def plot_scaling(results: Mapping[str, Any], folder: Path) -> list[str]:
    """Plots accuracy against samples and, where candidates say their length, against tokens.

    Returns the names of the files, .png and .svg. Raises InputError without matplotlib.
    """
    plots = [("accuracy-by-samples", "n", "samples for each prompt (of a search: its budget)")]
    if results["counts"]["tokens_per_candidate"] is not None:
        plots.append(("accuracy-by-tokens", "generated_tokens", "tokens generated for each prompt"))
    return [file for name, axis, title in plots for file in _plot(results, axis, title, folder / name)]


def _plot(results: Mapping[str, Any], along: str, title: str, path: Path) -> list[str]:
    panels = list(results["kinds"]) or [None]
    # one scale for all panels, so that models can be compared
    figure, axes = grid(len(panels), _PANEL, sharey=True)
    for axis, kind in zip(axes, panels, strict=True):
        _panel(axis, list(_lines(results, kind)), along)
        axis.set_title(kind or "", loc="left", fontweight="bold")
        axis.set_xlabel(title)
        axis.set_ylabel(f"accuracy, 95 % intervals over {results['counts']['prompts']} prompts")
    save_figure(figure, path.with_suffix(".png"))
    save_figure(figure, path.with_suffix(".svg"))
    return [f"{path.name}.png", f"{path.name}.svg"]


def _lines(results: Mapping[str, Any], kind: str | None) -> Iterator[_Line]:
    """What one panel shows: the lines that need no model, and those of this kind."""
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for point in results["samples"]:
        lines.setdefault(point["line"], []).append(point)
    yield _Line("coverage", _COVERAGE, lines["coverage"])
    if majority := lines.get("majority vote"):
        yield _Line("majority vote", _MAJORITY, majority)
    models: Sequence[str] = ()
    if kind is not None:
        own, models = results["kinds"][kind]["aggregation"], results["kinds"][kind]["models"]
        yield _Line(RANDOM, _RANDOM, lines[f"best of n: {RANDOM}/{own}"])
        if weighted := lines.get(f"weighted vote: {kind}/{own}"):
            yield _Line(f"weighted vote ({own})", _WEIGHTED, weighted)
        start = f"best of n: {kind}/"
        for line, style in zip((line for line in lines if line.startswith(start)), cycle(_BEST), strict=False):
            by = line.removeprefix(start)
            yield _Line(f"best by {by}", {**style, "linewidth": _OWN_WIDTH} if by == own else style, lines[line])
    searches: dict[str, list[Mapping[str, Any]]] = {}
    markers = dict(zip(dict.fromkeys(p["method"] for p in results["searches"]), cycle(_SEARCHES), strict=False))
    for point in results["searches"]:
        if point["scorer"] is None or point["scorer"] in models:
            searches.setdefault(point["line"], []).append(point)
    for line, points in searches.items():
        style = {"color": "black", "linestyle": ":", "linewidth": 1, "marker": markers[points[0]["method"]]}
        yield _Line(f"search: {line}", style, sorted(points, key=lambda point: point["n"]), is_search=True)


def _panel(axis: Any, lines: Sequence[_Line], along: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axis.set_xscale("log", base=2)
    for line in lines:
        x, accuracy, low, high = (
            [point[column] for point in line.points] for column in (along, "accuracy", "low", "high")
        )
        if line.is_search:
            axis.vlines(x, low, high, color=line.style["color"], linewidth=0.9)
        else:
            axis.fill_between(x, low, high, color=line.style["color"], alpha=0.1, linewidth=0)
        markers = {"markerfacecolor": "white", "markersize": 9 if line.is_search else 4.5}
        axis.plot(x, accuracy, **line.style, **markers, label=line.name)
    axis.set_xticks([point[along] for point in lines[0].points])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:.2g}k" if x >= 1000 else f"{x:.0f}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.grid(axis="y", color="0.92")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, handlelength=3.5)
