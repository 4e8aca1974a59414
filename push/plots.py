"""The pictures in the cards: `statistics.png` (needs the extra `plots`).

They can be read in gray as in color (splits and levels differ in lightness and line style), and the same rows give
the same bytes. Rows are read once, one at a time: only counts are kept.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from openprm.errors import InputError
from openprm.figure import new_figure, save_figure

Rows = Mapping[str, Iterable[Mapping[str, Any]]]

_BARS = 25
_FEWEST = 0.01  # of the responses: merges among fewer say little
_DIGITS = 4  # significant ones, that a value is rounded to while it is counted
#: Color, line and marker of each group: dark to light, so that they differ in gray.
_STYLES = (("#1b4965", "-", "o"), ("#e07a1f", "--", "s"), ("#8fb8a8", ":", "D"), ("#b9b3c9", "-.", "^"))


@dataclass(frozen=True)
class Panel:
    """A part of a picture, with a line for each group: how often a number occurs, or a share `of` it by number."""

    title: str
    groups: Mapping[str, Mapping[float, float]]
    of: str | None = None

    def draw(self, axis: Any) -> None:
        groups = {name: numbers for name, numbers in self.groups.items() if numbers}
        values = sorted(set().union(*groups.values()))
        are_whole = all(value == int(value) for value in values)
        for (name, numbers), (color, line, marker) in zip(groups.items(), cycle(_STYLES), strict=False):
            style = {"color": color, "linestyle": line, "linewidth": 1.8}
            if self.of:
                axis.plot([*numbers], [*numbers.values()], marker=marker, label=name, **style)
            else:
                total = sum(numbers.values())
                style |= {"label": f"{name} ({total:,})", "histtype": "step"}
                shares = [count / total for count in numbers.values()]
                axis.hist([*numbers], _edges(values, are_whole), weights=shares, **style)
        axis.set(xlabel=self.title, ylabel=self.of or "share")
        axis.set_ylim(0, 1 if self.of else None)
        axis.locator_params(axis="x", integer=are_whole)
        axis.legend(frameon=False, fontsize=9)


def plot_statistics(kind: str, rows: Rows, path: Path) -> None:
    """Draws what the rows of candidates, trees, labels or pairs, by split, are like.

    Candidates: how many have which reward (one panel for each reward's name) and which length. Trees: the values of
    nodes, and the share of steps that merged, by depth. Labels: their values, and where the first error is. Pairs:
    their gaps, one panel for each split, by level.

    Raises InputError where there is nothing to draw, or without matplotlib.
    """
    found = {"candidates": _candidates, "trees": _trees, "labels": _labels, "pairs": _pairs}[kind](rows)
    panels = [panel for panel in found if any(panel.groups.values())]
    if not panels:
        raise InputError(f"there are no numbers in these {kind} to draw")
    figure, axes = new_figure(1, len(panels), (5.2 * len(panels), 3.4))
    for axis, panel in zip(axes[0], panels, strict=True):
        panel.draw(axis)
    save_figure(figure, path)


def _edges(values: list[float], are_whole: bool) -> Any:
    """Where bars begin and end; those of whole numbers hold equally many of them."""
    import numpy as np

    if not are_whole:
        return np.histogram_bin_edges(values, _BARS)
    low, high = values[0], values[-1]
    width = math.ceil((high - low + 1) / _BARS)
    return np.arange(low - 0.5, high + 0.5 + width, width)


def _candidates(rows: Rows) -> Iterator[Panel]:
    rewards: dict[str, dict[str, Counter[float]]] = defaultdict(lambda: defaultdict(Counter))
    tokens, characters = _counts(), _counts()
    for split, candidates in rows.items():
        for candidate in candidates:
            for reward in candidate["rewards"]:
                _count(rewards[reward["name"]][split], reward["value"])
            characters[split][len(candidate["response"])] += 1
            if candidate["n_tokens"] is not None:
                tokens[split][candidate["n_tokens"]] += 1
    for name, groups in rewards.items():
        yield Panel(f"reward: {name}", groups)
    yield Panel(f"length of a response in {'tokens' if tokens else 'characters'}", tokens or characters)


def _trees(rows: Rows) -> Iterator[Panel]:
    values = _counts()
    merged: dict[str, dict[float, float]] = {}
    for split, trees in rows.items():
        nodes: Counter[int] = Counter()
        steps: Counter[int] = Counter()
        for node in (node for tree in trees for node in tree["nodes"] if node["depth"]):  # the root is no step
            _count(values[split], node["value"])
            nodes[node["depth"]] += 1
            steps[node["depth"]] += len(node["members"])
        enough = _FEWEST * steps[1]
        merged[split] = {depth: 1 - nodes[depth] / steps[depth] for depth in sorted(steps) if steps[depth] >= enough}
    yield Panel("value of a node", values)
    yield Panel(f"depth (that {_FEWEST:.0%} of the responses reach)", merged, of="share of steps that merged")


def _labels(rows: Rows) -> Iterator[Panel]:
    values, errors = _counts(), _counts()
    for split, responses in rows.items():
        for response in responses:
            for label in response["labels"]:
                if label is not None:
                    _count(values[split], label)
            if response["first_error"] is not None:
                errors[split][response["first_error"]] += 1
    yield Panel("label of a step", values)
    yield Panel("index of the first wrong step (-1: none)", errors)


def _pairs(rows: Rows) -> Iterator[Panel]:
    for split, pairs in rows.items():
        gaps, lengths = _counts(), _counts()
        for pair in pairs:
            if pair["gap"] is not None:
                _count(gaps[pair["level"]], pair["gap"])
            for side in ("chosen", "rejected"):
                lengths[side][len(pair[side])] += 1
        # preferences of others say which is better, and not by how much
        yield Panel(f"gap ({split})", gaps) if gaps else Panel(f"length in characters ({split})", lengths)


def _counts() -> dict[str, Counter[float]]:
    """How often each number occurs, by the name of a group."""
    return defaultdict(Counter)


def _count(counts: Counter[float], value: float) -> None:
    """Rounded, so that no more different ones are kept than a picture shows."""
    if math.isfinite(value):
        counts[float(f"{value:.{_DIGITS}g}")] += 1
