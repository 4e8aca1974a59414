"""Pictures of an evaluation on benchmarks, from its results.json (needs the extra `plots`).

Models differ in lightness, line and marker as well as in color; what needs no rewards, or knows nothing, is gray. Bars
and bands are 95 % intervals over prompts. The same results give the same bytes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

from ...figure import grid
from ...text import excerpt, printable
from ..tables import Row
from .tables import headline, number

#: Colors of `openprm.viewer.colors`: the better is blue, the worse orange.
BLUE, ORANGE, SKY, BROWN = "#0a4682", "#d97a30", "#4f94cd", "#8f3900"
_MODELS = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (SKY, "-.", "^"), (BROWN, ":", "D"), ("#000000", "-", "v"))
_OTHERS = (("0.35", ":", "X"), ("0.6", "--", "P"), ("0.45", "-.", "*"), ("0.7", "-", "p"), ("0.5", ":", "h"))
_ALONG = re.compile(r"(?P<metric>.*)(?:@(?P<n>\d+)| at (?P<percent>\d+) %)")

Styles = Mapping[str, Mapping[str, Any]]
#: The rows of each model, by label.
Panel = dict[str, dict[str, Row]]
#: The name of its file, what it shows (for those who cannot see it too), and matplotlib's figure.
Picture = tuple[str, str, Any]


def overview_pictures(results: Mapping[str, Any]) -> Iterator[Picture]:
    """The headline numbers of all benchmarks. Raises InputError without matplotlib."""
    found = {f"{name}: {one['headline']}": headline(one) for name, one in results["benchmarks"].items()}
    if panel := {name: {row["model"]: row for row in rows} for name, rows in found.items() if rows}:
        styles = _styles((model for rows in panel.values() for model in rows), results["models"])
        yield "overview", "The headline number of each benchmark.", _dots("", panel, styles)


def benchmark_pictures(name: str, result: Mapping[str, Any], kinds: Mapping[str, Any]) -> Iterator[Picture]:
    """What there is to draw of one benchmark. Raises InputError without matplotlib."""
    metrics: list[Row] = result["metrics"]
    styles = _styles((row["model"] for row in metrics), kinds)
    for part in dict.fromkeys([*(row["part"] for row in metrics), *result["details"]]):
        rows = [row for row in metrics if row["part"] == part]
        if along := [row for row in rows if not row["subset"] and _ALONG.fullmatch(row["metric"])]:
            what = "how much of each answer is read (the paper's Figure 1)" if part else "the number of candidates"
            yield f"{name}-{part or 'candidates'}", f"Numbers by {what}.", _lines(along, styles)
        # a change of scores is on each one's own scale, and that of characters would hide the models'
        shown = [row for row in rows if part and (row["model"] in kinds or not row["metric"].startswith("change"))]
        for index, (title, panel) in enumerate(_panels(shown, result["headline"]).items()):
            yield f"{name}-{part}-{index}", f"{part}: {title}.", _dots(title, panel, styles)
        draw, details = _OF_MODELS.get(part), result["details"].get(part, {})
        if draw and (drawn := {kind: of for kind in kinds if (of := details.get(kind)) and "why" not in of}):
            yield f"{name}-{part}-models", str(draw.__doc__), _models(drawn, rows, draw)
    panel = {}
    for row in result["aggregations"]:
        panel.setdefault(row["aggregation"], {})[row["model"]] = row
    if panel:
        yield f"{name}-aggregations", "By aggregation of step rewards.", _dots(result["headline"], panel, styles)


def label(text: str) -> str:
    """A name as matplotlib shows it: no control characters, no mathematics, in lines of a few words, at most three."""
    lines = textwrap.fill(excerpt(printable(text), 72), 26).replace("$", r"\$")
    return f" {lines}" if lines[:1] in ("", "_") else lines  # legends leave out a name that begins with _


def _styles(names: Iterable[str], kinds: Mapping[str, Any]) -> Styles:
    """Color, line and marker of each: models first, then what needs none."""
    ordered = sorted(dict.fromkeys(names), key=lambda name: name not in kinds)
    models, others = cycle(_MODELS), cycle(_OTHERS)
    looks = {name: next(models if name in kinds else others) for name in ordered}
    return {name: dict(zip(("color", "linestyle", "marker"), look, strict=True)) for name, look in looks.items()}


def _panels(rows: Iterable[Row], headline: str) -> dict[str, Panel]:
    """The numbers of a probe that are of subsets, and what else it reads the headline number of."""
    found: dict[str, Panel] = {}
    for row in rows:
        reading = row["metric"].startswith(f"{headline} ")  # of which subsets are not drawn
        if reading != bool(row["subset"]) and not _ALONG.fullmatch(row["metric"]):
            title, line = (headline, row["metric"]) if reading else (row["metric"], row["subset"])
            found.setdefault(title, {}).setdefault(line, {})[row["model"]] = row
    return found


def _dots(title: str, panel: Panel, styles: Styles) -> Any:
    """A line for each label, on it a dot with its interval for each model."""
    most = max(map(len, panel.values()))
    figure, (axis,) = grid(1, (6.6, 1.2 + len(panel) * (0.14 + 0.12 * most)))
    for line, rows in enumerate(panel.values()):
        for index, (model, row) in enumerate(rows.items()):
            place, color = line + (index - (len(rows) - 1) / 2) * 0.75 / max(most, 2), styles[model]["color"]
            if None not in (row["value"], row["low"], row["high"]):
                axis.plot([row["low"], row["high"]], [place, place], color=color, linewidth=1.6)
            if row["value"] is not None:
                axis.plot(row["value"], place, styles[model]["marker"], color=color, markersize=5.5)
    axis.set_yticks(range(len(panel)), list(map(label, panel)))
    axis.set_ylim(len(panel) - 0.5, -0.5)
    axis.set_xlabel(label(title))
    axis.grid(axis="x", color="0.9")
    there = {model for rows in panel.values() for model in rows}
    _legend(figure, {name: {**style, "linestyle": "-"} for name, style in styles.items() if name in there})
    return figure


def _lines(rows: Sequence[Row], styles: Styles) -> Any:
    """How a number grows along candidates or the share of an answer, a line with a band for each model."""
    figure, (axis,) = grid(1, (6.6, 4.4))
    found = [(_ALONG.fullmatch(row["metric"]), row) for row in rows if row["value"] is not None]
    points = [(float(match["n"] or match["percent"]), row) for match, row in found if match]
    drawn = {name: style for name, style in styles.items() if any(row["model"] == name for _, row in points)}
    for name, style in drawn.items():
        x, own = zip(*sorted((one for one in points if one[1]["model"] == name), key=lambda one: one[0]), strict=True)
        axis.plot(x, [row["value"] for row in own], **style, markersize=5)
        low, high = ([row["value"] if row[end] is None else row[end] for row in own] for end in ("low", "high"))
        if not style["color"].startswith("0"):  # the gray ones would cover each other
            axis.fill_between(x, low, high, color=style["color"], alpha=0.1, linewidth=0)
    of_candidates = "@" in rows[0]["metric"]
    if of_candidates:
        axis.set_xscale("log", base=2)
    axis.set_xticks(sorted({x for x, _ in points}))
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axis.set_xlabel("candidates" if of_candidates else "% of the answer")
    axis.set_ylabel(label(_ALONG.sub(r"\g<metric>", rows[0]["metric"])))
    axis.grid(axis="y", color="0.9")
    _legend(figure, drawn)
    return figure


def _legend(figure: Any, styles: Styles) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **style) for style in styles.values()]
    figure.legend(handles, list(map(label, styles)), loc="outside lower left", ncols=3, frameon=False, handlelength=3)


def _models(drawn: Mapping[str, Any], rows: Sequence[Row], draw: Callable[[Any, Any], None]) -> Any:
    """What a probe says of single answers, a panel a model, as scales differ; its first number is in the title."""
    figure, axes = grid(len(drawn), (3.8, 3.4))
    for axis, (kind, details) in zip(axes, drawn.items(), strict=True):
        draw(axis, details)
        row = next((one for one in rows if one["model"] == kind and one["value"] is not None), None)
        told = f"\n{row['metric']} {number(row, '.2f')}" if row else ""
        axis.set_title(label(kind) + told, loc="left", fontsize=9)
        axis.grid(color="0.92")
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize=8)
    return figure


def _length(axis: Any, details: Any) -> None:
    """Score against length, of better and worse answers (the paper's Figure 4b)."""
    best = max(point["golden"] for point in details["points"])
    for color, marker, name, better in ((ORANGE, "x", "worse", False), (BLUE, "o", "better", True)):
        some = [point for point in details["points"] if (point["golden"] == best) == better]
        x, y = ([point[key] for point in some] for key in ("length", "score"))
        # as pixels: thousands of dots would make a large file
        axis.plot(x, y, marker, color=color, markersize=3, alpha=0.6, label=name, rasterized=True)
    axis.set(xlabel=f"length in {details['unit']}", ylabel="score")


def _distribution(axis: Any, details: Any) -> None:
    """Scores of better and worse answers (the paper's Figure 6)."""
    for key, color, line in (("worse", ORANGE, "--"), ("better", BLUE, "-")):
        axis.stairs(details[key], details["edges"], color=color, linestyle=line, linewidth=1.8, label=key)
    axis.set(xlabel="score", ylabel="share of answers")


def _abstention(axis: Any, details: Any) -> None:
    """Risk against coverage, where only the prompts with the highest scores are answered (dotted: at random)."""
    axis.plot([point["coverage"] for point in details], [point["risk"] for point in details], color=BLUE)
    axis.axhline(details[-1]["risk"], color="0.5", linestyle=":")
    axis.set(xlabel="coverage", ylabel="risk", xlim=(0, 1))


def _calibration(axis: Any, details: Any) -> None:
    """Reliability: the share of right steps, or their mean value, by the mean probability that rewards say."""
    axis.plot([0, 1], [0, 1], color="0.5", linestyle=":")
    x, y = ([one[key] for one in details["bins"]] for key in ("probability", "right"))
    axis.plot(x, y, "o-", color=BLUE, markersize=4)
    axis.set(xlabel="mean probability", ylabel="share of right steps", xlim=(0, 1), ylim=(0, 1))


#: How what a probe says of single answers is drawn; the docstrings are captions.
_OF_MODELS = {"length": _length, "distribution": _distribution, "abstention": _abstention, "calibration": _calibration}
