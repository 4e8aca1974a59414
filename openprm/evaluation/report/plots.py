"""Pictures of an evaluation on benchmarks, from its results.json (needs the extra `plots`).

Models differ in lightness, line and marker as well as in color; what needs no rewards, or knows nothing, is gray. Bars
and bands are 95 % intervals over prompts. The same results give the same bytes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from operator import itemgetter
from typing import Any, NamedTuple

from ...figure import new_figure
from ...text import excerpt, printable
from ..tables import Row
from .tables import headline

#: Colors of `openprm.viewer.colors`: the better is blue, the worse orange.
BLUE, ORANGE, SKY, BROWN = "#0a4682", "#d97a30", "#4f94cd", "#8f3900"
_MODELS = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (SKY, "-.", "^"), (BROWN, ":", "D"), ("#000000", "-", "v"))
_OTHERS = (("0.35", ":", "X"), ("0.6", "--", "P"), ("0.45", "-.", "*"), ("0.7", "-", "p"), ("0.5", ":", "h"))
_COLUMNS = 3  # panels beside each other
_PREFIX = re.compile(r".* at (?P<percent>\d+) %")


class Picture(NamedTuple):
    """name: of its file. caption: what it shows, for those who cannot see it too. figure: matplotlib's."""

    name: str
    caption: str
    figure: Any


def overview_pictures(results: Mapping[str, Any]) -> Iterator[Picture]:
    """The headline number of every benchmark, a panel each. Raises InputError without matplotlib."""
    found = {f"{name}: {result['headline']}": headline(result) for name, result in results["benchmarks"].items()}
    if panels := {title: rows for title, rows in found.items() if rows}:
        labels = list(dict.fromkeys(model for rows in panels.values() for model in rows))
        dots = {title: {model: {model: row} for model, row in rows.items()} for title, rows in panels.items()}
        figure = _dots(dots, labels, _styles(labels, results["models"]), legend=False)
        yield Picture("overview", "The headline number of each benchmark, with 95 % intervals.", figure)


def benchmark_pictures(name: str, result: Mapping[str, Any], kinds: Mapping[str, Any]) -> Iterator[Picture]:
    """What there is to draw of one benchmark, by its numbers. Raises InputError without matplotlib."""
    metrics: list[Row] = result["metrics"]
    whole = [row for row in metrics if not row["subset"]]
    styles = _styles((row["model"] for row in metrics), kinds)
    if rows := [row for row in whole if not row["part"] and "@" in row["metric"]]:
        figure = _lines(rows, lambda row: float(row["metric"].rpartition("@")[2]), styles, "candidates", log=True)
        yield Picture(f"{name}-candidates", "Best of K, votes and coverage by the number of candidates.", figure)
    if rows := [row for row in whole if row["part"] and _PREFIX.fullmatch(row["metric"])]:
        caption = f"{result['headline']} by how much of each answer is read (the paper's Figure 1)."
        figure = _lines(rows, lambda row: float(_PREFIX.sub(r"\g<percent>", row["metric"])), styles, "% of the answer")
        yield Picture(f"{name}-prefixes", caption, figure)
    if rows := result["aggregations"]:
        labels = list(dict.fromkeys(row["aggregation"] for row in rows))
        figure = _dots({rows[0]["metric"]: _by(rows, "aggregation")}, labels, styles)
        yield Picture(f"{name}-aggregations", f"{rows[0]['metric']} by aggregation of step rewards.", figure)
    for part in dict.fromkeys(row["part"] for row in metrics if row["part"]):
        yield from _probe(name, part, [row for row in metrics if row["part"] == part], result["headline"], styles)


def _probe(
    name: str, part: str, rows: Sequence[Row], headline: str, styles: Mapping[str, Mapping[str, Any]]
) -> Iterator[Picture]:
    """The numbers that a probe has of several subsets, together where they have the same; and its readings."""
    rows = [row for row in rows if not _PREFIX.fullmatch(row["metric"])]
    readings = [row for row in rows if not row["subset"] and row["metric"].startswith(f"{headline} ")]
    panels: dict[tuple[str, ...], dict[str, dict[str, dict[str, Row]]]] = {}
    if readings:
        found = _by(readings, "metric")
        panels[tuple(found)] = {headline: found}
    of_subsets = [row for row in rows if row["subset"] and not row["metric"].startswith(f"{headline} ")]
    for metric in dict.fromkeys(row["metric"] for row in of_subsets):
        found = _by((row for row in of_subsets if row["metric"] == metric), "subset")
        panels.setdefault(tuple(found), {})[metric] = found
    for index, (labels, some) in enumerate(panels.items()):
        caption = f"{', '.join(some)}, with 95 % intervals (probe: {part})."
        yield Picture(f"{name}-{part}{index or ''}", caption, _dots(some, labels, styles))


