"""A figure of how similar sibling steps are, to choose a threshold from (paper, Figure 5; needs the extra `plots`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from ..errors import Failure, InputError
from ..figure import new_figure, save_figure
from ..schema import Candidate
from ..scoring.steps import split
from ..text import comparable
from .similarity import Similarity
from .tree import DEFAULT_THRESHOLD

_THRESHOLDS = (0.7, 0.8, DEFAULT_THRESHOLD, 0.95)
_DEEPEST = 5  # the first steps only: later on, few responses share a prefix


def step_similarities(
    responses_by_prompt: Iterable[Sequence[Sequence[str]]], measures: Sequence[Similarity]
) -> dict[str, np.ndarray]:
    """By measure, the similarities of every two different steps at one index in two responses to one prompt.

    Responses are given as lists of steps. Equal steps are not compared, since they merge in any case.
    """
    found: dict[str, list[np.ndarray]] = {measure.name: [] for measure in measures}
    for responses in responses_by_prompt:
        for steps in list(zip_longest(*responses))[:_DEEPEST]:
            texts = list(dict.fromkeys(comparable(step).strip() for step in steps if step is not None))
            if len(texts) > 1:
                upper = np.triu_indices(len(texts), k=1)
                for measure in measures:
                    found[measure.name].append(measure.matrix(measure.prepare(texts))[upper])
    return {name: np.concatenate(parts) if parts else np.array([]) for name, parts in found.items()}


def first_prompts(rows: Iterable[Candidate | Failure], prompts: int, separator: str) -> list[list[list[str]]]:
    """The responses to the first `prompts` prompts, as steps. Reads all rows, since they may be in any order."""
    grouped: dict[str, list[list[str]]] = {}
    for row in rows:
        if isinstance(row, Failure) or (len(grouped) == prompts and row["prompt_id"] not in grouped):
            continue
        grouped.setdefault(row["prompt_id"], []).append(split(row["response"], separator))
    return list(grouped.values())


def plot_similarities(
    candidates: Iterable[Candidate | Failure],
    separator: str,
    path: Path,
    measures: Sequence[Similarity],
    prompts: int = 200,
) -> list[str]:
    """Plots the similarities of the first `prompts` prompts' steps, one histogram per measure.

    Returns a line per measure: how many pairs were compared, and the share that each threshold would merge.
    Raises InputError without data, or without matplotlib.
    """
    figure, axes = new_figure(len(measures), 1, (7, 2.4 * len(measures)), sharex=True)
    similarities = step_similarities(first_prompts(candidates, prompts, separator), measures)
    if not any(len(values) for values in similarities.values()):
        raise InputError("there are no two different steps at one index to compare: check the separator")
    lines = []
    for axis, (name, values) in zip(axes[:, 0], similarities.items(), strict=True):
        axis.hist(values.clip(max=1), bins=np.linspace(min(0, values.min()), 1, 51), color="0.6")  # rounded cosines
        axis.axvline(DEFAULT_THRESHOLD, color="black", linestyle="--", label=f"{DEFAULT_THRESHOLD} (the paper's)")
        axis.set_ylabel(f"{name}\npairs of steps")
        axis.legend(loc="upper left")
        shares = ", ".join(f">= {threshold}: {(values >= threshold).mean():.1%}" for threshold in _THRESHOLDS)
        lines.append(f"{name}: {len(values)} pairs of different steps; {shares}")
    axes[-1, 0].set_xlabel("similarity of two different steps at one index")
    save_figure(figure, path)
    return lines
