"""What is gained by knowing no more than which model is strong: baselines for answers of several models. Pure.

Among answers of different models a reward model may choose well by recognizing the strong ones. So its choices are
shown beside that of a picker that knows them, and within tiers of models of about equal strength.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import compress
from statistics import fmean
from typing import Any

import numpy as np

from .accuracy import Groups, PromptCandidates, bounds, choice_rows, choices, compare_groups, sizes

#: The model of each candidate, prompt by prompt.
Models = Sequence[Sequence[str]]
_TIER = 4  # neighbors in strength
#: The name of the choice that knows the models' strength and nothing of the answers.
STRONGEST = "answer of the strongest model"


def known_models(models: Models) -> Models:
    """The same; none where there is one model, or some are not known."""
    names = {model for of_prompt in models for model in of_prompt}
    return models if len(names) > 1 and None not in names else []


def strength(prompts: Sequence[PromptCandidates], models: Models) -> dict[str, float]:
    """The mean correctness of each model's candidates, strongest first; the mean over prompts of their means."""
    values = [_means(prompt, names) for prompt, names in zip(prompts, models, strict=True)]
    means = {name: fmean(of_model) for name, of_model in _by_model(values).items()}
    return {name: means[name] for name in sorted(means, key=lambda name: (-means[name], name))}


def strongest(prompts: Sequence[PromptCandidates], models: Models) -> list[float]:
    """How correct the answer of the strongest model is, prompt by prompt.

    The strongest is the one with the largest mean over the other prompts, of those with an answer to this one; the
    mean over the tied, and over several answers of one model.
    """
    values = [_means(prompt, names) for prompt, names in zip(prompts, models, strict=True)]
    known = {name: (sum(of_model), len(of_model)) for name, of_model in _by_model(values).items()}

    def chosen(here: Mapping[str, float]) -> float:
        elsewhere = {
            name: round((total - value) / (count - 1), 9)
            for name, value in here.items()
            for total, count in [known[name]]
            if count > 1
        }
        most = max(elsewhere.values(), default=0.0)
        return fmean([here[name] for name, value in elsewhere.items() if value == most] or here.values())

    return [chosen(one) for one in values]


def tiers(prompts: Sequence[PromptCandidates], models: Models) -> list[list[str]]:
    """The models in tiers of at least four neighbors in strength; none where there are fewer than two tiers."""
    ranked = [*strength(prompts, models)]
    n = len(ranked) // _TIER
    return [ranked[len(ranked) * i // n : len(ranked) * (i + 1) // n] for i in range(n)] if n > 1 else []


def by_tier(
    prompts: Sequence[PromptCandidates], models: Models, found: Sequence[Sequence[str]]
) -> list[list[PromptCandidates]]:
    """Of each prompt the candidates of each tier that gave at least two."""
    parts = [[_within(*one, tier) for tier in found] for one in zip(prompts, models, strict=True)]
    return [[part for part in some if len(part["correct"]) > 1] for some in parts]


def within_tiers(
    prompts: Sequence[PromptCandidates], models: Models, groups: Groups, compared: Sequence[tuple[str, str]]
) -> dict[str, Any] | None:
    """Choices among the answers of models of about equal strength: means over the tiers, prompt by prompt.

    The `tiers`, and `metrics` and `differences` as of `choice_rows` and `compare_groups`, on the prompts that every
    tier has at least two answers to; None where there are fewer than two tiers or no such prompts. The answer of the
    strongest model is no row: since its tier is chosen for equal totals over the same prompts, the model that is ahead
    on the others is more often wrong on this one.
    """
    found = tiers(prompts, models)
    kept = [parts for parts in by_tier(prompts, models, found) if len(parts) == len(found) > 0]
    if not kept:
        return None
    n = sizes([part for parts in kept for part in parts])
    chosen = [choices(of_tier, groups, n=n) for of_tier in zip(*kept, strict=True)]
    mean = {name: np.mean([one[name] for one in chosen], axis=0) for name in chosen[0]}
    return {
        "tiers": found,
        "metrics": choice_rows(mean, bounds(prompts)),
        "differences": compare_groups(mean, compared, bounds(prompts)),
    }


def _within(prompt: PromptCandidates, names: Sequence[str], tier: Sequence[str]) -> PromptCandidates:
    """The candidates of these models alone."""
    kept = [name in tier for name in names]

    def of(values: Sequence[Any]) -> list[Any]:
        return list(compress(values, kept))

    scores = {name: of(values) for name, values in prompt["scores"].items()}
    return PromptCandidates(
        responses=of(prompt["responses"]),
        correct=of(prompt["correct"]),
        answers=of(prompt["answers"]),
        scores=scores,
        units=prompt.get("units", {}),
    )


def _means(prompt: PromptCandidates, names: Sequence[str]) -> dict[str, float]:
    """The mean correctness of each model's candidates to one prompt."""
    single = [{name: value} for name, value in zip(names, prompt["correct"], strict=True)]
    return {name: fmean(values) for name, values in _by_model(single).items()}


def _by_model(values: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """All values of each model."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in values:
        for name, value in one.items():
            found[name].append(value)
    return found
