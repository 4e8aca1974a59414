"""The numbers of an evaluation: every model on every benchmark, with intervals and paired differences. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ...scoring.aggregation import AGGREGATIONS
from ..bootstrap import Estimate, Statistic, difference, draw_weights, estimate
from ..probes import PROBES, Views
from .declaration import Benchmark
from .items import Item, Measured

#: Of each kind of model, by name, what each of its seeds gave to the items of each view.
ByKind = Mapping[str, Sequence[Views]]

#: The values of a statistic for all draws, by seed; keyed by part, name and subset.
_Values = dict[tuple[str, str, str], list[np.ndarray]]


def summarize(benchmark: Benchmark, items: Sequence[Item], kinds: ByKind, seed: int = 0) -> dict[str, Any]:
    """What the models' rewards of one benchmark say.

    `metrics`: a row for each number (`part`, `metric`, `subset`), each kind of models and each choice that needs
    none: an `Estimate` with `model`, `aggregation` (null without one) and `items`. `differences`: the first of two
    kinds less the second, on the same draws. `aggregations`: the headline number by each aggregation. `details`: by
    probe and kind, what pictures are drawn of.
    """
    weights = draw_weights([item.prompt or item.id for item in items], seed)
    counts: dict[tuple[str, str, str], int] = {}

    def values(by_seed: Sequence[Sequence[Statistic]]) -> _Values:
        found: _Values = {}
        for statistics in by_seed:
            for one in statistics:
                key = (one.part, one.name, one.subset)
                found.setdefault(key, []).append(one.of(weights))
                counts[key] = one.n
        return found

    own: dict[str, tuple[str | None, _Values]] = {}
    for name, views in kinds.items():
        aggregation = views[0][""].aggregation if benchmark.aggregated else None
        own[name] = aggregation, values([_statistics(benchmark, one) for one in views])
    references = {name: (None, values([some])) for name, some in benchmark.references(items).items()}
    metrics = [
        {"part": part, "metric": metric, "subset": subset, "model": name, "aggregation": aggregation,
         "items": counts[part, metric, subset], **estimate(by_seed)}
        for name, (aggregation, found) in {**own, **references}.items()
        for (part, metric, subset), by_seed in found.items()
    ]  # fmt: skip
    return {
        "metrics": metrics,
        "differences": _differences(own, references),
        "aggregations": _aggregations(benchmark, kinds, weights) if benchmark.aggregated else [],
        "details": {
            probe: {name: PROBES[probe].details(views[0]) for name, views in kinds.items()}
            for probe in benchmark.probes
        },
    }


def _statistics(benchmark: Benchmark, views: Views) -> list[Statistic]:
    probes = [one for probe in benchmark.probes for one in PROBES[probe].statistics(views)]
    return [*benchmark.statistics(views[""]), *probes]


def _differences(
    own: Mapping[str, tuple[Any, _Values]], references: Mapping[str, tuple[Any, _Values]]
) -> list[dict[str, Any]]:
    """Of each two models, later less earlier, and of each model less each choice that needs none."""
    compared = [(b, a) for a, b in combinations(own, 2)] + [(a, b) for a in own for b in references]
    both = {**own, **references}
    return [
        {"part": part, "metric": metric, "subset": subset, "model": model, "against": against, **_less(one, other)}
        for model, against in compared
        for (part, metric, subset), one in both[model][1].items()
        if (other := both[against][1].get((part, metric, subset)))
    ]


def _less(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> Estimate:
    return difference(one, other)


def _aggregations(benchmark: Benchmark, kinds: ByKind, weights: np.ndarray) -> list[dict[str, Any]]:
    """The headline number of the whole by each aggregation."""
    rows = []
    for name, by_seed in kinds.items():
        for aggregation in AGGREGATIONS:
            found = []
            for views in by_seed:
                plain = views[""]
                again = Measured(plain.items, plain.rewarded, aggregation, plain.unit)
                found += [
                    one.of(weights)
                    for one in benchmark.statistics(again)
                    if (one.name, one.subset) == (benchmark.headline, "")
                ]
            rows.append({"model": name, "aggregation": aggregation, "metric": benchmark.headline, **estimate(found)})
    return rows
