"""How good each way to choose among N candidates is: accuracies with intervals (paper, sections 4.4 and 5.2).

The unit of every average and every resample is the prompt. Ties are averaged over, never broken by the order of the
samples. Models that differ only in their training seed form a group: their accuracy is the mean over the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, TypedDict

import numpy as np

from ..decoding.selection import coverage, expected_best_of_n, expected_vote
from ..scoring.aggregation import AGGREGATIONS, aggregate

_RESAMPLES_AT_ONCE = 500  # bounds the memory

#: Names of scorers (one a training seed) by the name of their group.
Groups = Mapping[str, Sequence[str]]


class PromptCandidates(TypedDict):
    """The N candidates of one prompt, all lists in the same order.

    `correct` is 1 or 0 (or a share between), `answers` what `openprm.rewards.extract_answer` gives, and
    `scores` a list for each scorer by name, higher is better (see `aggregated_scores`).
    """

    responses: Sequence[str]
    correct: Sequence[float]
    answers: Sequence[str | None]
    scores: Mapping[str, Sequence[float]]


def aggregated_scores(
    step_rewards: Mapping[str, Sequence[Sequence[float | None]]], aggregations: Sequence[str] = tuple(AGGREGATIONS)
) -> dict[str, list[float]]:
    """One prompt's scores from step rewards: `{model: [rewards of each candidate's steps]}` to
    `{"model/aggregation": [a score for each candidate]}` (paper, appendix D.1).

    A candidate without rewards, or one too long for the model (a reward is None), scores -inf and is chosen only where
    all do, as in a search. It would otherwise be compared by its prefix alone with whole ones.
    """
    return {
        f"{model}/{aggregation}": [
            aggregate([r for r in rewards if r is not None], aggregation)
            if rewards and None not in rewards
            else -np.inf
            for rewards in candidates
        ]
        for model, candidates in step_rewards.items()
        for aggregation in aggregations
    }


def evaluate_selection(
    prompts: Sequence[PromptCandidates], groups: Groups | None = None, seed: int = 0, n_resamples: int = 10_000
) -> list[dict[str, Any]]:
    """The table of ways to choose among the N candidates of each prompt.

    Rows by `method`, in order: `single sample` (the mean candidate), what needs no model (`random score@N`,
    `longest response@N`, `shortest response@N`, `majority vote@N`), for each group of scorers (by default each on its
    own) `best of N: group` and `weighted vote@N: group` (a softmax of the scores, see
    `openprm.decoding.selection.weighted_vote`), and `coverage@N` (at least one is correct: what no choice can exceed).
    A score without information gives equal responses equal scores, so `random score` is a random one of the distinct
    responses. The votes are left out where no candidate has an answer, as on open-ended prompts.

    A row has the mean `accuracy` over prompts and seeds and its `difference` from a single sample, with 95 %
    percentile bootstrap intervals over prompts (`low`, `high`, `difference_low`, `difference_high`; the difference is
    paired: both on the same resampled prompts); `n_prompts`; and `seeds`, the accuracy by each scorer of the group.

    Raises ValueError where there are no prompts, the prompts differ in N or in their scorers, or a score is NaN.
    """
    n, groups = check_prompts(prompts, groups)
    values: dict[str, Any] = {
        "single sample": [[fmean(prompt["correct"]) for prompt in prompts]],
        f"random score@{n}": [[_distinct_mean(prompt) for prompt in prompts]],
        f"longest response@{n}": [[_by_length(prompt, 1) for prompt in prompts]],
        f"shortest response@{n}": [[_by_length(prompt, -1) for prompt in prompts]],
    }
    if has_votes(prompts):
        values[f"majority vote@{n}"] = [[expected_vote(p["answers"], p["correct"]) for p in prompts]]
    chosen = _chosen(prompts, groups)
    values |= {f"{choice}: {group}": by_group[group] for group in groups for choice, by_group in chosen.items()}
    values[f"coverage@{n}"] = [[coverage(prompt["correct"]) for prompt in prompts]]

    table = np.array([np.mean(by_seed, axis=0) for by_seed in values.values()])
    differences = table - table[0]
    # In one call, so that every method and every difference sees the same resampled prompts.
    low, high = intervals(np.concatenate([table, differences]), seed, n_resamples)
    m = len(table)
    return [
        {
            "method": method,
            "accuracy": float(table[i].mean()),
            "low": low[i],
            "high": high[i],
            "n_prompts": len(prompts),
            "seeds": [float(np.mean(one)) for one in by_seed] if ": " in method else [],
            "difference": float(differences[i].mean()),
            "difference_low": low[m + i],
            "difference_high": high[m + i],
        }
        for i, (method, by_seed) in enumerate(values.items())
    ]


def compare_groups(
    prompts: Sequence[PromptCandidates],
    groups: Groups,
    compared: Sequence[tuple[str, str]],
    seed: int = 0,
    n_resamples: int = 10_000,
) -> list[dict[str, Any]]:
    """Best of N, and the weighted vote where there are votes, by the first less by the second group of each pair.

    Paired by prompt and by seed: the first scorer of one group with the first of the other, and so on; a group of one
    is compared with every scorer of the other. A row is a `paired_difference` with `method`, `group` and the
    difference of each of the `seeds`. Raises ValueError where the groups have other numbers of scorers, and as
    `evaluate_selection` does.
    """
    check_prompts(prompts, groups)
    chosen = _chosen(prompts, {name: groups[name] for pair in compared for name in pair})
    found = []
    for group, against in compared:
        sizes = len(groups[group]), len(groups[against])
        if 1 not in sizes and sizes[0] != sizes[1]:
            raise ValueError(f"{group} and {against} have {sizes[0]} and {sizes[1]} seeds: give as many of each")
        for method, by_group in chosen.items():
            by_seed = by_group[group] - by_group[against]
            mean = paired_difference(against, by_seed.mean(axis=0), seed, n_resamples)
            found.append({**mean, "method": method, "group": group, "seeds": by_seed.mean(axis=1).tolist()})
    return found


def _chosen(prompts: Sequence[PromptCandidates], groups: Groups) -> dict[str, dict[str, np.ndarray]]:
    """The correctness of each choice by scores, by group: (scorers, prompts)."""
    n = len(prompts[0]["correct"])

    choices: dict[str, Callable[[PromptCandidates, str], float]] = {
        f"best of {n}": lambda prompt, scorer: expected_best_of_n(prompt["scores"][scorer], prompt["correct"])
    }
    if has_votes(prompts):
        choices[f"weighted vote@{n}"] = lambda prompt, scorer: expected_vote(
            prompt["answers"], prompt["correct"], prompt["scores"][scorer]
        )
    return {
        choice: {
            group: np.array([[choose(prompt, scorer) for prompt in prompts] for scorer in scorers])
            for group, scorers in groups.items()
        }
        for choice, choose in choices.items()
    }


def paired_difference(against: str, more: np.ndarray, seed: int, n_resamples: int) -> dict[str, Any]:
    """How much more accurate a choice is than another on the same prompts: the mean of `more`, the differences prompt
    by prompt, with its 95 % bootstrap interval."""
    low, high = bootstrap_interval(more.tolist(), seed, n_resamples)
    return {"against": against, "difference": float(more.mean()), "low": low, "high": high}


def bootstrap_interval(values: Sequence[float], seed: int = 0, n_resamples: int = 10_000) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean of `values` (one per prompt).

    Of paired differences it is the paired interval. Raises ValueError where `values` is empty.
    """
    low, high = intervals(np.array([values], dtype=float), seed, n_resamples)
    return low[0], high[0]


def intervals(table: np.ndarray, seed: int, n_resamples: int) -> tuple[list[float], list[float]]:
    """The 2.5 and 97.5 % percentiles of the resampled mean of each row of `table`, (rows, prompts)."""
    prompts = table.shape[1]
    if not prompts:
        raise ValueError("no values to resample")
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, n_resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, n_resamples - start)
        chosen = rng.integers(prompts, size=(size, prompts)) + prompts * np.arange(size)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=size * prompts).reshape(size, prompts)
        means.append(counts.astype(float) @ table.T / prompts)
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5], axis=0)
    return low.tolist(), high.tolist()


def has_votes(prompts: Sequence[PromptCandidates]) -> bool:
    """Whether any candidate has an answer to vote for."""
    return any(answer is not None for prompt in prompts for answer in prompt["answers"])


def check_prompts(prompts: Sequence[PromptCandidates], groups: Groups | None) -> tuple[int, Groups]:
    """N, and the groups: by default each scorer on its own. Raises ValueError where prompts differ in N or scorers."""
    if not prompts:
        raise ValueError("no prompts to evaluate")
    n, scorers = len(prompts[0]["correct"]), list(prompts[0]["scores"])
    for index, prompt in enumerate(prompts):
        lists = [prompt["responses"], prompt["correct"], prompt["answers"], *prompt["scores"].values()]
        if any(len(values) != n for values in lists) or set(prompt["scores"]) != set(scorers):
            raise ValueError(
                f"prompt {index} has {[len(values) for values in lists]} values, scorers {list(prompt['scores'])};"
                f" expected {n} of each, scorers {scorers}"
            )
    return n, {name: [name] for name in scorers} if groups is None else groups


def _distinct_mean(prompt: PromptCandidates) -> float:
    by_text: dict[str, list[float]] = {}
    for response, value in zip(prompt["responses"], prompt["correct"], strict=True):
        by_text.setdefault(response, []).append(value)
    return fmean(map(fmean, by_text.values()))


def _by_length(prompt: PromptCandidates, sign: int) -> float:
    return expected_best_of_n([sign * len(response) for response in prompt["responses"]], prompt["correct"])
