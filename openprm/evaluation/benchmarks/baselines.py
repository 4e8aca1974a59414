"""Scores that know nothing of the answers: what a reward model has to beat."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from statistics import NormalDist
from typing import Any

from ...scoring.steps import split
from .items import Item, Measured, Response, Rewarded

#: Random scores with seeds of their own, whose mean and range are shown.
RANDOM_SEEDS = 10


class Baseline:
    """Rewards each prefix of a response, in the steps that the benchmark gives or in sentences."""

    unit = "strength"
    aggregation = "last"

    def reward(self, question: Sequence[Mapping[str, Any]], prefix: str) -> float:
        raise NotImplementedError

    def rewarded(self, item: Item, response: Response) -> Rewarded:
        """What it gives to a response of an item; nothing to an empty one, as our models."""
        steps = split(response.text, "sentence") if response.steps is None else response.steps
        if not response.text.strip():
            return Rewarded()
        return Rewarded(tuple(steps), tuple(self.reward(item.question, prefix) for prefix in accumulate(steps)))


class RandomScore(Baseline):
    """A standard normal number for each distinct prefix, so that equal ones share theirs, as by any model."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def reward(self, question: Sequence[Mapping[str, Any]], prefix: str) -> float:
        text = "\0".join([str(self.seed), *(str(turn["content"]) for turn in question), prefix])
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return NormalDist().inv_cdf(((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52)  # a generator is far slower


class Length(Baseline):
    """The number of characters: the longest response is the best."""

    unit = "grade"

    def reward(self, question: Sequence[Mapping[str, Any]], prefix: str) -> float:
        return float(len(prefix))


def rewarded_by(scorer: Baseline, views: Mapping[str, Sequence[Item]]) -> dict[str, Measured]:
    """What a baseline gives to the items of each view."""
    return {
        view: Measured(
            items,
            [[scorer.rewarded(item, one) for one in item.responses] for item in items],
            scorer.aggregation,
            scorer.unit,
        )
        for view, items in views.items()
    }


_RANDOM = "random score"
#: The baselines by name, with a scorer for each seed.
BASELINES: dict[str, Sequence[Baseline]] = {
    _RANDOM: [RandomScore(seed) for seed in range(RANDOM_SEEDS)],
    "length": [Length()],
}


def random_score(aggregation: str | None) -> str:
    """The name of the random score by an aggregation: one without information still sees the number of steps, and
    `min` prefers few."""
    return _RANDOM if aggregation in (None, "last") else f"{_RANDOM}, {aggregation}"


def is_baseline(name: str) -> bool:
    return name in BASELINES or name.startswith(f"{_RANDOM}, ")


def baselines(views: Mapping[str, Sequence[Item]], units: Mapping[str, str]) -> dict[str, list[dict[str, Measured]]]:
    """What the baselines give to the items of each view, by name and seed.

    units: those of the models by their aggregation; by each there is a random score of the items alone.
    """
    found = {name: [rewarded_by(one, views) for one in scorers] for name, scorers in BASELINES.items()}
    more = {
        random_score(how): [{"": replace(one[""], aggregation=how, unit=unit)} for one in found[_RANDOM]]
        for how, unit in units.items()
        if random_score(how) != _RANDOM
    }
    return found | more
