"""What must be known of an evaluation before its numbers are believed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..benchmarks.baselines import BASELINES
from ..tables import Row


def remarks(results: Mapping[str, Any]) -> list[str]:
    """What was skipped, what has no reward, and where a model is not better than a baseline."""
    found = [f"{name} was not measured: {why}" for name, why in results["skipped"].items()]
    for name, result in results["benchmarks"].items():
        found += [f"{name}: {text}" for text in _of_benchmark(result, results["models"])]
    return found


def _of_benchmark(result: Mapping[str, Any], kinds: Mapping[str, Any]) -> Iterator[str]:
    if result["limit"] is not None:
        yield f"only {result['limit']:,} of its prompts were drawn (--limit)"
    for reason, count in result["skipped"].items():
        yield f"{count:,} left out: {reason}"
    for count in sorted({*result["unscored"].values()} - {0}):
        models = ", ".join(model for model, missing in result["unscored"].items() if missing == count)
        yield f"{count:,} responses have no reward by {models}, and are ranked last"
    for probe, of_kinds in result["details"].items():
        for kind, details in of_kinds.items():
            if isinstance(details, Mapping) and (why := details.get("why")) and kind in kinds:
                yield f"{probe} of {kind}: {why}"
        first = next(iter(of_kinds.values()), None)
        if isinstance(first, Mapping) and (left_out := first.get("left_out")):
            yield f"{left_out:,} items are left out by the probe {probe}"
    for kind in kinds:
        for row in compared(result, [kind]):
            known = row["against"] in BASELINES and row["value"] is not None
            if known and not (row["low"] is not None and row["low"] > 0):
                less = row["high"] is not None and row["high"] < 0
                interval = "" if row["low"] is None else f", {row['low']:+.3f} to {row['high']:+.3f}"
                yield (
                    f"{kind} is {'worse' if less else 'not better'} than {row['against']} "
                    f"({result['headline']}: {row['value']:+.3f}{interval})"
                )


def compared(result: Mapping[str, Any], kinds: Collection[str]) -> list[Row]:
    """The paired differences of the headline number on the whole: of each kind of models less a baseline, another
    choice that needs no rewards, or an earlier kind.
    """
    rows = [
        row
        for row in result["differences"]
        if (row["part"], row["metric"], row["subset"]) == ("", result["headline"], "")
    ]
    turned = [row if row["model"] in kinds else _turned(row) for row in rows]
    return [row for row in turned if row["model"] in kinds]


def _turned(row: Row) -> Row:
    """The same difference the other way round."""
    value, low, high, *seeds = (
        None if one is None else 0.0 - one for one in (row["value"], row["high"], row["low"], *row["seeds"])
    )
    other = {"model": row["against"], "against": row["model"]}
    return {**row, **other, "value": value, "low": low, "high": high, "seeds": seeds}
