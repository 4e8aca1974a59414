"""What scores follow: the reward, the length of a response (paper, section 6.2), or how often it was sampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, repeat
from statistics import fmean
from typing import Any

import numpy as np

from .accuracy import Groups, PromptCandidates, by_scorer, mean_interval

#: The name of the reward itself, which a perfect score follows.
REWARD = "reward"
_OF: Mapping[str, Callable[[PromptCandidates], Mapping[str, float]]] = {
    REWARD: lambda prompt: _by_text(prompt, prompt["correct"]),
    "frequency": lambda prompt: Counter(prompt["responses"]),
    "length": lambda prompt: {text: len(text) for text in prompt["responses"]},
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
    """The rank correlations within prompts of the scores of each group with the `reward`, and of both with the
    `frequency` of a response (samples of the same text) and its `length` in characters. Each different response counts
    once, by its mean score and mean reward.

    Means over the seeds, and over the `n_prompts` with three responses that differ in both, with a 95 % interval over
    prompts; no row where there is no such prompt. The groups' correlations with the reward are also compared by pairs,
    over prompts where both have one.
    """
    rows = []
    for of, measure in _OF.items():
        measured = [measure(prompt) for prompt in prompts]
        found = {
            group: np.array([[*map(_within, prompts, repeat(scorer), measured)] for scorer in scorers])
            for group, scorers in (groups if of == REWARD else {REWARD: [None], **groups}).items()
        }
        if of == REWARD:
            for one, other in combinations(list(found), 2):
                found[f"{other} less {one}"] = by_scorer(found[other], found[one])
        for group, values in found.items():
            if row := _summary(values, 1.0 if group in {REWARD, *groups} else 2.0):
                rows.append({"group": group, "with": of, **row, "seeds": [] if group == REWARD else row["seeds"]})
    return rows


def _summary(found: np.ndarray, bound: float) -> dict[str, Any] | None:
    """Of models x prompts, with values from -bound to bound; None without any."""
    known = found[:, np.isfinite(found).any(axis=0)]
    if not known.size:
        return None
    by_prompt = np.nanmean(known, axis=0)
    low, high = mean_interval(by_prompt, -bound, bound)
    seeds = [float(np.nanmean(one)) if np.isfinite(one).any() else None for one in known]
    correlation = float(by_prompt.mean())
    return {"correlation": correlation, "low": low, "high": high, "n_prompts": len(by_prompt), "seeds": seeds}


def _within(prompt: PromptCandidates, scorer: str | None, measured: Mapping[str, float]) -> float:
    scores = _by_text(prompt, prompt["scores"][scorer] if scorer else prompt["correct"])
    scored = {text: score for text, score in scores.items() if np.isfinite(score)}
    return rank_correlation([measured[text] for text in scored], list(scored.values()))


def _by_text(prompt: PromptCandidates, values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """The mean value of each different response."""
    found: dict[str, list[float]] = {}
    for text, value in zip(prompt["responses"], values, strict=True):
        found.setdefault(text, []).append(value)
    return {text: fmean(several) for text, several in found.items()}
