"""The tables of an evaluation on benchmarks, from its results.json. Pure.

A number stands with its 95 % interval, as `0.512 (0.471 to 0.553)`; where there is none the cell is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..benchmarks.baselines import BASELINES
from ..tables import Column, Row, Table, in_markdown, markdown, over_seeds, table
from .remarks import compared, remarks


def number(row: Row | None, form: str = ".3f") -> str:
    """A number with its interval, as far as there are any."""
    if row is None or row["value"] is None:
        return ""
    interval = "" if None in (row["low"], row["high"]) else f" ({row['low']:{form}} to {row['high']:{form}})"
    return f"{row['value']:{form}}{interval}"


def document(results: Mapping[str, Any]) -> str:
    """All tables as a Markdown document, with what must be known of them first."""
    parts = ["# Evaluation\n", _listed(remarks(results)), markdown([overview(results), models(results)])]
    for name, result in results["benchmarks"].items():
        told = _listed(f"{key}: {value}" for key, value in facts(name, result).items())
        tables = markdown(benchmark_tables(result, results["models"]), "###")
        parts += [f"## {in_markdown(result['title'])}\n", told, tables]
    return "\n".join(part for part in parts if part)


def _listed(texts: Iterable[str]) -> str:
    return "".join(f"- {in_markdown(text)}\n" for text in texts)


def overview(results: Mapping[str, Any]) -> Table:
    """The headline number of each benchmark for each kind of models and each baseline."""
    found = {name: headline(result) for name, result in results["benchmarks"].items()}
    header = ["model", *(f"{name}: {result['headline']}" for name, result in results["benchmarks"].items())]
    scorers = [*results["models"], *BASELINES]
    rows = [[one, *(number(of_benchmark.get(one)) for of_benchmark in found.values())] for one in scorers]
    return Table("Overview", header, rows)


def headline(result: Mapping[str, Any]) -> dict[str, Row]:
    """The row of a benchmark's headline number on the whole, by model."""
    key = ("", result["headline"], "")
    return {row["model"]: row for row in result["metrics"] if (row["part"], row["metric"], row["subset"]) == key}


def models(results: Mapping[str, Any]) -> Table:
    """Of which checkpoints each kind is the mean, and how it is read."""
    rows = [{"kind": kind, **entry} for kind, entry in results["models"].items()]
    columns: Sequence[Column] = [
        ("model", "{kind}"),
        ("checkpoints", lambda row: ", ".join(row["models"])),
        ("aggregation of step rewards", "{aggregation}"),
        ("unit of rewards", "{unit}"),
    ]
    return table("Models", rows, columns)


def facts(name: str, result: Mapping[str, Any]) -> dict[str, str]:
    """What a benchmark is, and what of it was measured."""
    told = {
        "name": name,
        "kind": result["kind"],
        "data": result["data"]["name"],
        "revision or hash": result["data"]["hash"],
        "license": result["license"],
        "homepage": result["homepage"],
        "note": result["note"],
        "arithmetic": result.get("arithmetic"),
        "citation": result["citation"],
        "prompts at most": result["limit"],
        "items": f"{result['items']:,}",
        "left out": ", ".join(f"{count:,} ({reason})" for reason, count in result["skipped"].items()),
    }
    return {key: str(value) for key, value in told.items() if value}


def benchmark_tables(result: Mapping[str, Any], kinds: Mapping[str, Any]) -> list[Table]:
    """All numbers of one benchmark; `kinds` are the models of the results."""
    own = [row for row in result["metrics"] if not row["part"]]
    curve = [row for row in own if "@" in row["metric"]]
    by_part: dict[str, list[Row]] = {}
    for row in result["metrics"]:
        if row["part"]:
            by_part.setdefault(row["part"], []).append(row)
    made = [
        _whole(result, [row for row in own if not row["subset"] and row not in curve], kinds),
        *_by_subset([row for row in own if row["subset"]]),
        _crossed("By number of candidates", curve, "candidates", lambda row: row["metric"].rpartition("@")[2]),
        _differences(result, kinds),
        _aggregations(result["aggregations"]),
        *(_crossed(f"Probe: {part}", rows, "number", _named) for part, rows in by_part.items()),
    ]
    return [one for one in made if one.rows]


def _whole(result: Mapping[str, Any], rows: Sequence[Row], kinds: Mapping[str, Any]) -> Table:
    """A line for each model, baseline and choice that needs no rewards."""
    by_model: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_model.setdefault(row["model"], {})[row["metric"]] = row
    metrics = list(dict.fromkeys(row["metric"] for row in rows))

    def cells(name: str, found: Mapping[str, Row]) -> list[str]:
        main = found.get(result["headline"]) or next(iter(found.values()))
        missing = sum(result["unscored"].get(model, 0) for model in kinds.get(name, {"models": []})["models"])
        numbers = [number(found.get(metric)) for metric in metrics]
        seeds = "" if None in main["seeds"] else over_seeds(main, ".3f")
        return [
            name,
            *numbers,
            seeds,
            main["aggregation"] or "",
            f"{main['items']:,}",
            f"{missing:,}" if missing else "",
        ]

    header = ["model", *metrics, "over seeds", "aggregation", "items", "unscored responses"]
    return Table("Whole", header, [cells(name, found) for name, found in by_model.items()])


def _by_subset(rows: Sequence[Row]) -> Iterator[Table]:
    for metric in dict.fromkeys(row["metric"] for row in rows):
        of_metric = [row for row in rows if row["metric"] == metric]
        yield _crossed(f"By subset: {metric}", of_metric, "subset", lambda row: row["subset"])


def _crossed(title: str, rows: Iterable[Row], of: str, label: Callable[[Row], str]) -> Table:
    """Models beside each other, a line for each label, with the number of items."""
    rows = list(rows)
    names = list(dict.fromkeys(row["model"] for row in rows))
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(label(row), {})[row["model"]] = row
    cells = [
        [one, *(number(by_model.get(name)) for name in names), _items(by_model.values())]
        for one, by_model in found.items()
    ]
    return Table(title, [of, *names, "items"], cells)


def _items(rows: Iterable[Row]) -> str:
    """How many items; a range where some models have fewer."""
    counts = sorted({row["items"] for row in rows})
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def _named(row: Row) -> str:
    return row["metric"] + (f": {row['subset']}" if row["subset"] else "")


def _differences(result: Mapping[str, Any], kinds: Mapping[str, Any]) -> Table:
    """A line for each model, a column for each that it is compared with."""
    rows = compared(result, kinds)
    against = sorted(dict.fromkeys(row["against"] for row in rows), key=lambda other: other in kinds)
    found = {(row["model"], row["against"]): row for row in rows}
    models = [kind for kind in kinds if kind in {row["model"] for row in rows}]
    cells = [[model, *(number(found.get((model, other)), "+.3f") for other in against)] for model in models]
    title = f"Differences in {result['headline']}, paired by prompt"
    return Table(title, ["model", *(f"less {other}" for other in against)], cells)


def _aggregations(rows: Sequence[Row]) -> Table:
    names = list(dict.fromkeys(row["aggregation"] for row in rows))
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row["model"], {})[row["aggregation"]] = row
    title = f"By aggregation of step rewards: {rows[0]['metric']}" if rows else ""
    cells = [[model, *(number(row.get(name)) for name in names)] for model, row in found.items()]
    return Table(title, ["model", *names], cells)
