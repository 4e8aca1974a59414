"""Scorers that know nothing: what a reward model has to beat. Both are `Scorer`s."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from statistics import NormalDist
from typing import Any

from ...engines.base import Report, no_report
from ...errors import Failure
from ...scoring.scored_answer import ScoredAnswer
from ...scoring.steps import split
from .items import Item, Measured, Response, Rewarded

#: Random scores with seeds of their own, whose mean and range are shown.
RANDOM_SEEDS = 10


class Baseline:
    """Rewards each prefix of a response by what `reward(question, prefix)` gives."""

    unit = "strength"
    aggregation = "last"

    def score_rows(
        self, rows: Iterable[Mapping[str, Any]], report: Report = no_report
    ) -> list[ScoredAnswer | Failure]:
        return [self._scored(row) for row in rows]

    def close(self) -> None: ...

    def _scored(self, row: Mapping[str, Any]) -> ScoredAnswer | Failure:
        given = row.get("steps")
        steps = split(row["response"], "sentence") if given is None else list(given)
        if not "".join(steps).strip():
            return Failure("the response is empty", "leave it out, or sample it again")
        rewards = [self.reward(row["question"], prefix) for prefix in accumulate(steps)]
        return ScoredAnswer(rewards[-1], steps, list(rewards), self.aggregation, truncated=False)

    def reward(self, question: Sequence[Mapping[str, Any]], prefix: str) -> float:
        raise NotImplementedError


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
            [[_rewarded(scorer, item, one) for one in item.responses] for item in items],
            scorer.aggregation,
            scorer.unit,
        )
        for view, items in views.items()
    }


def _rewarded(scorer: Baseline, item: Item, response: Response) -> Rewarded:
    (scored,) = scorer.score_rows([{"question": item.question, "response": response.text, "steps": response.steps}])
    if isinstance(scored, Failure):
        return Rewarded(why=scored.reason)
    return Rewarded(tuple(scored.steps), tuple(scored.step_rewards))


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
