"""An evaluation on benchmarks in tables, and what must be known of it, from its results.json. Pure.

A number stands with its 95 % interval, as `0.512 (0.471 to 0.553)`; where there is none the cell is empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..benchmarks.baselines import is_baseline
from ..tables import Row, Table, in_markdown, markdown, over_seeds

#: Probes that read the headline number otherwise, by all subsets; here that of the whole is enough.
_READINGS = ("prefixes", "mathematics")


def document(results: Mapping[str, Any]) -> str:
    """Everything as a Markdown document."""

    def listed(texts: Iterable[str]) -> str:
        return "".join(f"- {in_markdown(text)}\n" for text in texts)

    parts = ["# Evaluation\n", listed(remarks(results)), markdown(opening(results))]
    for name, result in results["benchmarks"].items():
        told = listed(f"{key}: {value}" for key, value in facts(name, result).items())
        tables = markdown(benchmark_tables(result, results["models"]), "###")
        parts += [f"## {in_markdown(result['title'])}\n", told, tables]
    return "\n".join(part for part in parts if part)


def remarks(results: Mapping[str, Any]) -> list[str]:
    """What was skipped, what has no reward, and where a model is not better than a baseline."""
    found = [f"{name} was not measured: {why}" for name, why in results["skipped"].items()]
    for name, result in results["benchmarks"].items():
        found += [f"{name}: {text}" for text in _of_benchmark(result, results["models"])]
    return [*found, *_no_better(results)]


def _of_benchmark(result: Mapping[str, Any], kinds: Collection[str]) -> Iterator[str]:
    if result["limit"] is not None:
        yield f"only {result['limit']:,} of its prompts were drawn (--limit)"
    whole = "" if result["limit"] is None else " of the whole file"
    for reason, count in result["skipped"].items():
        yield f"{count:,} left out{whole}: {reason}"
    if "; without " in (result.get("arithmetic") or "") or "; not in it" in (result.get("arithmetic") or ""):
        yield result["arithmetic"]
    if not headline(result):
        yield f"there is no {result['headline']}: it needs more items (--limit), or others"
    missing: dict[int, list[str]] = {}
    for model, count in result["unscored"].items():
        missing.setdefault(count, []).append(model)
    if said := [f"{count:,} by {', '.join(some)}" for count, some in missing.items() if count]:
        yield f"of {result['responses']:,} responses these have no reward, and lose: {'; '.join(said)}"
    if nothing := [model for model, count in result["unscored"].items() if count == result["responses"]]:
        yield f"no numbers of {', '.join(nothing)}: no response has a reward"
    for probe, of_kinds in result["details"].items():
        told = {kind: one for kind, one in of_kinds.items() if kind in kinds and isinstance(one, Mapping)}
        reasons: dict[str, list[str]] = {}
        for kind, one in told.items():
            if one.get("why"):
                reasons.setdefault(one["why"], []).append(kind)
        yield from (f"{probe} of {', '.join(some)}: {why}" for why, some in reasons.items())
        if left_out := max((one.get("left_out", 0) for one in told.values()), default=0):
            yield f"{left_out:,} items are left out by the probe {probe}"


def _no_better(results: Mapping[str, Any]) -> Iterator[str]:
    """A line for each model and baseline: on which benchmarks the model is not better."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for name, result in results["benchmarks"].items():
        for row in compared(result, results["models"]):
            if is_baseline(row["against"]) and None not in (row["low"], row["high"]) and row["low"] <= 0:
                better = "worse" if row["high"] < 0 else "not better"
                text = f"{name} {number(row, '+.3f')}"
                found.setdefault((row["model"], better, row["against"]), []).append(text)
    for (model, better, against), texts in found.items():
        yield f"{model} is {better} than {against}: {', '.join(texts)}"


def overview(results: Mapping[str, Any]) -> Table:
    """The headline number of each benchmark for each kind of models and each baseline."""
    rows = [
        {**row, "benchmark": f"{name}: {result['headline']}"}
        for name, result in results["benchmarks"].items()
        for row in headline(result)
        if row["model"] in results["models"] or is_baseline(row["model"])
    ]
    return pivot("Overview", rows, "model", "benchmark")


def headline(result: Mapping[str, Any], rows: str = "metrics") -> list[Row]:
    """The rows of a benchmark's headline number on the whole."""
    key = ("", result["headline"], "")
    return [row for row in result[rows] if (row["part"], row["metric"], row["subset"]) == key]


def opening(results: Mapping[str, Any]) -> list[Table]:
    """What stands before the benchmarks."""
    found = [overview(results), unscored(results), models(results)]
    return [one for one in found if one.rows]


def unscored(results: Mapping[str, Any]) -> Table:
    """The share of responses without a reward, by model and benchmark; no rows where there are none."""
    rows = [
        [model, *(f"{one['unscored'].get(model, 0) / one['responses']:.0%}" for one in results["benchmarks"].values())]
        for model in dict.fromkeys(model for one in results["benchmarks"].values() for model in one["unscored"])
        if any(one["unscored"].get(model) for one in results["benchmarks"].values())
    ]
    return Table("Responses without a reward, which lose", ["model", *results["benchmarks"]], rows)


