"""Step rewards to one score (paper, appendix D.1). Pure Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import fmean

from .units import LOG_ODDS, check_unit

#: Weight of the variance in `dynamic`. The paper gives none; it cites Coste et al. (2023), who use 0.1 to 1.
DYNAMIC_COEFFICIENT = 0.5

#: The paper's best (Table 6).
DEFAULT_AGGREGATION = "min"


class ScoringError(ValueError):
    """Why an answer has no score, and what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy


def weighted(rewards: Sequence[float]) -> float:
    """1/N * sum(i/N * r_i), as printed. It is not normalized: a constant reward shrinks towards half of it."""
    n = len(rewards)
    return sum((i + 1) / n * reward for i, reward in enumerate(rewards)) / n


def weighted_normalized(rewards: Sequence[float]) -> float:
    """sum(i * r_i) / sum(i): the same weights, but a constant reward stays what it is."""
    n = len(rewards)
    return sum((i + 1) * reward for i, reward in enumerate(rewards)) / (n * (n + 1) / 2)


def dynamic(rewards: Sequence[float]) -> float:
    """Mean minus `DYNAMIC_COEFFICIENT` times the (population) variance, after Coste et al. (2023)."""
    mean = fmean(rewards)
    return mean - DYNAMIC_COEFFICIENT * fmean([(reward - mean) ** 2 for reward in rewards])


def deltas(rewards: Sequence[float]) -> list[float]:
    """Differences between consecutive steps; of a single step, its reward."""
    return [after - before for before, after in pairwise(rewards)] or list(rewards)


def log_sigmoid(reward: float) -> float:
    """Of log-odds the log-probability."""
    return min(reward, 0.0) - math.log1p(math.exp(-abs(reward)))


def prod(rewards: Sequence[float]) -> float:
    """Of log-odds, the log-probability that all steps are right: sum of log sigmoid(r_i) (Lightman et al., 2023)."""
    return math.fsum(map(log_sigmoid, rewards))


AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "max": max,
    "mean": fmean,
    "last": lambda rewards: rewards[-1],  # what an outcome reward model gives
    "weighted": weighted,
    "weighted_normalized": weighted_normalized,
    "dynamic": dynamic,
    "min_delta": lambda rewards: min(deltas(rewards)),  # the largest drop
    "max_delta": lambda rewards: max(deltas(rewards)),  # the largest rise
    "prod": prod,
}

#: The unit of a score by `prod`, which takes log-odds only.
LOG_PROBABILITY = "log-probability"


def score_unit(aggregation: str, unit: str) -> str:
    """The unit of a score: that of its step rewards, but of `prod` log-probability.

    Raises ValueError for an unknown aggregation or unit, and for `prod` of other rewards than log-odds.
    """
    check_unit(unit)
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"unknown aggregation {aggregation!r}; choose one of {', '.join(AGGREGATIONS)}")
    if aggregation != "prod":
        return unit
    if unit != LOG_ODDS:
        raise ValueError(
            f"'prod' multiplies probabilities, which rewards of the unit {unit!r} do not give; choose another "
            f"aggregation, such as {DEFAULT_AGGREGATION}"
        )
    return LOG_PROBABILITY


def aggregations_of(unit: str) -> list[str]:
    """The aggregations that rewards of this unit allow."""
    return [name for name in AGGREGATIONS if name != "prod" or unit == LOG_ODDS]


def aggregate(rewards: Sequence[float], aggregation: str = DEFAULT_AGGREGATION) -> float:
    """One score from the rewards of a response's steps.

    Raises ValueError for an unknown aggregation or no steps, and ScoringError for a reward that is not finite.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"unknown aggregation {aggregation!r}; choose one of {', '.join(AGGREGATIONS)}")
    if not rewards:
        raise ValueError("no step rewards to aggregate: the response is empty")
    check_finite(rewards)
    return AGGREGATIONS[aggregation](rewards)


def check_finite(rewards: Sequence[float]) -> None:
    """Raises ScoringError for a reward that is infinite or not a number: `min` and `max` may not see it."""
    wrong = [reward for reward in rewards if not math.isfinite(reward)]
    if wrong:
        raise ScoringError(f"the reward is {wrong[0]}", "use dtype float32, or another reward model")
