"""The pictures in the cards: `statistics.png` (needs the extra `plots`).

They can be read in gray as in color (splits and levels differ in lightness and line style), and the same rows give
the same bytes. Rows are read once, one at a time: only counts are kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from openprm.errors import InputError

Rows = Mapping[str, Iterable[Mapping[str, Any]]]

_BARS = 25
_FEWEST = 0.01  # of the responses: merges among fewer say little
#: Dark to light, so that they differ in gray; with as many line styles.
_COLORS = ("#1b4965", "#e07a1f", "#8fb8a8", "#b9b3c9")
_LINES = ("-", "--", ":", "-.")
_DIGITS = 4  # significant ones, that a value is rounded to while it is counted


def plot_statistics(kind: str, rows: Rows, path: Path) -> None:
    """Draws what the rows of candidates, trees or pairs, by split, are like.

    Candidates: how many have which reward (one panel for each reward's name) and which length. Trees: the values of
    nodes, and the share of steps that merged, by depth. Pairs: their gaps, one panel for each split, by level.

    Raises InputError where there is nothing to draw, or without matplotlib.
    """
    found = {"candidates": _candidates, "trees": _trees, "pairs": _pairs}[kind](rows)
    panels = [panel for panel in found if panel.groups]
    if not panels:
        raise InputError(f"there are no numbers in these {kind} to draw")
    figure, axes = _figure(1, len(panels), (5.2 * len(panels), 3.4))
    for axis, panel in zip(axes[0], panels, strict=True):
        panel.draw(axis)
    _save(figure, path)


def plot_evaluation(evaluation: Mapping[str, Any], path: Path) -> None:
    """Draws the accuracy of each choice with its interval, from the manifest of an evaluation.

    Raises InputError where it has no metrics, or without matplotlib.
    """
    results = evaluation.get("metrics")
    if not results:
        raise InputError("the evaluation has no metrics to draw")
    figure, ((axis,),) = _figure(1, 1, (8, 0.9 + 0.34 * len(results)))
    for place, row in enumerate(results):
        chosen = row["method"].startswith(("best of", "weighted"))
        color = _COLORS[0] if chosen else "0.45"
        axis.plot([row["low"], row["high"]], [place, place], color=color, linewidth=2)
        axis.plot(row["accuracy"], place, "o" if chosen else "D", color=color, markersize=6)
        axis.annotate(
            f"{row['accuracy']:.3f}", (row["high"], place), (6, 0), textcoords="offset points", va="center", fontsize=9
        )
    axis.set_yticks(range(len(results)), [row["method"] for row in results])
    axis.invert_yaxis()
    axis.margins(x=0.15)
    single = [row["accuracy"] for row in results if row["method"] == "single sample"]
    for accuracy in single:
        axis.axvline(accuracy, color="0.45", linewidth=1, linestyle=":")
    axis.set_xlabel("accuracy, with 95 % intervals over prompts" + (" (dotted: a single sample)" if single else ""))
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)
    _save(figure, path)


class _Distribution:
    """A panel: how numbers are distributed, a line for each group, as shares of that group."""

    def __init__(self, title: str, groups: Mapping[str, Counter[float]]):
        self.title = title
        self.groups = {name: counts for name, counts in groups.items() if counts}

    def draw(self, axis: Any) -> None:
        values = sorted(set().union(*self.groups.values()))
        if len(values) <= 12:
            self._bars(axis, values)
        else:
            self._steps(axis, values)
        axis.set_xlabel(self.title)
        axis.set_ylabel("share")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, fontsize=9)

    def _bars(self, axis: Any, values: list[float]) -> None:
        """Few different values: a bar for each."""
        width = 0.8 / len(self.groups)
        for index, (name, counts) in enumerate(self.groups.items()):
            shares = [counts[value] / counts.total() for value in values]
            places = [place + (index - (len(self.groups) - 1) / 2) * width for place in range(len(values))]
            bars = axis.bar(places, shares, width, color=_COLORS[index % 4], edgecolor="black", linewidth=0.5)
            bars.set_label(_with_number(name, counts))
            if len(values) * len(self.groups) <= 8:
                axis.bar_label(bars, [f"{share:.1%}" for share in shares], fontsize=8, padding=2)
        axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axis.margins(y=0.12)

    def _steps(self, axis: Any, values: list[float]) -> None:
        """Many: a histogram, the first group's filled, so that one line on another can be told from it."""
        edges = _edges(values)
        for index, (name, counts) in enumerate(self.groups.items()):
            shares = [count / counts.total() for count in counts.values()]
            if index == 0:
                axis.hist([*counts], edges, weights=shares, color="0.85")
            style = {"color": _COLORS[index % 4], "linestyle": _LINES[index % 4], "linewidth": 1.8}
            axis.hist([*counts], edges, weights=shares, histtype="step", label=_with_number(name, counts), **style)


def _edges(values: list[float]) -> list[float]:
    """Where bars begin and end; those of whole numbers hold equally many of them."""
    low, high = values[0], values[-1]
    if all(value == int(value) for value in values):
        width = math.ceil((high - low + 1) / _BARS)
        return [low - 0.5 + width * bar for bar in range(math.ceil((high - low + 1) / width) + 1)]
    return [low + (high - low) * bar / _BARS for bar in range(_BARS)] + [high]


class _Shares:
    """A panel: a share by a whole number, a line for each group."""

    def __init__(self, title: str, of: str, groups: Mapping[str, Mapping[int, float]]):
        self.title, self.of = title, of
        self.groups = {name: shares for name, shares in groups.items() if shares}

    def draw(self, axis: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        for index, (name, shares) in enumerate(self.groups.items()):
            axis.plot(
                list(shares),
                list(shares.values()),
                color=_COLORS[index % 4],
                linestyle=_LINES[index % 4],
                marker="osD^"[index % 4],
                markersize=9 - 2 * (index % 4),  # where lines meet, each is seen
                label=name,
            )
        axis.set_xlabel(self.title)
        axis.set_ylabel(self.of)
        axis.set_ylim(0, 1)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(frameon=False, fontsize=9)


def _candidates(rows: Rows) -> Iterator[_Distribution]:
    rewards: dict[str, dict[str, Counter[float]]] = {}
    tokens: dict[str, Counter[float]] = {split: Counter() for split in rows}
    characters: dict[str, Counter[float]] = {split: Counter() for split in rows}
    for split, candidates in rows.items():
        for candidate in candidates:
            for reward in candidate["rewards"]:
                by_split = rewards.setdefault(reward["name"], {name: Counter() for name in rows})
                _count(by_split[split], reward["value"])
            characters[split][len(candidate["response"])] += 1
            if candidate["n_tokens"] is not None:
                tokens[split][candidate["n_tokens"]] += 1
    for name, groups in rewards.items():
        yield _Distribution(f"reward: {name}", groups)
    if any(tokens.values()):
        yield _Distribution("length of a response in tokens", tokens)
    else:
        yield _Distribution("length of a response in characters", characters)


def _trees(rows: Rows) -> Iterator[_Distribution | _Shares]:
    values: dict[str, Counter[float]] = {split: Counter() for split in rows}
    steps: dict[str, Counter[int]] = {split: Counter() for split in rows}
    nodes: dict[str, Counter[int]] = {split: Counter() for split in rows}
    for split, trees in rows.items():
        for tree in trees:
            for node in tree["nodes"]:
                if node["depth"]:  # not the root, which is no step
                    _count(values[split], node["value"])
                    nodes[split][node["depth"]] += 1
                    steps[split][node["depth"]] += len(node["members"])
    yield _Distribution("value of a node", values)
    yield _Shares(
        f"depth (that {_FEWEST:.0%} of the responses reach)",
        "share of steps that merged",
        {
            split: {
                depth: 1 - nodes[split][depth] / number
                for depth, number in sorted(steps[split].items())
                if number >= _FEWEST * steps[split][1]
            }
            for split in rows
        },
    )


def _pairs(rows: Rows) -> Iterator[_Distribution]:
    for split, pairs in rows.items():
        gaps: dict[str, Counter[float]] = {"process": Counter(), "outcome": Counter()}
        lengths: dict[str, Counter[float]] = {"chosen": Counter(), "rejected": Counter()}
        for pair in pairs:
            if pair["gap"] is not None:
                _count(gaps[pair["level"]], pair["gap"])
            for side, counts in lengths.items():
                _count(counts, len(pair[side]))
        if any(gaps.values()):
            yield _Distribution(f"gap ({split})", gaps)
        else:  # preferences of others say which is better, and not by how much
            yield _Distribution(f"length in characters ({split})", lengths)


def _count(counts: Counter[float], value: float) -> None:
    """Rounded, so that no more different ones are kept than a picture shows."""
    if math.isfinite(value):
        counts[float(f"{value:.{_DIGITS}g}")] += 1


def _with_number(name: str, counts: Counter[float]) -> str:
    return f"{name} ({counts.total():,})"


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("pictures need matplotlib: pip install 'openprm[plots]'") from None
    figure = Figure(figsize=size, dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Software": None})  # its version and a date would change the bytes
