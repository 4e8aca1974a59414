"""What more samples bring: accuracy against samples and tokens (paper, figures 3 and 7). Pure.

A line is one way to choose, a point one number of samples a prompt; a search is a line of its own, with a point for
each budget. Tokens are those that the language model generated for one prompt, on average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from statistics import fmean, stdev
from typing import Any, TypedDict

import numpy as np

from ..decoding.early_rejection import ScoredSamples, calibrate, simulate
from ..decoding.selection import expected_best_of_n
from .accuracy import PromptCandidates, bootstrap_interval, paper_protocol, scaling_curve, vote_curve
from .subset_votes import random_subsets, vote_in

#: How often the paper draws K of its samples.
REPETITIONS = 5
_DRAWS = 200
#: How often early rejection is calibrated anew: one split of some hundred prompts says little about a risk.
_SPLITS = 10


class SamplePoint(TypedDict):
    """The accuracy of one way to choose among `n` samples, and its 95 % interval over prompts.

    `drawing_error`: the part of its standard error that is due to the subsets drawn; 0 where it is exact.
    `paper`: what the paper's protocol gives, the mean of five draws of n of the N, and `paper_std` between them.
    `generated_tokens` is None where the candidates do not say how long they are.
    """

    line: str
    n: int
    generated_tokens: float | None
    accuracy: float
    low: float
    high: float
    drawing_error: float
    paper: float
    paper_std: float


class Difference(TypedDict):
    """How much more accurate a search is than a choice among as many samples as its budget, on the same prompts."""

    against: str
    difference: float
    low: float
    high: float


class SearchPoint(TypedDict):
    """The accuracy of what a search answered, with its 95 % interval over prompts, and what it cost a prompt.

    `unanswered` counts prompts whose search failed: they are wrong, and as what they cost is not known, it counts as
    nothing. `scorer` is the name of the reward model that chose, if any.
    """

    line: str
    name: str
    method: str
    scorer: str | None
    n: int
    generated_tokens: float
    scored_tokens: float
    accuracy: float
    low: float
    high: float
    unanswered: int
    differences: list[Difference]


class EarlyRejectionRow(TypedDict):
    """What early rejection at a risk would have saved and cost (see `openprm.decoding.early_rejection.simulate`).

    `unit`: what is saved, tokens or, where candidates do not say how many they have, characters.
    Means over `n_splits` random halves of the prompts: `threshold` comes from `n_calibration` of them, the rest is
    measured on the `n_prompts` others. The risk is a promise on the average over calibrations, not for each.
    """

    scorer: str
    aggregation: str
    risk: float
    threshold: float
    n_answers: int
    n_splits: int
    n_calibration: int
    n_prompts: int
    unit: str
    tokens_saved: float
    winners_lost: float
    accuracy_before: float
    accuracy_after: float


@dataclass(frozen=True)
class Search:
    """What a search answered, prompt by prompt in the candidates' order.

    method: what tells it from others, such as "pbs" or "best-of-n, risk 0.1". correct: 1 or 0; 0 where there is no
    answer. scorer and aggregation: what it chose by; None for a plain vote.
    """

    name: str
    method: str
    budget: int
    scorer: str | None
    aggregation: str | None
    correct: Sequence[float]
    unanswered: int
    generated_tokens: float
    scored_tokens: float


def sample_points(
    prompts: Sequence[PromptCandidates], tokens: float | None, seed: int = 0, n_resamples: int = 10_000
) -> list[SamplePoint]:
    """Coverage, votes and best of n for n = 1, 2, 4, ... N, line by line.

    `tokens` is the mean length of a candidate. Raises ValueError as `openprm.evaluation.accuracy.evaluate_selection`
    does.
    """
    found: list[Mapping[str, Any]] = [
        *({**point, "drawing_error": 0.0} for point in scaling_curve(prompts, seed, n_resamples)),
        *vote_curve(prompts, seed, n_resamples, _DRAWS),
    ]
    papers = {n: paper_protocol(prompts, n, REPETITIONS, seed) for n in dict.fromkeys(point["n"] for point in found)}
    return [
        SamplePoint(
            line=point["method"],
            n=point["n"],
            generated_tokens=None if tokens is None else point["n"] * tokens,
            accuracy=point["accuracy"],
            low=point["low"],
            high=point["high"],
            drawing_error=point["drawing_error"],
            paper=fmean(papers[point["n"]][point["method"]]),
            paper_std=stdev(papers[point["n"]][point["method"]]),
        )
        for point in found
    ]


def search_point(
    search: Search, prompts: Sequence[PromptCandidates], seed: int = 0, n_resamples: int = 10_000
) -> SearchPoint:
    """One search beside what its budget gives by choosing among samples.

    It is compared with the majority vote and, where a reward model with scores chose, with the best of n and the
    weighted vote by the same aggregation; not at all where its budget exceeds the samples.
    """
    by = f"{search.scorer}/{search.aggregation}"
    differences = []
    for against, values in _same_budget(prompts, search.budget, by, seed).items():
        more = [found - value for found, value in zip(search.correct, values, strict=True)]
        low, high = bootstrap_interval(more, seed, n_resamples)
        differences.append(Difference(against=against, difference=fmean(more), low=low, high=high))
    low, high = bootstrap_interval(search.correct, seed, n_resamples)
    return SearchPoint(
        line=f"{search.method}: {by}" if search.scorer else search.method,
        name=search.name,
        method=search.method,
        scorer=search.scorer,
        n=search.budget,
        generated_tokens=search.generated_tokens,
        scored_tokens=search.scored_tokens,
        accuracy=fmean(search.correct),
        low=low,
        high=high,
        unanswered=search.unanswered,
        differences=differences,
    )


def _same_budget(prompts: Sequence[PromptCandidates], n: int, by: str, seed: int) -> dict[str, list[float]]:
    """Prompt by prompt, the expected correctness of choices among `n` of the samples."""
    available = len(prompts[0]["correct"])
    if n > available:
        return {}
    scored = by in prompts[0]["scores"]
    values: dict[str, list[float]] = {}
    for index, prompt in enumerate(prompts):
        correct, answers = prompt["correct"], prompt["answers"]
        drawn = random_subsets(available, n, _DRAWS if n < available else 1, np.random.default_rng([seed, index, n]))
        found = {"majority vote": float(vote_in(drawn, answers, correct).mean())}
        if scored:
            scores = prompt["scores"][by]
            found[f"best of n: {by}"] = expected_best_of_n(scores, correct, n)
            found[f"weighted vote: {by}"] = float(vote_in(drawn, answers, correct, scores).mean())
        for name, value in found.items():
            values.setdefault(name, []).append(value)
    return values


def early_rejection_rows(
    prompts: Sequence[ScoredSamples],
    scorer: str,
    aggregation: str,
    risks: Sequence[float],
    seed: int = 0,
    unit: str = "tokens",
) -> list[EarlyRejectionRow]:
    """One row a risk: the rule is calibrated on a random half of the prompts and measured on the other, some times.

    Risks that so few prompts cannot promise are left out. `unit` is that of the prompts' `step_tokens`.
    """
    half = len(prompts) // 2
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(prompts)).tolist() for _ in range(_SPLITS)]
    rows = []
    for risk in risks:
        if (half + 1) * Fraction(str(risk)) < 1:
            continue
        rules = [calibrate([prompts[i].step_rewards for i in order[:half]], aggregation, risk) for order in orders]
        outcomes = [
            simulate([prompts[i] for i in order[half:]], rule) for order, rule in zip(orders, rules, strict=True)
        ]
        rows.append(
            EarlyRejectionRow(
                scorer=scorer,
                aggregation=aggregation,
                risk=risk,
                threshold=fmean(rule.threshold for rule in rules),
                n_answers=rules[0].n_answers,
                n_splits=_SPLITS,
                n_calibration=half,
                n_prompts=len(prompts) - half,
                unit=unit,
                tokens_saved=fmean(outcome.tokens_saved for outcome in outcomes),
                winners_lost=fmean(outcome.winners_lost for outcome in outcomes),
                accuracy_before=fmean(outcome.accuracy_before for outcome in outcomes),
                accuracy_after=fmean(outcome.accuracy_after for outcome in outcomes),
            )
        )
    return rows


def step_tokens(n_tokens: int, steps: Sequence[str]) -> list[int]:
    """How many of a response's tokens each step has, by its share of the characters; they add up to `n_tokens`."""
    ends = list(accumulate(map(len, steps)))
    until = [round(n_tokens * end / ends[-1]) for end in ends]
    return [after - before for before, after in zip([0, *until], until, strict=False)]
