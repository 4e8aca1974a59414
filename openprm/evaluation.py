"""How good a choice among N answers is: accuracies with intervals (paper, sections 4.4 and 5.2).

The unit of every average and every resample is the prompt. Ties are averaged over, never broken by the
order of the samples, and subsets are counted, never drawn: with the same rows the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TypedDict

import numpy as np

from .aggregate import AGGREGATIONS, aggregate
from .search import coverage, expected_best_of_n, expected_vote

#: Resamples drawn at a time, to bound the memory.
_BLOCK = 500


class PromptCandidates(TypedDict):
    """The N candidates of one prompt, all lists in the same order.

    `correct` is 1 or 0 (or a share between), `answers` what `openprm.rewards.extract_answer` gives, and
    `scores` a list for each scorer by name, higher is better (see `aggregated_scores`).
    """

    correct: Sequence[float]
    answers: Sequence[str | None]
    scores: Mapping[str, Sequence[float]]


class Row(TypedDict):
    """A method's mean accuracy over prompts, and how far it is from the mean of single samples.

    `low`, `high` and `difference_low`, `difference_high` are 95 % percentile bootstrap intervals over
    prompts; the difference is paired (both methods on the same resampled prompts).
    """

    method: str
    accuracy: float
    low: float
    high: float
    n_prompts: int
    difference: float
    difference_low: float
    difference_high: float


class CurvePoint(TypedDict):
    """A method's mean accuracy with `n` samples a prompt, and its 95 % interval over prompts."""

    method: str
    n: int
    accuracy: float
    low: float
    high: float


def aggregated_scores(
    step_rewards: Mapping[str, Sequence[Sequence[float]]], aggregations: Sequence[str] = tuple(AGGREGATIONS)
) -> dict[str, list[float]]:
    """One prompt's scores from step rewards: `{model: [rewards of each candidate's steps]}` to
    `{"model/aggregation": [a score for each candidate]}` (paper, appendix D.1).

    A candidate without steps, an empty response, scores -inf: it is chosen only where all are empty.
    """
    return {
        f"{model}/{aggregation}": [aggregate(rewards, aggregation) if rewards else -np.inf for rewards in candidates]
        for model, candidates in step_rewards.items()
        for aggregation in aggregations
    }


def evaluate_selection(prompts: Sequence[PromptCandidates], seed: int = 0, n_resamples: int = 10_000) -> list[Row]:
    """The table of ways to choose among the N candidates of each prompt.

    Rows, in order: `single sample` (the mean candidate), `majority vote@N`, and for each scorer `best of
    N: scorer` and `weighted vote@N: scorer` (a softmax of its scores, see `openprm.search.weighted_vote`),
    then `coverage@N` (at least one is correct: what no choice can exceed). The votes are left out where no
    candidate has an answer, as on open-ended prompts.

    Raises ValueError where there are no prompts, the prompts differ in N or in their scorers, or a score
    is NaN.
    """
    n, scorers = _shape(prompts)
    values = {"single sample": [fmean(prompt["correct"]) for prompt in prompts]}
    votes = any(answer is not None for prompt in prompts for answer in prompt["answers"])
    if votes:
        values[f"majority vote@{n}"] = [expected_vote(p["answers"], p["correct"]) for p in prompts]
    for name in scorers:
        values[f"best of {n}: {name}"] = [expected_best_of_n(p["scores"][name], p["correct"]) for p in prompts]
        if votes:
            values[f"weighted vote@{n}: {name}"] = [
                expected_vote(p["answers"], p["correct"], p["scores"][name]) for p in prompts
            ]
    values[f"coverage@{n}"] = [coverage(prompt["correct"]) for prompt in prompts]

    table = np.array(list(values.values()), dtype=float)
    differences = table - table[0]
    # In one call, so that every method and every difference sees the same resampled prompts.
    low, high = _intervals(np.concatenate([table, differences]), seed, n_resamples)
    m = len(table)
    return [
        Row(
            method=method,
            accuracy=float(table[i].mean()),
            low=low[i],
            high=high[i],
            n_prompts=len(prompts),
            difference=float(differences[i].mean()),
            difference_low=low[m + i],
            difference_high=high[m + i],
        )
        for i, method in enumerate(values)
    ]


