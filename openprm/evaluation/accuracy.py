"""How good each way to choose among N candidates is: accuracies with intervals (paper, sections 4.4 and 5.2).

The unit of every average and every interval is the prompt. Ties are averaged over, never broken by the order of the
samples. Models that differ only in their training seed form a group: their accuracy is the mean over the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NotRequired, TypedDict

import numpy as np

from ..decoding.selection import coverage, expected_best_of_n, expected_vote, has_weights
from ..scoring.aggregation import aggregate, aggregations_of
from ..scoring.units import DEFAULT_UNIT

_Z = 1.959964  # of 95 %

#: Names of scorers (one a training seed) by the name of their group.
Groups = Mapping[str, Sequence[str]]


class PromptCandidates(TypedDict):
    """The N candidates of one prompt, all lists in the same order.

    `correct` is 1 or 0 (or a share between), `answers` what `openprm.rewards.extract_answer` gives, and
    `scores` a list for each scorer by name, higher is better (see `aggregated_scores`). `units` are those of the
    scores, by scorer, where they are not strengths.
    """

    responses: Sequence[str]
    correct: Sequence[float]
    answers: Sequence[str | None]
    scores: Mapping[str, Sequence[float]]
    units: NotRequired[Mapping[str, str]]


def unit_of(prompt: PromptCandidates, scorer: str) -> str:
    """Of a scorer's scores."""
    return prompt.get("units", {}).get(scorer, DEFAULT_UNIT)


