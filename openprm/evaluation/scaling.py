"""What more samples bring: accuracy against samples and tokens (paper, figures 3 and 7). Pure.

A line is one way to choose, a point one number of samples a prompt; a search is a line of its own, with a point for
each budget. Tokens are those that the language model generated for one prompt, on average. Best of n and coverage are
exact means over all subsets of n candidates; only votes, and the paper's own protocol, sample subsets, by a seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, combinations
from statistics import fmean, stdev
from typing import Any

import numpy as np

from ..decoding.early_rejection import ScoredSamples, calibrate, prompts_needed, simulate
from ..decoding.selection import expected_best_of_n, log_weights
from .accuracy import (
    Choices,
    Groups,
    PromptCandidates,
    bounds,
    by_scorer,
    can_vote,
    check_prompts,
    has_votes,
    intervals,
    mean_interval,
    paired_difference,
    unit_of,
)
from .data import ScoredPrompt
from .subset_votes import best_in, random_subsets, vote_in

_REPETITIONS = 5  # how often the paper draws n of its samples
_PROTOCOL = 1  # sets those subsets apart from the ones that votes are measured on
_SUBSETS = 200
#: How often early rejection is calibrated on another half: one split of some hundred prompts says little about a risk.
_SPLITS = 10


@dataclass
class LineValues:
    """One line at one n: the expected correctness of each prompt, how much its sampling of subsets adds to the
    variance of the sum, and the mean accuracy in each repetition of the paper's protocol."""

    values: list[float] = field(default_factory=list)
    variance: float = 0.0
    paper: np.ndarray | float = 0.0