def scaling_curve(prompts: Sequence[PromptCandidates], seed: int = 0, n_resamples: int = 10_000) -> list[CurvePoint]:
    """Best-of-n by each scorer, and coverage, for n = 1, 2, 4, ... and N (paper, figure 3).

    Each point is the exact mean over all subsets of n candidates (see `openprm.search`), where the paper
    draws five. Raises as `evaluate_selection` does.
    """
    available, scorers = _shape(prompts)
    sizes = [n for n in (2**i for i in range(available.bit_length())) if n < available] + [available]
    values = {
        (f"best of n: {name}", n): [expected_best_of_n(p["scores"][name], p["correct"], n) for p in prompts]
        for name in scorers
        for n in sizes
    }
    values |= {("coverage", n): [coverage(prompt["correct"], n) for prompt in prompts] for n in sizes}
    table = np.array(list(values.values()), dtype=float)
    low, high = _intervals(table, seed, n_resamples)
    return [
        CurvePoint(method=method, n=n, accuracy=float(table[i].mean()), low=low[i], high=high[i])
        for i, (method, n) in enumerate(values)
    ]


def bootstrap_interval(values: Sequence[float], seed: int = 0, n_resamples: int = 10_000) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean of `values` (one per prompt).

    Of paired differences it is the paired interval. Raises ValueError where `values` is empty.
    """
    low, high = _intervals(np.array([values], dtype=float), seed, n_resamples)
    return low[0], high[0]


def pair_accuracy(chosen_rewards: Sequence[float], rejected_rewards: Sequence[float]) -> float:
    """The share of pairs whose chosen side has the higher reward; a tie is a loss, as in RewardBench.

    Raises ValueError where there are no pairs, the lengths differ, or a reward is NaN.
    """
    chosen, rejected = np.asarray(chosen_rewards, float), np.asarray(rejected_rewards, float)
    if chosen.shape != rejected.shape:
        raise ValueError(f"{len(chosen)} chosen and {len(rejected)} rejected rewards are not pairs")
    if not len(chosen):
        raise ValueError("no pairs to compare")
    if np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("a reward is NaN")
    return float((chosen > rejected).mean())


def _intervals(table: np.ndarray, seed: int, n_resamples: int) -> tuple[list[float], list[float]]:
    """The 2.5 and 97.5 % percentiles of the resampled mean of each row of `table`, (rows, prompts)."""
    prompts = table.shape[1]
    if not prompts:
        raise ValueError("no values to resample")
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, n_resamples, _BLOCK):
        size = min(_BLOCK, n_resamples - start)
        # How often each resample holds each prompt: one matrix product then gives the means of all rows.
        drawn = rng.integers(prompts, size=(size, prompts)) + prompts * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * prompts).reshape(size, prompts)
        means.append(counts.astype(float) @ table.T / prompts)
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5], axis=0)
    return low.tolist(), high.tolist()


def _shape(prompts: Sequence[PromptCandidates]) -> tuple[int, list[str]]:
    """N and the names of the scorers, the same for all prompts."""
    if not prompts:
        raise ValueError("no prompts to evaluate")
    n, scorers = len(prompts[0]["correct"]), list(prompts[0]["scores"])
    for index, prompt in enumerate(prompts):
        lists = [prompt["correct"], prompt["answers"], *prompt["scores"].values()]
        if any(len(values) != n for values in lists) or set(prompt["scores"]) != set(scorers):
            raise ValueError(
                f"prompt {index} has {[len(values) for values in lists]} values, scorers {list(prompt['scores'])};"
                f" expected {n} of each, scorers {scorers}"
            )
    return n, scorers
