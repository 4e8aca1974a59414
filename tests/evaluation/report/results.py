"""Results of an evaluation on benchmarks, made by hand."""

from __future__ import annotations

from typing import Any


def metric(model: str, value: float | None, low: Any = None, high: Any = None, **more: Any) -> dict[str, Any]:
    """A number of the whole, by the last step, over ten items; `more` says otherwise."""
    row = {"part": "", "metric": "accuracy", "subset": "", "model": model, "aggregation": "last", "items": 10}
    return {**row, "value": value, "low": low, "high": high, "seeds": [], **more}


def difference(model: str, against: str, value: float | None, low: Any, high: Any, **more: Any) -> dict[str, Any]:
    row = metric(model, value, low, high, against=against)
    return {key: one for key, one in row.items() if key not in ("aggregation", "items")} | more


def benchmark(metrics: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    plain = {"title": "Pairs of Tests", "license": "MIT", "homepage": None, "citation": None, "note": None}
    data = {"kind": "pairs", "headline": "accuracy", "data": {"name": "pairs.jsonl", "hash": "abc123"}}
    counts = {"items": 10, "responses": 20, "limit": None, "skipped": {}, "unscored": {}}
    found = {"metrics": metrics, "differences": [], "aggregations": [], "details": {}}
    return {**plain, **data, **counts, **found, **more}


def results(*kinds: str, **benchmarks: dict[str, Any]) -> dict[str, Any]:
    models = {kind: {"models": [kind], "aggregation": "min", "unit": "strength"} for kind in kinds}
    return {"models": models, "benchmarks": benchmarks, "skipped": {}}
