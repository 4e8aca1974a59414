"""Results with every part that a report can show."""

from __future__ import annotations

from typing import Any

from .results import benchmark, difference, metric, results

MODELS = ("first", "second")
SCORERS = (*MODELS, "random score", "length")
SUBSETS = ("easy", "hard")


def everything(*models: str) -> dict[str, Any]:
    """Of these models (default: `MODELS`), on a benchmark of choices and one of steps."""
    models = models or MODELS
    scorers = (*models, "random score", "length")
    rows = [
        made
        for place, model in enumerate(scorers)
        for made in _numbers(model, 0.4 + 0.1 * place / len(scorers), model in models)
    ]
    rows += [metric("coverage", 1.0, 1.0, 1.0, metric=name) for name in ("accuracy", "accuracy@1", "accuracy@2")]
    details = {
        "length": {model: _length(place) for place, model in enumerate(scorers)},
        "prefixes": {model: {"items": 10, "left_out": 2} for model in scorers},
        "distribution": {
            model: {"edges": [0.0, 1.0, 2.0], "better": [0.25, 0.75], "worse": [0.5, 0.5]} for model in models
        },
        "abstention": {
            model: [{"coverage": 0.5, "risk": 0.1}, {"coverage": 1.0, "risk": 0.3 + place / 10}]
            for place, model in enumerate(models)
        },
        "calibration": {
            models[0]: {
                "bins": [
                    {"steps": 3, "right": 0.2, "probability": 0.1},
                    {"steps": 1_200, "right": 0.7, "probability": 0.9},
                ]
            },
            **{model: {"why": "rewards in strength are no probabilities"} for model in scorers[1:]},
        },
    }
    differences = [difference(model, "length", -0.1, -0.2, 0.1) for model in models]
    by_aggregation = [metric(model, 0.5, 0.4, 0.6, aggregation=one) for model in scorers for one in ("min", "last")]
    choices = benchmark(rows, details=details, differences=differences, aggregations=by_aggregation)
    steps = benchmark([metric(model, 0.3, 0.2, 0.4, metric="F1") for model in scorers], title="Steps", headline="F1")
    return results(*models, choices=choices, steps=steps)


def _numbers(model: str, value: float, is_model: bool) -> list[dict[str, Any]]:
    estimate = (model, value, value - 0.1, value + 0.1)
    rows = [metric(*estimate, subset=subset) for subset in ("", *SUBSETS)]
    rows += [metric(*estimate, metric=f"accuracy@{n}") for n in (1, 2)]
    rows += [metric(*estimate, metric=f"accuracy at {n} %", part="prefixes") for n in (50, 100)]
    rows += [metric(*estimate, metric="accuracy of only prose", part="mathematics")]
    rows += [metric(*estimate, metric="correlation", part="length")] * is_model
    for attack in ("empty answer", ":"):
        of_attack = {"part": "attacks", "subset": attack}
        rows += [metric(*estimate, metric=name, **of_attack) for name in ("change", "beats the worse")]
    return [*rows, metric(*estimate, metric="better loses", part="attacks", subset="control tokens")]


def _length(place: int) -> dict[str, Any]:
    points = [{"length": 10 * n, "score": n + place, "golden": float(n % 2)} for n in range(6)]
    return {"unit": "characters", "points": points}