def aggregated_scores(
    step_rewards: Mapping[str, Sequence[Sequence[float | None]]],
    aggregations: Sequence[str] = tuple(aggregations_of(DEFAULT_UNIT)),
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


#: How correct each choice is, by its name: (scorers of its group, prompts), with one scorer where it needs no model.
Choices = Mapping[str, np.ndarray]


def evaluate_selection(
    prompts: Sequence[PromptCandidates], groups: Groups | None = None, chosen: Choices | None = None
) -> list[dict[str, Any]]:
    """The table of ways to choose among the N candidates of each prompt.

    chosen: what `choices` gives, where it is known.

    Rows by `method`, in order: `single sample` (the mean candidate), what needs no model (`longest response@N`,
    `shortest response@N`, other baselines, `majority vote@N`), for each group of scorers (by default each on its own)
    `best of N: group` and `weighted vote@N: group` (see `openprm.decoding.selection.log_weights`; none by scores whose
    unit says neither odds nor probabilities), and `coverage@N` (the best candidate: what no choice can exceed).
    Where prompts have other numbers of candidates, N is their range. The votes are left out where no candidate has an
    answer, as on open-ended prompts.

    A row has the mean `accuracy` over prompts and seeds and its `difference` from a single sample, with 95 % intervals
    over prompts (see `intervals`; `low`, `high`, `difference_low`, `difference_high`; the difference is paired: both
    on the same prompts); `n_prompts`; `seeds`, the accuracy by each scorer of the group; and of best of N `tied`, the
    share of prompts whose best score different responses share.

    Raises ValueError where there are no prompts, prompts differ in their scorers, or a score is NaN.
    """
    groups = check_prompts(prompts, groups)
    best = f"best of {sizes(prompts)}"

    def ties(scorer: str) -> float:
        scored = (zip(one["scores"][scorer], one["responses"], strict=True) for one in prompts)
        return tied_share((number, *one) for number, responses in enumerate(scored) for one in responses)

    tied = {f"{best}: {group}": fmean(map(ties, scorers)) for group, scorers in groups.items()}
    rows = choice_rows(choices(prompts, groups) if chosen is None else chosen, bounds(prompts))
    return [{**row, "tied": tied.get(row["method"])} for row in rows]


def choices(
    prompts: Sequence[PromptCandidates],
    groups: Groups,
    baselines: Mapping[str, Sequence[float]] | None = None,
    n: str | None = None,
) -> dict[str, np.ndarray]:
    """The ways to choose of `evaluate_selection`, by the names of its rows, with `n` for N.

    baselines: further ways that need no model, by the correctness of each prompt's choice.
    """
    n = n or sizes(prompts)
    plain: dict[str, Sequence[float]] = {
        "single sample": [fmean(prompt["correct"]) for prompt in prompts],
        f"longest response@{n}": [_by_length(prompt, 1) for prompt in prompts],
        f"shortest response@{n}": [_by_length(prompt, -1) for prompt in prompts],
        **(baselines or {}),
    }
    ways: dict[str, Callable[[PromptCandidates, str], float]] = {
        f"best of {n}": lambda prompt, scorer: expected_best_of_n(prompt["scores"][scorer], prompt["correct"])
    }
    if has_votes(prompts):
        plain[f"majority vote@{n}"] = [expected_vote(p["answers"], p["correct"]) for p in prompts]
        ways[f"weighted vote@{n}"] = lambda prompt, scorer: expected_vote(
            prompt["answers"], prompt["correct"], prompt["scores"][scorer], unit_of(prompt, scorer)
        )
    by_group = {
        f"{way}: {group}": np.array([[choose(prompt, scorer) for prompt in prompts] for scorer in scorers])
        for group, scorers in groups.items()
        for way, choose in ways.items()
        if "vote" not in way or can_vote(prompts, scorers)
    }
    highest = np.array([[coverage(prompt["correct"]) for prompt in prompts]])
    return {**{name: np.array([one]) for name, one in plain.items()}, **by_group, f"coverage@{n}": highest}


def choice_rows(chosen: Choices, bounds: tuple[float, float]) -> list[dict[str, Any]]:
    """The rows of `evaluate_selection` but for `tied`; `bounds` are the least and the largest correctness."""
    table = np.array([by_seed.mean(axis=0) for by_seed in chosen.values()])
    differences = table - table[0]
    worst, best = bounds
    low, high = intervals(table, worst, best)
    difference_low, difference_high = intervals(differences, worst - best, best - worst)
    difference_low[0] = difference_high[0] = 0.0  # of a single sample from itself
    return [
        {
            "method": method,
            "accuracy": float(table[i].mean()),
            "low": low[i],
            "high": high[i],
            "n_prompts": table.shape[1],
            "seeds": by_seed.mean(axis=1).tolist() if ": " in method else [],
            "difference": float(differences[i].mean()),
            "difference_low": difference_low[i],
            "difference_high": difference_high[i],
        }
        for i, (method, by_seed) in enumerate(chosen.items())
    ]


def compare_groups(
    chosen: Choices, compared: Sequence[tuple[str, str]], bounds: tuple[float, float]
) -> list[dict[str, Any]]:
    """Best of N, and the weighted vote where there are votes, by the first less by the second group of each pair.

    Paired by prompt, and by seed as in `by_scorer`. A row is a `paired_difference` with `method`, `group` and the
    difference of each of the `seeds`.
    """
    methods = list(dict.fromkeys(name.partition(": ")[0] for name in chosen if ": " in name))
    found = []
    for group, against in compared:
        for method in methods:
            if not {f"{method}: {group}", f"{method}: {against}"} <= chosen.keys():
                continue  # of two units, of which one weighs no votes
            one, other = chosen[f"{method}: {group}"], chosen[f"{method}: {against}"]
            by_seed = by_scorer(one, other)
            mean = paired_difference(against, by_seed.mean(axis=0), bounds[1] - bounds[0])
            found.append({**mean, "method": method, "group": group, "seeds": by_seed.mean(axis=1).tolist()})
    return found


def by_scorer(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The values of one group less those of another, both of scorers x prompts: the first scorer less the other
    group's first, and so on, where both have as many; else each scorer of `one` less the mean of the other group."""
    difference: np.ndarray = one - (other if len(one) == len(other) else other.mean(axis=0))
    return difference


def tied_share(rows: Iterable[tuple[Hashable, float, str]]) -> float:
    """The share of prompts whose best score is that of different texts. Of each response: prompt, score and text."""
    best: dict[Hashable, tuple[float, set[int]]] = {}
    for prompt, score, text in rows:
        if prompt not in best or score > best[prompt][0]:
            best[prompt] = score, {hash(text)}
        elif score == best[prompt][0]:
            best[prompt][1].add(hash(text))
    return fmean(len(texts) > 1 for _, texts in best.values())


def paired_difference(against: str, more: np.ndarray, span: float = 1.0) -> dict[str, Any]:
    """How much more accurate a choice is than another on the same prompts: the mean of `more`, the differences prompt
    by prompt, each up to `span`, with its 95 % interval."""
    low, high = mean_interval(more, -span, span)
    return {"against": against, "difference": float(more.mean()), "low": low, "high": high}


def mean_interval(values: Any, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """The interval of the mean of `values`, one a prompt (see `intervals`); of differences it is the paired one."""
    lows, highs = intervals(np.array([values], dtype=float), low, high)
    return lows[0], highs[0]


def intervals(table: np.ndarray, low: float = 0.0, high: float = 1.0) -> tuple[list[float], list[float]]:
    """The 95 % interval of the mean of each row of `table`, (rows, prompts), of values from `low` to `high`.

    Of values 0 and 1 it is Wilson's score interval: all mu with (mean - mu)^2 <= z^2 (mu - low)(high - mu) / prompts.
    Values between have less variance: z^2 is taken by the share that they have of the largest variance with this mean,
    with one prompt more that is half of the range away. So it does not shrink to nothing where all prompts agree, as a
    bootstrap's does. Of differences from -1 to 1 it is close to Bonett and Price's (2012). Raises ValueError where
    there are no prompts.
    """
    n = table.shape[1]
    if not n:
        raise ValueError("no values to take the mean of")
    mean, one = table.mean(axis=1), (high - low) ** 2 / 4
    largest = n * np.maximum((mean - low) * (high - mean), 0)
    k = _Z**2 / n * (n * table.var(axis=1) + one) / (largest + one)
    middle, product = mean + k * (low + high) / 2, mean**2 + k * low * high
    half = np.sqrt(np.maximum(middle**2 - (1 + k) * product, 0))
    return ((middle - half) / (1 + k)).tolist(), ((middle + half) / (1 + k)).tolist()


def bounds(prompts: Sequence[PromptCandidates]) -> tuple[float, float]:
    """The least and the largest that a choice can be worth: 0 and 1, or what graded rewards reach beyond."""
    values = [value for prompt in prompts for value in prompt["correct"]]
    return min(0.0, *values), max(1.0, *values)


def has_votes(prompts: Sequence[PromptCandidates]) -> bool:
    """Whether any candidate has an answer to vote for."""
    return any(answer is not None for prompt in prompts for answer in prompt["answers"])


def can_vote(prompts: Sequence[PromptCandidates], scorers: Sequence[str]) -> bool:
    """Whether the scores of a group of scorers can weigh votes."""
    return all(has_weights(unit_of(prompts[0], scorer)) for scorer in scorers)


def sizes(prompts: Sequence[PromptCandidates]) -> str:
    """N, the number of candidates of a prompt; `2 to 5` where prompts differ."""
    counts = sorted({len(prompt["correct"]) for prompt in prompts})
    return f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])


def check_prompts(prompts: Sequence[PromptCandidates], groups: Groups | None, equal: bool = False) -> Groups:
    """The groups: by default each scorer on its own.

    Raises ValueError where there are no prompts, one has no candidates or lists of other lengths, or they differ in
    their scorers, or (if they must be `equal`) in N.
    """
    if not prompts:
        raise ValueError("no prompts to evaluate")
    scorers = list(prompts[0]["scores"])
    for index, prompt in enumerate(prompts):
        n = len(prompts[0]["correct"]) if equal else len(prompt["correct"])
        lists = [prompt["responses"], prompt["correct"], prompt["answers"], *prompt["scores"].values()]
        if not n or any(len(values) != n for values in lists) or set(prompt["scores"]) != set(scorers):
            raise ValueError(
                f"prompt {index} has {[len(values) for values in lists]} values, scorers {list(prompt['scores'])};"
                f" expected {n} of each, scorers {scorers}"
            )
    return {name: [name] for name in scorers} if groups is None else groups


def _by_length(prompt: PromptCandidates, sign: int) -> float:
    return expected_best_of_n([sign * len(response) for response in prompt["responses"]], prompt["correct"])
