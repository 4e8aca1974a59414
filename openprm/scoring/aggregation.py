"""Step rewards to one score (paper, appendix D.1). Pure Python: it travels with published models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, pvariance

#: Weight of the variance in `dynamic`. The paper names none; it cites Coste et al. (2023), who use 0.1 to 1.
DYNAMIC_COEFFICIENT = 0.5

#: The paper's best (Table 6).
DEFAULT_AGGREGATION = "min"


def last(rewards: Sequence[float]) -> float:
    """The last step's reward: what an outcome reward model gives."""
    return rewards[-1]


def weighted(rewards: Sequence[float]) -> float:
    """1/N * sum(i/N * r_i), as printed. Not normalized: a constant reward shrinks towards half of it."""
    n = len(rewards)
    return sum((i + 1) / n * reward for i, reward in enumerate(rewards)) / n


def weighted_normalized(rewards: Sequence[float]) -> float:
    """sum(i * r_i) / sum(i): the same weights, but a constant reward stays what it is."""
    n = len(rewards)
    return sum((i + 1) * reward for i, reward in enumerate(rewards)) / (n * (n + 1) / 2)


def dynamic(rewards: Sequence[float]) -> float:
    """Mean minus `DYNAMIC_COEFFICIENT` times the (population) variance, after Coste et al. (2023)."""
    return fmean(rewards) - DYNAMIC_COEFFICIENT * pvariance(rewards)


def deltas(rewards: Sequence[float]) -> list[float]:
    """Differences of neighboring steps. One step has none: its delta is its reward, from 0."""
    if len(rewards) == 1:
        return list(rewards)
    return [after - before for before, after in zip(rewards, rewards[1:], strict=False)]


def min_delta(rewards: Sequence[float]) -> float:
    """The steepest fall."""
    return min(deltas(rewards))


def max_delta(rewards: Sequence[float]) -> float:
    """The steepest rise."""
    return max(deltas(rewards))


AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "max": max,
    "mean": fmean,
    "last": last,
    "weighted": weighted,
    "weighted_normalized": weighted_normalized,
    "dynamic": dynamic,
    "min_delta": min_delta,
    "max_delta": max_delta,
}


def aggregate(rewards: Sequence[float], aggregation: str = DEFAULT_AGGREGATION) -> float:
    """One score from the rewards of a response's steps.

    Raises ValueError for an unknown aggregation, or where there is no step.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"unknown aggregation {aggregation!r}; choose one of {', '.join(AGGREGATIONS)}")
    if not rewards:
        raise ValueError("no step rewards to aggregate: the response is empty")
    return AGGREGATIONS[aggregation](rewards)
