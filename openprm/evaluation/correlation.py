"""What scores follow besides quality: the length of a response (paper, section 6.2), or how often it was sampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from .accuracy import Groups, PromptCandidates, mean_interval

#: The name of the row of the reward itself: what a perfect score follows.
REWARD = "reward"
_OF: Mapping[str, Callable[[str, int], int]] = {
    "frequency": lambda _, times: times,
    "length": lambda text, _: len(text),
}


def rank_correlation(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Spearman's coefficient; NaN for fewer than three values, or where all of `x` or of `y` are equal."""
    if len(x) < 3 or not np.ptp(x) or not np.ptp(y):
        return float("nan")
    return float(np.corrcoef(_ranks(np.asarray(x)), _ranks(np.asarray(y)))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Equal values share the mean of their ranks."""
    ranks: np.ndarray = (values[:, None] > values).sum(1) + (values[:, None] == values).sum(1) / 2
    return ranks


def followed(prompts: Sequence[PromptCandidates], groups: Groups) -> list[dict[str, Any]]:
    """The rank correlations within prompts of the scores of each group, and of the reward, with the `frequency` of a
    response (samples of the same text) and its `length` in characters. Each different response counts once.

    Means over the seeds, and over the `n_prompts` with three responses that differ in both, with a 95 % interval over
    prompts; no row where there is no such prompt.
    """
    rows = []
    for of, measure in _OF.items():
        for group, scorers in {REWARD: [None], **groups}.items():
            found = np.array([[_within(prompt, scorer, measure) for prompt in prompts] for scorer in scorers])
            known = found[:, np.isfinite(found).any(axis=0)]
            if not known.size:
                continue
            by_prompt = np.nanmean(known, axis=0)
            low, high = mean_interval(by_prompt, -1.0, 1.0)
            seeds = [float(np.nanmean(one)) if np.isfinite(one).any() else None for one in known]
            means = {"correlation": float(by_prompt.mean()), "low": low, "high": high, "n_prompts": len(by_prompt)}
            rows.append({"group": group, "with": of, **means, "seeds": seeds if group != REWARD else []})
    return rows


def _within(prompt: PromptCandidates, scorer: str | None, measure: Callable[[str, int], int]) -> float:
    values: dict[str, list[float]] = {}
    for text, value in zip(
        prompt["responses"], prompt["scores"][scorer] if scorer else prompt["correct"], strict=True
    ):
        values.setdefault(text, []).append(value)
    times = Counter(prompt["responses"])
    scored = {text: fmean(found) for text, found in values.items() if np.isfinite(found).all()}
    return rank_correlation([measure(text, times[text]) for text in scored], list(scored.values()))