def label(text: str) -> str:
    """A name as matplotlib shows it: no control characters, no mathematics, in lines of a few words, at most three."""
    lines = textwrap.fill(excerpt(printable(text), 72), 26).replace("$", r"\$")
    return f" {lines}" if lines[:1] in ("", "_") else lines  # legends leave out a name that begins with _


def _styles(names: Iterable[str], kinds: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Color, line and marker of each: models first, then what needs none."""
    ordered = sorted(dict.fromkeys(names), key=lambda name: name not in kinds)
    models, others = cycle(_MODELS), cycle(_OTHERS)
    looks = {name: next(models if name in kinds else others) for name in ordered}
    return {name: dict(zip(("color", "linestyle", "marker"), look, strict=True)) for name, look in looks.items()}


def _by(rows: Iterable[Row], key: str) -> dict[str, dict[str, Row]]:
    """Rows by a label, then by model."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row[key], {})[row["model"]] = row
    return found


def _dots(
    panels: Mapping[str, Mapping[str, Mapping[str, Row]]],
    labels: Sequence[str],
    styles: Mapping[str, Mapping[str, Any]],
    legend: bool = True,
) -> Any:
    """A panel for each number, by label and model: a line for each label, on it a dot with its interval a model."""
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    most = max(len(by_model) for panel in panels.values() for by_model in panel.values())
    height = 1.2 + len(labels) * (0.14 + 0.12 * most)
    size = (2.2 + 2.7 * columns + 1.7 * (columns == 1), rows * height)
    figure, axes = new_figure(rows, columns, size, sharey=True)
    for axis, (title, panel) in zip(axes.ravel(), panels.items(), strict=False):
        for place, name in enumerate(labels):
            there = list(panel.get(name, {}))
            for index, model in enumerate(there):
                offset = (index - (len(there) - 1) / 2) * 0.75 / max(most, 2)
                _dot(axis, panel[name][model], place + offset, styles[model])
        axis.set_yticks(range(len(labels)), list(map(label, labels)))
        axis.set_ylim(len(labels) - 0.5, -0.5)
        axis.set_title(label(title), loc="left", fontsize=10)
        axis.grid(axis="x", color="0.9")
    for axis in axes.ravel()[len(panels) :]:
        axis.remove()
    if legend:
        drawn = {model for panel in panels.values() for by_model in panel.values() for model in by_model}
        _legend(figure, {name: {**style, "linestyle": "-"} for name, style in styles.items() if name in drawn})
    return figure


def _dot(axis: Any, row: Row, place: float, style: Mapping[str, Any]) -> None:
    if row["value"] is not None:
        if None not in (row["low"], row["high"]):
            axis.plot([row["low"], row["high"]], [place, place], color=style["color"], linewidth=1.6)
        axis.plot(row["value"], place, style["marker"], color=style["color"], markersize=5.5)


def _lines(
    rows: Sequence[Row], along: Any, styles: Mapping[str, Mapping[str, Any]], title: str, log: bool = False
) -> Any:
    """A panel for each kind of number: how it grows along something, a line with a band for each model."""
    metrics = [rows[0]["metric"].partition("@")[0].partition(" at ")[0]]
    figure, ((axis,),) = new_figure(1, 1, (6.6, 4.4))
    drawn = [name for name in styles if any(row["model"] == name and row["value"] is not None for row in rows)]
    for name in drawn:
        mine = [row for row in rows if row["model"] == name and row["value"] is not None]
        points = sorted(((along(row), row) for row in mine), key=itemgetter(0))
        x = [place for place, _ in points]
        axis.plot(x, [row["value"] for _, row in points], **styles[name], markersize=5)
        low, high = ([row["value"] if row[end] is None else row[end] for _, row in points] for end in ("low", "high"))
        if not styles[name]["color"].startswith("0"):  # the gray ones would cover each other
            axis.fill_between(x, low, high, color=styles[name]["color"], alpha=0.1, linewidth=0)
    if log:
        axis.set_xscale("log", base=2)
    axis.set_xticks(sorted({along(row) for row in rows}))
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axis.set(xlabel=title, ylabel=label(metrics[0]))
    axis.grid(axis="y", color="0.9")
    _legend(figure, {name: styles[name] for name in drawn})
    return figure


def _legend(figure: Any, styles: Mapping[str, Mapping[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **style) for style in styles.values()]
    figure.legend(handles, list(map(label, styles)), loc="outside lower left", ncols=3, frameon=False, handlelength=3)