def scaling_curve(
    prompts: Sequence[PromptCandidates],
    groups: Groups | None = None,
    tokens: float | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Coverage, votes and best of n for n = 1, 2, 4, ... N, line by line.

    A point has its `line` and `n`, the `accuracy` with its 95 % interval over prompts (`low`, `high`), and
    `generated_tokens`, by `tokens`, the mean length of a candidate. `sampling_error` is the part of its standard error
    that is due to sampled subsets, 0 where it is exact; `paper` what the paper's protocol gives (section 4.4), the
    mean of five draws of n of the N, and `paper_std` between them. `groups` are as in
    `openprm.evaluation.accuracy.evaluate_selection`, and what is raised too.
    """
    groups = check_prompts(prompts, groups, equal=True)
    available = len(prompts[0]["correct"])
    found = {(line, n): v for n in curve_sizes(available) for line, v in line_values(prompts, groups, n, seed).items()}
    low, high = intervals(np.array([one.values for one in found.values()], dtype=float), *bounds(prompts))
    points = [
        {
            "line": line,
            "n": n,
            "generated_tokens": None if tokens is None else n * tokens,
            "accuracy": fmean(one.values),
            "low": low[i],
            "high": high[i],
            "sampling_error": math.sqrt(one.variance) / len(prompts),
            "paper": float(np.mean(one.paper)),
            "paper_std": stdev(np.atleast_1d(one.paper).tolist()),
        }
        for i, ((line, n), one) in enumerate(found.items())
    ]
    lines = list(dict.fromkeys(line for line, _ in found))
    return sorted(points, key=lambda point: lines.index(point["line"]))


def line_values(
    prompts: Sequence[PromptCandidates],
    groups: Groups,
    n: int,
    seed: int = 0,
    subsets: int = _SUBSETS,
    repetitions: int = _REPETITIONS,
) -> dict[str, LineValues]:
    """Each way to choose among `n` of the candidates, prompt by prompt.

    There is no formula for a vote among n of N: it is the mean over random `subsets`, the same for all votes, and
    exact for n = 1 and n = N. Raises ValueError where `n` is not within 1..N.
    """
    has_vote = has_votes(prompts)
    voting = [group for group, scorers in groups.items() if can_vote(prompts, scorers)]
    found: dict[str, LineValues] = {}
    for index, prompt in enumerate(prompts):
        correct, answers, available = prompt["correct"], prompt["answers"], len(prompt["correct"])
        by_scorer = [prompt["scores"][scorer] for scorers in groups.values() for scorer in scorers]
        scores = np.array(by_scorer, float).reshape(-1, available)
        voters = [scorer for group in voting for scorer in groups[group]]
        weights = [log_weights(prompt["scores"][scorer], unit_of(prompt, scorer)) for scorer in voters]
        weights.insert(0, [0.0] * available)  # a vote by equal weights is a majority vote
        if n == 1:
            chosen = np.eye(available, dtype=bool)
        elif n == available:
            chosen = np.ones((1, available), dtype=bool)
        else:
            chosen = random_subsets(available, n, subsets, np.random.default_rng([seed, index, n]))
        values = _lines(
            groups,
            voting,
            np.array([[expected_best_of_n(one, correct, n)] for one in (correct, *by_scorer)]),
            vote_in(chosen, answers, correct, np.array(weights)) if has_vote else None,
        )
        repeated = random_subsets(available, n, repetitions, np.random.default_rng([seed, index, n, _PROTOCOL]))
        paper = _lines(
            groups,
            voting,
            best_in(repeated, np.array([correct, *scores], float), correct),
            vote_in(repeated, answers, correct, np.array(weights)) if has_vote else None,
        )
        for line, some in values.items():
            one = found.setdefault(line, LineValues())
            one.values.append(float(some.mean()))
            if "vote" in line and 1 < n < available:
                one.variance += float(some.var(ddof=1)) / subsets
            one.paper = one.paper + paper[line] / len(prompts)
    return found


def _lines(groups: Groups, voting: Sequence[str], best: np.ndarray, votes: np.ndarray | None) -> dict[str, np.ndarray]:
    """Correctness by line. Both have a row for each scorer, group by group (of votes, of the `voting` ones), and one
    before: the choice by correctness itself, which is coverage, and the majority vote."""
    lines = {"coverage": best[0], **({} if votes is None else {"majority vote": votes[0]})}
    start = voted = 1
    for group, scorers in groups.items():
        lines[f"best of n: {group}"] = np.mean(best[start : start + len(scorers)], axis=0)
        start += len(scorers)
        if votes is not None and group in voting:
            lines[f"weighted vote: {group}"] = np.mean(votes[voted : voted + len(scorers)], axis=0)
            voted += len(scorers)
    return lines


def curve_sizes(available: int) -> list[int]:
    """1, 2, 4, ... and `available`."""
    return [n for n in (2**i for i in range(available.bit_length())) if n < available] + [available]


def search_point(
    search: Mapping[str, Any],
    correct: Sequence[float],
    prompts: Sequence[PromptCandidates],
    seed: int = 0,
) -> dict[str, Any]:
    """One search beside what its budget gives by choosing among samples.

    To what `openprm.evaluation.data.read_search_answers` says of it this adds its `accuracy` from `low` to
    `high`, and `differences` from choices among as many samples as its budget, on the same prompts: the majority vote
    and, where a model with scores chose, the best of n and the weighted vote by the same aggregation; none where the
    budget exceeds the samples.
    """
    by = f"{search['scorer']}/{search['aggregation']}"
    low, high = bounds([*prompts, {"correct": correct}])  # type: ignore[typeddict-item]
    differences = []
    if search["n"] <= len(prompts[0]["correct"]):
        groups = {by: [by]} if by in prompts[0]["scores"] else {}
        for against, other in line_values(prompts, groups, search["n"], seed).items():
            if against != "coverage":
                more = np.subtract(correct, other.values)
                differences.append(paired_difference(against, more, high - low))
    low, high = mean_interval(correct, low, high)
    return {**search, "accuracy": fmean(correct), "low": low, "high": high, "differences": differences}


def search_differences(searches: Sequence[tuple[Mapping[str, Any], Sequence[float]]]) -> list[dict[str, Any]]:
    """How two searches of the same prompts differ, any two of them: rows like those of `compare_groups`.

    searches: what `openprm.evaluation.data.read_search_answers` gives.
    """
    found = [(f"{search['line']} @{search['n']}", correct) for search, correct in searches]
    return [
        {**paired_difference(against, np.subtract(more, less)), "method": "search", "group": group, "seeds": []}
        for (against, less), (group, more) in combinations(found, 2)
    ]


def searches_of_kinds(
    searches: Sequence[tuple[Mapping[str, Any], Sequence[float]]],
    kinds: Mapping[str, Mapping[str, Any]],
    chosen: Choices,
    span: float = 1.0,
) -> list[dict[str, Any]]:
    """Searches by all models of a kind (its seeds), as one, less the best of as many samples: by the same score, and
    by each kind's own. Rows like those of `compare_groups`.

    searches: as for `search_differences`. kinds: the models of each, and its aggregation, by name. chosen: what
    `openprm.evaluation.accuracy.choices` gives.
    """
    found = []
    for kind, entry in kinds.items():
        alike: dict[tuple[str, str, int], dict[str, Sequence[float]]] = {}
        for search, correct in searches:
            if search["scorer"] in entry["models"] and len(entry["models"]) > 1:
                alike.setdefault((search["method"], search["aggregation"], search["n"]), {})[search["scorer"]] = (
                    correct
                )
        for (method, aggregation, n), of in alike.items():
            if len(of) < len(entry["models"]):
                continue
            one = np.array([of[model] for model in entry["models"]])
            scores = dict.fromkeys([f"{kind}/{aggregation}", *(f"{k}/{e['aggregation']}" for k, e in kinds.items())])
            for score in scores:
                if (name := f"best of {n}: {score}") in chosen:
                    more = by_scorer(one, chosen[name])
                    group = f"{method}: {kind}/{aggregation} @{n}"
                    row = {"method": "search", "group": group, "seeds": more.mean(axis=1).tolist()}
                    found.append({**paired_difference(name, more.mean(axis=0), span), **row})
    return found


def early_rejection_rows(
    prompts: Sequence[ScoredPrompt],
    model: str,
    aggregation: str,
    risks: Sequence[float],
    seed: int = 0,
    in_tokens: bool = True,
) -> list[dict[str, Any]]:
    """What early rejection at each risk would have saved and cost: the rule is calibrated on a random half of the
    prompts and measured on the other, some times.

    What `openprm.decoding.early_rejection.simulate` gives and the `threshold` are means over `n_splits` splits
    into `n_calibration` and `n_prompts` prompts. The risk is a promise on the average over calibrations, not for each.
    Risks that need more prompts than a half are left out. Responses are measured in tokens, or all in characters.
    """
    samples = [
        ScoredSamples(
            step_rewards=prompt["step_rewards"][model],
            aggregation=aggregation,
            step_tokens=[
                step_tokens(row["n_tokens"] if in_tokens else len(row["response"]), steps)
                for row, steps in zip(prompt["rows"], prompt["steps"][model], strict=True)
            ],
            correct=prompt["correct"],
        )
        for prompt in prompts
    ]
    half = len(samples) // 2
    rng = np.random.default_rng(seed)
    splits = [[samples[i] for i in rng.permutation(len(samples))] for _ in range(_SPLITS)]
    rows = []
    for risk in risks:
        if half < prompts_needed(risk):
            continue
        rules = [calibrate(split[:half], risk) for split in splits]
        effects = [simulate(split[half:], rule) for split, rule in zip(splits, rules, strict=True)]
        rows.append(
            {
                "scorer": model,
                "aggregation": aggregation,
                "risk": risk,
                "threshold": fmean(rule.threshold for rule in rules),
                "n_answers": rules[0].n_answers,
                "n_splits": _SPLITS,
                "n_calibration": half,
                "unit": "tokens" if in_tokens else "characters",
                **{name: fmean(effect[name] for effect in effects) for name in effects[0]},
                "n_prompts": len(samples) - half,
            }
        )
    return rows


def step_tokens(n_tokens: int, steps: Sequence[str]) -> list[int]:
    """How many of a response's tokens each step has, by its share of the characters; they add up to `n_tokens`."""
    ends = list(accumulate(map(len, steps)))
    until = [round(n_tokens * end / ends[-1]) for end in ends]
    return [after - before for before, after in zip([0, *until], until, strict=False)]
