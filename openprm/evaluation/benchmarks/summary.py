"""The numbers of an evaluation: every model on every benchmark, with intervals and paired differences. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, islice
from typing import Any

import numpy as np

from ...scoring.aggregation import aggregations_of, score_unit
from ..bootstrap import OfWeights, Statistic, difference, draw_weights, estimate
from ..probes import PROBES, Views
from .baselines import BASELINES, is_baseline, random_score
from .declaration import Benchmark
from .items import Item, Measured

#: Of each kind of model, by name, what each of its seeds gave to the items of each view.
ByKind = Mapping[str, Sequence[Views]]

#: Part, name and subset of a statistic.
_Key = tuple[str, str, str]
#: A statistic's values for all draws, by seed.
_Values = dict[_Key, list[np.ndarray]]


def summarize(benchmark: Benchmark, items: Sequence[Item], kinds: ByKind, seed: int = 0) -> dict[str, Any]:
    """What the models' rewards of one benchmark say.

    `metrics`: a row for each number (`part`, `metric`, `subset`), each kind of models and each choice that needs
    none: an `Estimate` with `model`, `aggregation` (null without one) and `items`. `differences`: the first of two
    kinds less the second, on the same draws (not of numbers in the unit of scores, where the two have other units).
    `aggregations`: the headline number by each aggregation. `details`: by probe and kind of models, what pictures are
    drawn of; and by the benchmark's kind what it says of its numbers.
    """
    weights = draw_weights([item.prompt or item.id for item in items], seed)
    about: dict[tuple[str, _Key], dict[str, Any]] = {}
    of_scores: set[_Key] = set()

    def values(name: str, aggregation: str | None, by_seed: Sequence[Iterable[Statistic]]) -> _Values:
        found: _Values = {}
        for statistics in by_seed:
            for one in statistics:
                key = (one.part, one.name, one.subset)
                found.setdefault(key, []).append(one.of(weights))
                fewest = min(one.n, about.get((name, key), {"items": one.n})["items"])
                about[name, key] = {"aggregation": one.aggregation or aggregation, "items": fewest}
                if one.of_scores:
                    of_scores.add(key)
        return found

    own = {
        name: values(
            name,
            views[0][""].aggregation if benchmark.aggregated else None,
            [_statistics(benchmark, one) if _probed(name) else benchmark.statistics(one[""]) for one in views],
        )
        for name, views in kinds.items()
    }
    units = {name: score_unit(views[0][""].aggregation, views[0][""].unit) for name, views in kinds.items()}
    references = {name: values(name, None, [some]) for name, some in benchmark.references(items).items()}
    metrics = [
        {"part": key[0], "metric": key[1], "subset": key[2], "model": name, **about[name, key], **estimate(by_seed)}
        for name, found in {**own, **references}.items()
        for key, by_seed in found.items()
    ]
    said: dict[str, Any] = {benchmark.kind: benchmark, **{probe: PROBES[probe] for probe in benchmark.probes}}
    return {
        "metrics": metrics,
        "differences": [
            row
            for row in _differences(own, references, {name: views[0][""].aggregation for name, views in kinds.items()})
            if (row["part"], row["metric"], row["subset"]) not in of_scores
            or units.get(row["model"]) == units.get(row["against"])
        ],
        "aggregations": _aggregations(benchmark, kinds, weights) if benchmark.aggregated else [],
        "details": {
            part: {name: one.details(views[0]) for name, views in kinds.items() if _probed(name)}
            for part, one in said.items()
        },
    }


def _probed(name: str) -> bool:
    """Not the random score by the models' aggregations, which is there for the benchmark's own numbers."""
    return name in BASELINES or not is_baseline(name)


def _statistics(benchmark: Benchmark, views: Views) -> list[Statistic]:
    probes = [one for probe in benchmark.probes for one in PROBES[probe].statistics(views)]
    return [*benchmark.statistics(views[""]), *probes, *_readings(benchmark, views)]


def _readings(benchmark: Benchmark, views: Views) -> Iterator[Statistic]:
    """The headline number of what probes read otherwise, as a function of the weights of all items."""
    places = {item.id: place for place, item in enumerate(views[""].items)}
    for probe in benchmark.probes:
        for name, measured in PROBES[probe].readings(views).items():
            some = np.array([places[item.id] for item in measured.items], dtype=int)
            for one in benchmark.statistics(measured):
                if one.name == benchmark.headline:
                    yield replace(
                        one, name=f"{one.name} {name}", of=_of(one, some), part=probe, aggregation=measured.aggregation
                    )


def _of(statistic: Statistic, some: np.ndarray) -> OfWeights:
    return lambda weights: statistic.of(weights[:, some])


def _differences(
    own: Mapping[str, _Values], references: Mapping[str, _Values], aggregations: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Of each model less each baseline (the random score by its own aggregation), each earlier model, and each choice
    that needs none."""
    models = [name for name in own if not is_baseline(name)]
    randoms = {random_score(how) for how in aggregations.values()}
    compared = [
        (model, other)
        for model in models
        for other in own
        if is_baseline(other) and (other not in randoms or other == _random_of(aggregations[model], own))
    ]
    compared += [(b, a) for a, b in combinations(models, 2)] + [(a, b) for a in models for b in references]
    both = {**own, **references}
    return [
        {
            "part": part,
            "metric": metric,
            "subset": subset,
            "model": model,
            "against": against,
            **difference(one, other),
        }
        for model, against in compared
        for (part, metric, subset), one in both[model].items()
        if (other := both[against].get((part, metric, subset)))
    ]


def _random_of(aggregation: str, own: Mapping[str, _Values]) -> str:
    """The random score that a model is compared with; numbers of single steps have one only."""
    name = random_score(aggregation)
    return name if name in own else random_score(None)


def _aggregations(benchmark: Benchmark, kinds: ByKind, weights: np.ndarray) -> list[dict[str, Any]]:
    """The headline number of the whole by each aggregation that a model's rewards allow."""
    rows = []
    for name, by_seed in kinds.items():
        if not _probed(name):  # the random score has all aggregations here
            continue
        for aggregation in aggregations_of(by_seed[0][""].unit):
            found: list[np.ndarray] = []
            for views in by_seed:
                plain = views[""]
                again = Measured(plain.items, plain.rewarded, aggregation, plain.unit)
                wanted = (
                    one.of(weights)
                    for one in benchmark.statistics(again)
                    if (one.name, one.subset) == (benchmark.headline, "")
                )
                found += islice(wanted, 1)  # the others are not computed
            rows.append({"model": name, "aggregation": aggregation, "metric": benchmark.headline, **estimate(found)})
    return rows
