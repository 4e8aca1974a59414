"""How good a choice among N answers is: accuracies with intervals (paper, sections 4.4 and 5.2).

The unit of every average and every resample is the prompt. Ties are averaged over, never broken by the
order of the samples, and subsets are counted where there is a formula (best of n, coverage). Only votes among fewer
than all candidates, and the paper's own protocol, draw subsets, by a seed: the same rows give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TypedDict

import numpy as np

from ..decoding.selection import coverage, expected_best_of_n, expected_vote
from ..scoring.aggregation import AGGREGATIONS, aggregate
from .subset_votes import best_in, covered_in, random_subsets, vote_in

# Sets the draws of the paper's protocol apart from those of `vote_curve`, which would else begin with the same ones.
_PROTOCOL = 1
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


class VotePoint(CurvePoint):
    """The same of a vote.

    `drawing_error` is the standard error of `accuracy` that is due to the subsets drawn; 0 where it is exact.
    """

    drawing_error: float


def aggregated_scores(
    step_rewards: Mapping[str, Sequence[Sequence[float]]], aggregations: Sequence[str] = tuple(AGGREGATIONS)
) -> dict[str, list[float]]:
    """One prompt's scores from step rewards: `{model: [rewards of each candidate's steps]}` to
    `{"model/aggregation": [a score for each candidate]}` (paper, appendix D.1).

    A candidate without rewards scores -inf, so that it is chosen only where none has any: an empty response, and one
    that was not rewarded to its end (see `openprm.evaluation.scored_prompts.ScoredPrompt.whole_rewards`).
    """
    return {
        f"{model}/{aggregation}": [aggregate(rewards, aggregation) if rewards else -np.inf for rewards in candidates]
        for model, candidates in step_rewards.items()
        for aggregation in aggregations
    }


def evaluate_selection(prompts: Sequence[PromptCandidates], seed: int = 0, n_resamples: int = 10_000) -> list[Row]:
    """The table of ways to choose among the N candidates of each prompt.

    Rows, in order: `single sample` (the mean candidate), `majority vote@N`, and for each scorer `best of
    N: scorer` and `weighted vote@N: scorer` (a softmax of its scores, see `openprm.decoding.selection.weighted_vote`),
    then `coverage@N` (at least one is correct: what no choice can exceed). The votes are left out where no
    candidate has an answer, as on open-ended prompts.

    Raises ValueError where there are no prompts, the prompts differ in N or in their scorers, or a score
    is NaN.
    """
    n, scorers = _shape(prompts)
    values = {"single sample": [fmean(prompt["correct"]) for prompt in prompts]}
    votes = _has_votes(prompts)
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

    Each point is the exact mean over all subsets of n candidates (see `openprm.decoding.selection`), where the paper
    draws five. Raises as `evaluate_selection` does.
    """
    available, scorers = _shape(prompts)
    sizes = curve_sizes(available)
    values = {
        (f"best of n: {name}", n): [expected_best_of_n(p["scores"][name], p["correct"], n) for p in prompts]
        for name in scorers
        for n in sizes
    }
    values |= {("coverage", n): [coverage(prompt["correct"], n) for prompt in prompts] for n in sizes}
    return _points(values, seed, n_resamples)


def vote_curve(
    prompts: Sequence[PromptCandidates], seed: int = 0, n_resamples: int = 10_000, draws: int = 200
) -> list[VotePoint]:
    """The majority vote, and the vote weighted by each scorer, for the same n as in `scaling_curve`.

    There is no formula for a vote among n of N: each prompt's value is the mean over `draws` random subsets, the same
    for all votes. It is exact for n = 1 and n = N. The interval, over prompts, covers the drawing too, which is
    independent from prompt to prompt. Empty where no candidate has an answer. Raises as `evaluate_selection` does.
    """
    available, scorers = _shape(prompts)
    if not _has_votes(prompts):
        return []
    sizes = curve_sizes(available)
    methods: dict[str, str | None] = {"majority vote": None, **{f"weighted vote: {name}": name for name in scorers}}
    values: dict[tuple[str, int], list[float]] = {(method, n): [] for method in methods for n in sizes}
    variances = dict.fromkeys(values, 0.0)
    for index, prompt in enumerate(prompts):
        for n in sizes:
            drawn = random_subsets(available, n, draws, np.random.default_rng([seed, index, n]))
            for method, name in methods.items():
                scores = None if name is None else prompt["scores"][name]
                if n == 1:
                    value = fmean(prompt["correct"])
                elif n == available:
                    value = expected_vote(prompt["answers"], prompt["correct"], scores)
                else:
                    found = vote_in(drawn, prompt["answers"], prompt["correct"], scores)
                    value = float(found.mean())
                    variances[method, n] += float(found.var(ddof=1)) / draws
                values[method, n].append(value)
    return [
        VotePoint(**point, drawing_error=math.sqrt(variances[point["method"], point["n"]]) / len(prompts))
        for point in _points(values, seed, n_resamples)
    ]


def paper_protocol(
    prompts: Sequence[PromptCandidates], n: int, repetitions: int = 5, seed: int = 0
) -> dict[str, list[float]]:
    """The paper's way to measure n of N samples (section 4.4): draw n of each prompt's, choose, and do it again.

    The mean accuracy over prompts in each of the `repetitions`, of which the paper reports the mean, by the methods'
    names in `scaling_curve` and `vote_curve`. It is an estimate of what those two give exactly, or more closely.
    Raises ValueError where `n` is not within 1..N, and as `evaluate_selection` does.
    """
    available, scorers = _shape(prompts)
    if not 1 <= n <= available:
        raise ValueError(f"cannot draw {n} of {available} candidates")
    votes = _has_votes(prompts)
    sums: dict[str, np.ndarray] = {}
    for index, prompt in enumerate(prompts):
        drawn = random_subsets(available, n, repetitions, np.random.default_rng([seed, index, n, _PROTOCOL]))
        correct, answers = prompt["correct"], prompt["answers"]
        found = {"coverage": covered_in(drawn, correct)}
        if votes:
            found["majority vote"] = vote_in(drawn, answers, correct)
        for name in scorers:
            found[f"best of n: {name}"] = best_in(drawn, prompt["scores"][name], correct)
            if votes:
                found[f"weighted vote: {name}"] = vote_in(drawn, answers, correct, prompt["scores"][name])
        for method, values in found.items():
            sums[method] = sums.get(method, 0) + values
    return {method: (total / len(prompts)).tolist() for method, total in sums.items()}


def curve_sizes(available: int) -> list[int]:
    """1, 2, 4, ... and `available`."""
    return [n for n in (2**i for i in range(available.bit_length())) if n < available] + [available]


def bootstrap_interval(values: Sequence[float], seed: int = 0, n_resamples: int = 10_000) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean of `values` (one per prompt).

    Of paired differences it is the paired interval. Raises ValueError where `values` is empty.
    """
    low, high = _intervals(np.array([values], dtype=float), seed, n_resamples)
    return low[0], high[0]


def _points(values: Mapping[tuple[str, int], Sequence[float]], seed: int, n_resamples: int) -> list[CurvePoint]:
    """A point for each (method, n) of the prompts' values."""
    table = np.array(list(values.values()), dtype=float)
    low, high = _intervals(table, seed, n_resamples)
    return [
        CurvePoint(method=method, n=n, accuracy=float(table[i].mean()), low=low[i], high=high[i])
        for i, (method, n) in enumerate(values)
    ]


def _has_votes(prompts: Sequence[PromptCandidates]) -> bool:
    return any(answer is not None for prompt in prompts for answer in prompt["answers"])


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
