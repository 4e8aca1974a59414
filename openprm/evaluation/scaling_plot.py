"""Pictures of `openprm.evaluation.scaling`'s results (needs the extra `plots`).

A panel for each scorer. Lines are told apart in grey by lightness, dashes and markers, and named at their ends; bands
and bars are 95 % intervals over prompts. The same results give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

from ..errors import InputError

_COLUMNS = 3
_AXES = (3.1, 3.4)  # of a panel, in inches
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.6, 2.4, 0.55, 0.4  # around it: numbers, names of lines, numbers, its title
_FONT = 8.5
_KEY = (1.05, 1.1, 1.15)  # where a piece of the line stands beside its name, in widths of the axes
_SPACING = 0.052  # between two names, as a share of the panel's height


@dataclass(frozen=True)
class _Style:
    colour: str
    dashes: Any
    marker: str
    width: float = 1.5


_COVERAGE = _Style("0.6", "-", "", 1.2)
_MAJORITY = _Style("0.35", (0, (1, 1.2)), "")
_WEIGHTED = _Style("#a85a10", (0, (4, 2)), "s")
#: Of aggregations, in the order of the results: the same in every panel.
_BEST = (
    _Style("#12344d", "-", "o"),
    _Style("#5b8fb0", (0, (6, 1.5, 1, 1.5)), "^"),
    _Style("#8a8a8a", (0, (3, 1.5, 1, 1.5, 1, 1.5)), "v"),
    _Style("#5b8fb0", (0, (8, 2)), "<"),
    _Style("#8a8a8a", (0, (2, 2)), ">"),
)
_OWN_WIDTH = 2.4  # of the scorer's own aggregation
_SEARCHES = "*DPXph"  # markers


@dataclass(frozen=True)
class _Line:
    name: str
    style: _Style
    points: Sequence[Mapping[str, Any]]
    is_search: bool = False


def plot_scaling(results: Mapping[str, Any], folder: Path) -> list[str]:
    """Draws accuracy against samples and, where candidates say their length, against tokens.

    Returns the names of the files, .png and .svg. Raises InputError without matplotlib.
    """
    drawn = [("accuracy-by-samples", "n", "samples for each prompt (of a search: its budget)")]
    if results["counts"]["tokens_per_candidate"] is not None:
        drawn.append(("accuracy-by-tokens", "generated_tokens", "tokens generated for each prompt"))
    return [file for name, axis, title in drawn for file in _draw(results, axis, title, folder / name)]


def _draw(results: Mapping[str, Any], along: str, title: str, path: Path) -> list[str]:
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("pictures need matplotlib: pip install 'openprm[plots]'") from None
    panels = list(results["scorers"]) or [None]
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    with rc_context({"svg.hashsalt": "openprm", "font.size": _FONT + 0.5}):
        width, height = columns * (_AXES[0] + _LEFT + _RIGHT), rows * (_AXES[1] + _BOTTOM + _TOP)
        figure = Figure(figsize=(width, height), dpi=130, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        limits = _limits(results)
        for axis, scorer in zip(axes, panels, strict=False):
            _panel(axis, list(_lines(results, scorer)), along)
            axis.set_ylim(*limits)
            axis.set_title(scorer or "", loc="left", fontweight="bold")
            axis.set_xlabel(title)
            axis.set_ylabel(f"accuracy, 95 % intervals over {results['counts']['prompts']} prompts")
        for axis in axes[len(panels) :]:
            axis.remove()
        figure.subplots_adjust(
            left=_LEFT / width,
            right=1 - _RIGHT / width,
            bottom=_BOTTOM / height,
            top=1 - _TOP / height,
            wspace=(_LEFT + _RIGHT) / _AXES[0],
            hspace=(_BOTTOM + _TOP) / _AXES[1],
        )
        for axis, scorer in zip(axes, panels, strict=False):
            _name(axis, list(_lines(results, scorer)), along)
        # the version and a date would change the bytes
        figure.savefig(path.with_suffix(".png"), metadata={"Software": None})
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None, "Creator": None})
    return [f"{path.name}.png", f"{path.name}.svg"]


def _lines(results: Mapping[str, Any], scorer: str | None) -> Iterator[_Line]:
    """What one panel shows: what needs no scorer, and what this one chose."""
    points = results["samples"]

    def of(line: str) -> list[Mapping[str, Any]]:
        return [point for point in points if point["line"] == line]

    yield _Line("coverage", _COVERAGE, of("coverage"))
    if majority := of("majority vote"):
        yield _Line("majority vote", _MAJORITY, majority)
    if scorer is not None:
        own = results["scorers"][scorer]
        if weighted := of(f"weighted vote: {scorer}/{own}"):
            yield _Line(f"weighted vote ({own})", _WEIGHTED, weighted)
        start = f"best of n: {scorer}/"
        lines = dict.fromkeys(point["line"] for point in points if point["line"].startswith(start))
        for line, style in zip(lines, cycle(_BEST), strict=False):
            by = line.removeprefix(start)
            yield _Line(f"best by {by}", replace(style, width=_OWN_WIDTH) if by == own else style, of(line))
    searches = results["searches"]
    markers = dict(zip(dict.fromkeys(point["method"] for point in searches), cycle(_SEARCHES), strict=False))
    shown = [point for point in searches if point["scorer"] in (None, scorer)]
    for line in dict.fromkeys(point["line"] for point in shown):
        found = sorted((point for point in shown if point["line"] == line), key=lambda point: point["n"])
        method, _, by = line.partition(": ")
        name = f"{method} ({by.rpartition('/')[2]})" if by else method
        style = _Style("black", (0, (1, 2.5)), markers[found[0]["method"]], 1.0)
        yield _Line(f"generate: {name}", style, found, is_search=True)


def _limits(results: Mapping[str, Any]) -> tuple[float, float]:
    """One scale for all panels, so that scorers can be compared."""
    points = [*results["samples"], *results["searches"]]
    low, high = min(point["low"] for point in points), max(point["high"] for point in points)
    margin = 0.04 * (high - low or 1)
    return low - margin, high + margin


def _panel(axis: Any, lines: Sequence[_Line], along: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axis.set_xscale("log", base=2)
    for line in lines:
        places, accuracy, low, high = (
            [point[column] for point in line.points] for column in (along, "accuracy", "low", "high")
        )
        style = line.style
        look = {"color": style.colour, "linestyle": style.dashes, "linewidth": style.width, "marker": style.marker}
        if line.is_search:
            axis.vlines(places, low, high, color=style.colour, linewidth=0.9)
            axis.plot(places, accuracy, **look, markersize=9, markerfacecolor="white", zorder=4)
        else:
            axis.fill_between(places, low, high, color=style.colour, alpha=0.1, linewidth=0)
            axis.plot(places, accuracy, **look, markersize=4.5, markerfacecolor="white", zorder=3)
    ticks = [point[along] for point in lines[0].points]
    axis.set_xticks(ticks)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _short(place)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="0.92")
    axis.set_axisbelow(True)


def _short(number: float) -> str:
    return f"{number / 1000:.2g}k" if number >= 1000 else f"{number:.0f}"


def _name(axis: Any, lines: Sequence[_Line], along: str) -> None:
    """Writes each line's name at its end, right of the panel; names that would overlap are moved apart."""
    low, high = axis.get_ylim()
    ends = [(line.points[-1]["accuracy"] - low) / (high - low) for line in lines]
    for line, place in zip(lines, spread(ends, _SPACING), strict=True):
        last = line.points[-1]
        axis.annotate(
            "",
            xy=(last[along], last["accuracy"]),
            xytext=(_KEY[0], place),
            textcoords="axes fraction",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": "0.6", "shrinkA": 0, "shrinkB": 3},
        )
        axis.text(_KEY[-1] + 0.03, place, line.name, va="center", fontsize=_FONT, transform=axis.transAxes)
        axis.plot(
            _KEY,
            [place] * len(_KEY),
            color=line.style.colour,
            linestyle=line.style.dashes,
            linewidth=line.style.width,
            marker=line.style.marker,
            markevery=[1],
            markersize=7 if line.is_search else 4.5,
            markerfacecolor="white",
            transform=axis.transAxes,
            clip_on=False,
        )


def spread(places: Sequence[float], spacing: float) -> list[float]:
    """The places, moved as little as their order allows until they are `spacing` apart; none goes beyond 1."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for before, index in zip(order, order[1:], strict=False):
        moved[index] = max(moved[index], moved[before] + spacing)
    for rank, index in enumerate(reversed(order)):
        moved[index] = min(moved[index], 1.0 - rank * spacing)
    return moved
