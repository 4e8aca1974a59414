"""Pictures (needs the extra `plots`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
from rapidfuzz import process

from ..errors import Failure, InputError
from ..schema import Candidate
from ..scoring.steps import split
from .similarity import EDIT_SIMILARITIES
from .tree import DEFAULT_THRESHOLD

_DEEPEST = 5  # steps compared, from the first: further down, prefixes have parted


def step_similarities(responses_by_prompt: Iterable[Sequence[Sequence[str]]]) -> dict[str, np.ndarray]:
    """By measure, how alike two different steps are that stand at one index in two responses to one prompt.

    These are what a threshold decides about (paper, Figure 5). Responses are given as lists of steps; equal steps are
    not compared, since they merge in any case.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in EDIT_SIMILARITIES}
    for responses in responses_by_prompt:
        for steps in list(zip_longest(*responses))[:_DEEPEST]:
            texts = list(dict.fromkeys(step.strip() for step in steps if step is not None))
            upper = np.triu_indices(len(texts), k=1)
            for name, scorer in EDIT_SIMILARITIES.items():
                found[name].append(process.cdist(texts, texts, scorer=scorer)[upper])
    return {name: np.concatenate(parts) if parts else np.array([]) for name, parts in found.items()}


def first_prompts(rows: Iterable[Candidate | Failure], prompts: int, separator: str) -> list[list[list[str]]]:
    """The responses of the first `prompts` prompts, as steps. Reads on to the end: they may lie anywhere."""
    grouped: dict[str, list[list[str]]] = {}
    for row in rows:
        if isinstance(row, Failure) or (len(grouped) == prompts and row["prompt_id"] not in grouped):
            continue
        grouped.setdefault(row["prompt_id"], []).append(split(row["response"], separator))
    return list(grouped.values())


def plot_similarities(similarities: Mapping[str, np.ndarray], path: Path) -> None:
    """One histogram a measure, below one another, with the paper's threshold. Raises InputError without data."""
    if not any(len(values) for values in similarities.values()):
        raise InputError("there are no two different steps at one index to compare: check the separator")
    figure, axes = _subplots(len(similarities))
    bins = np.linspace(0, 1, 51)
    for axis, (name, values) in zip(axes, similarities.items(), strict=True):
        axis.hist(values, bins=bins, color="0.6")
        axis.axvline(DEFAULT_THRESHOLD, color="black", linestyle="--")
        share = float((values >= DEFAULT_THRESHOLD).mean())
        axis.set_ylabel(f"{name}\npairs of steps")
        axis.text(
            0.01, 0.9, f"{share:.1%} reach {DEFAULT_THRESHOLD} (the paper's)", transform=axis.transAxes, va="top"
        )
    axes[-1].set_xlabel("similarity of two different steps at one index")
    figure.tight_layout()
    figure.savefig(path)


def quantile_lines(similarities: Mapping[str, np.ndarray]) -> Iterator[str]:
    """One line a measure: how many pairs were compared, and the share that each threshold would let merge."""
    thresholds = (0.7, 0.8, DEFAULT_THRESHOLD, 0.95)
    for name, values in similarities.items():
        shares = ", ".join(f">= {threshold}: {(values >= threshold).mean():.1%}" for threshold in thresholds)
        yield f"{name}: {len(values)} pairs of different steps; {shares}"


def _subplots(rows: int):
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise InputError("pictures need matplotlib: pip install 'openprm[plots]'") from None
    return pyplot.subplots(rows, sharex=True, figsize=(7, 2.4 * rows))
