"""Numbers over the items of a benchmark, with intervals by resampling prompts, paired between models. Pure.

A number is a function of weights: how often each item is drawn. All weights 1 give the number itself, resampled ones
its bootstrap distribution (Efron and Tibshirani, 1993); the same draws for two models make their difference paired.
Items of one prompt are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

DRAWS = 1000
_SPREAD = 1e-12

#: Of weights (draws, items), a number for each draw (draws,); NaN where a draw has no item that it needs.
OfWeights = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Statistic:
    """One number over the items of a benchmark.

    name: what it is ("accuracy", "F1"), of which `subset` ("" is the whole) and which `part` of the evaluation ("" is
    the benchmark's own arithmetic, else the name of a probe). n: how many items it is over. aggregation: of step
    rewards, where it is not the model's own. of_scores: in the unit of the scores, so that numbers of models with
    other units have no difference.
    """

    name: str
    of: OfWeights
    n: int
    subset: str = ""
    part: str = ""
    aggregation: str | None = None
    of_scores: bool = False


class Estimate(TypedDict):
    """A number with its 95 % interval over prompts; `seeds` are the numbers of each training seed, if several.

    The interval is NaN where all draws give the same number, as of items that are all right: they say nothing of
    others, and an interval without width would look certain.
    """

    value: float
    low: float
    high: float
    seeds: list[float]


def mean(values: Sequence[float] | np.ndarray) -> tuple[OfWeights, int]:
    """The mean of one value an item, and over how many it is: items with NaN are left out."""
    array = np.asarray(values, dtype=float)
    there = ~np.isnan(array)
    return share(np.where(there, array, 0.0), there)


def share(part: np.ndarray, whole: np.ndarray) -> tuple[OfWeights, int]:
    """The sum of `part` over that of `whole`, to which each item adds (items,), and how much the whole is."""

    def of(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            found: np.ndarray = weights @ part / (weights @ whole)
        return found

    return of, int(whole.sum())


def weighted_sum(parts: Sequence[tuple[OfWeights, float]]) -> OfWeights:
    """The sum of numbers, each times its weight; NaN in draws where one of them is."""

    def of(weights: np.ndarray) -> np.ndarray:
        return np.sum([weight * one(weights) for one, weight in parts], axis=0)

    return of


def draw_weights(clusters: Sequence[Hashable], seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """How often each item is drawn, (draws + 1, items): first each once, then resampled by whole clusters."""
    places: dict[Hashable, int] = {}
    index = np.array([places.setdefault(cluster, len(places)) for cluster in clusters], dtype=int)
    n = len(places)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws) if n else np.ones((draws, 0))
    return np.concatenate([np.ones((1, len(index))), drawn[:, index]])


def estimate(seeds: Sequence[np.ndarray]) -> Estimate:
    """The mean over training seeds of what a statistic gives for `draw_weights`, (draws + 1,) each."""
    values = np.mean(seeds, axis=0)
    resampled = values[1:][~np.isnan(values[1:])]
    spread = len(resampled) and np.ptp(resampled) > _SPREAD
    low, high = np.quantile(resampled, [0.025, 0.975]) if spread else (np.nan, np.nan)
    by_seed = [float(one[0]) for one in seeds]
    return Estimate(value=float(values[0]), low=float(low), high=float(high), seeds=by_seed if len(seeds) > 1 else [])


def difference(seeds: Sequence[np.ndarray], against: Sequence[np.ndarray]) -> Estimate:
    """The first less the second, on the same draws: by seed where both have as many, else less the other's mean."""
    paired = len(seeds) == len(against)
    other = against if paired else [np.mean(against, axis=0)] * len(seeds)
    return estimate([one - two for one, two in zip(seeds, other, strict=True)])