def models(results: Mapping[str, Any]) -> Table:
    """Of which checkpoints each kind is the mean, and how it is read."""
    rows = [
        [kind, ", ".join(entry["models"]), entry["aggregation"], entry["unit"]]
        for kind, entry in results["models"].items()
    ]
    return Table("Models", ["model", "checkpoints", "aggregation of step rewards", "unit of rewards"], rows)


def facts(name: str, result: Mapping[str, Any]) -> dict[str, str]:
    """What a benchmark is, and what of it was measured."""
    told = {"name": name, "data": result["data"]["name"], "revision or hash": result["data"]["hash"]}
    told |= {key: result.get(key) for key in ("kind", "license", "homepage", "note", "arithmetic", "citation")}
    told["items"] = f"{result['items']:,}" + (f" of at most {result['limit']:,} prompts" if result["limit"] else "")
    told["left out"] = ", ".join(f"{count:,} ({reason})" for reason, count in result["skipped"].items())
    return {key: value for key, value in told.items() if value}


def benchmark_tables(result: Mapping[str, Any], kinds: Mapping[str, Any]) -> list[Table]:
    """All numbers of one benchmark; `kinds` are the models of the results."""
    own = [row for row in result["metrics"] if not row["part"]]
    curve = [{**row, "candidates": row["metric"].rpartition("@")[2]} for row in own if "@" in row["metric"]]
    whole = [row for row in own if not row["subset"] and "@" not in row["metric"]]
    subsets = {row["metric"]: [one for one in own if one["metric"] == row["metric"] and one["subset"]] for row in own}
    probes: dict[str, list[Row]] = {}
    order = list(dict.fromkeys(row["metric"] for row in result["metrics"]))
    for row in sorted(result["metrics"], key=lambda row: order.index(row["metric"])):
        if row["part"] and not (row["subset"] and row["part"] in _READINGS):
            name = row["metric"] + (f": {row['subset']}" if row["subset"] else "")
            probes.setdefault(row["part"], []).append({**row, "number": name})
    differences = [{**row, "other": f"less {row['against']}"} for row in compared(result, kinds)]
    made = [
        _with_counts(pivot("Whole", whole, "model", "metric"), result, kinds),
        *(pivot(f"By subset: {name}", rows, "subset", "model", items=True) for name, rows in subsets.items()),
        pivot("By number of candidates", curve, "candidates", "model", items=True),
        pivot(f"Differences in {result['headline']}, paired by prompt", differences, "model", "other", "+.3f"),
        pivot("By aggregation of step rewards", result["aggregations"], "model", "aggregation"),
        _thresholds(result["details"].get(result["kind"], {}), kinds),
        *(pivot(f"Probe: {part}", rows, "number", "model", items=True) for part, rows in probes.items()),
    ]
    return [one for one in made if one.rows]


def _thresholds(details: Mapping[str, Any], kinds: Collection[str]) -> Table:
    """Below which reward a step is said to be wrong; of a kind with several seeds, by the first."""
    rows = [
        [kind, measured, one["from"], "" if one["threshold"] is None else f"{one['threshold']:.3f}"]
        for kind, of_kind in details.items()
        if kind in kinds and of_kind
        for measured, one in of_kind.get("thresholds", {}).items()
    ]
    return Table("Thresholds", ["model", "measured on", "chosen on", "threshold"], rows)


def pivot(title: str, rows: Sequence[Row], down: str, across: str, form: str = ".3f", items: bool = False) -> Table:
    """A line for each value of one key, a column for each of another; with `items` over how many items they are."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row[down], {})[row[across]] = row
    columns = list(dict.fromkeys(row[across] for row in rows))
    lines = [[name, *(number(line.get(one), form) for one in columns)] for name, line in found.items()]
    for line in lines if items else ():
        counts = sorted({row["items"] for row in found[line[0]].values()})
        line.append(" to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1]))))
    return Table(title, [down, *columns, *["items"] * items], lines)


def number(row: Row | None, form: str = ".3f") -> str:
    """A number with its interval, as far as there are any."""
    if row is None or row["value"] is None:
        return ""
    interval = "" if None in (row["low"], row["high"]) else f" ({row['low']:{form}} to {row['high']:{form}})"
    return f"{row['value']:{form}}{interval}"


def _with_counts(table: Table, result: Mapping[str, Any], kinds: Mapping[str, Any]) -> Table:
    """With the range of the headline number over training seeds, and what it is over."""
    of = {row["model"]: row for row in headline(result)}
    for line in table.rows:
        row, checkpoints = of.get(line[0]), kinds.get(line[0], {"models": []})["models"]
        missing = sum(result["unscored"].get(model, 0) for model in checkpoints)
        line += [over_seeds(row, ".3f"), f"{row['items']:,}"] if row else ["", ""]
        line.append(f"{missing:,}" if missing else "")
    return table._replace(header=[*table.header, "over seeds", "items", "unscored responses"])


def compared(result: Mapping[str, Any], kinds: Collection[str]) -> list[Row]:
    """The paired differences of the headline number on the whole, of each kind of models: less a baseline, another
    choice that needs no rewards, or an earlier kind.
    """
    rows = [row for row in headline(result, "differences") if row["model"] in kinds]
    return sorted(rows, key=lambda row: row["against"] in kinds)
