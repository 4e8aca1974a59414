"""The tables of an evaluation's results, for a terminal or in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Table(NamedTuple):
    """Texts; the first column is a name, the others are numbers."""

    title: str
    header: list[str]
    rows: list[list[str]]


def tables(results: Mapping[str, Any]) -> list[Table]:
    """The tables of `results.json`; of a manifest, which holds no curve, the first ones."""
    found = [_choices(results)]
    if results["differences"]:
        found.append(_differences(results["differences"]))
    if results.get("samples"):
        found.append(_samples(results))
    if results.get("searches"):
        found.append(_searches(results["searches"]))
    if results.get("early_rejection"):
        found.append(_early_rejection(results["early_rejection"]))
    return found


def read_tables(folder: Path) -> list[Table]:
    """The tables of a folder that `openprm.stages.evaluate` made."""
    return tables(json.loads((folder / "results.json").read_text("utf-8")))


def markdown(results: Mapping[str, Any]) -> str:
    """The same as a Markdown document."""
    return "\n".join(_markdown(table) for table in tables(results))


def _choices(results: Mapping[str, Any]) -> Table:
    counts = results["counts"]
    return Table(
        f"{counts['prompts']} prompts, {counts['candidates']} candidates each: accuracy by choice",
        ["choice", "accuracy", "over seeds", "95 % interval", "against single", "95 % interval"],
        [
            [
                row["method"],
                f"{row['accuracy']:.3f}",
                _range(row["seeds"], ".3f"),
                _interval(row),
                f"{row['difference']:+.3f}",
                f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}",
            ]
            for row in results["metrics"]
        ],
    )


def _differences(rows: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        "Differences in accuracy, paired by prompt and seed",
        ["choice", "difference", "over seeds", "95 % interval"],
        [
            [
                f"{row['method']}: {row['group']} less {row['against']}",
                f"{row['difference']:+.3f}",
                _range(row["seeds"], "+.3f"),
                f"{row['low']:+.3f} to {row['high']:+.3f}",
            ]
            for row in rows
        ],
    )


def _range(seeds: Sequence[float], form: str) -> str:
    """The lowest and the highest of several seeds."""
    return f"{min(seeds):{form}} to {max(seeds):{form}}" if len(seeds) > 1 else ""


def _samples(results: Mapping[str, Any]) -> Table:
    points, counts = results["samples"], results["counts"]
    sizes = list(dict.fromkeys(point["n"] for point in points))
    lines: dict[str, dict[int, Mapping[str, Any]]] = {}
    for point in points:
        lines.setdefault(point["line"], {})[point["n"]] = point
    tokens = "" if counts["tokens_per_candidate"] is None else f" of {counts['tokens_per_candidate']:.1f} tokens"
    return Table(
        f"{counts['prompts']} prompts, up to {sizes[-1]} samples{tokens} each: accuracy by number of samples",
        ["choice", *map(str, sizes), f"95 % interval at {sizes[-1]}"],
        [
            [line, *(f"{found[n]['accuracy']:.3f}" for n in sizes), _interval(found[sizes[-1]])]
            for line, found in lines.items()
        ],
    )


def _searches(points: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for point in points:
        against = {entry["against"].split(":")[0]: entry for entry in point["differences"]}
        unanswered = f" ({point['unanswered']} unanswered)" if point["unanswered"] else ""
        rows.append(
            [
                f"{point['line']} @{point['n']}{unanswered}",
                f"{point['accuracy']:.3f}",
                _interval(point),
                *(
                    f"{entry['difference']:+.3f} ({entry['low']:+.3f} to {entry['high']:+.3f})" if entry else ""
                    for entry in (against.get(name) for name in ("best of n", "majority vote"))
                ),
                f"{point['generated_tokens']:.0f}",
                f"{point['scored_tokens']:.0f}",
            ]
        )
    header = [
        "search @budget",
        "accuracy",
        "95 % interval",
        "against best of budget",
        "against majority vote",
        "tokens generated",
        "tokens scored",
    ]
    return Table("Searches, tokens for each prompt", header, rows)


def _early_rejection(rows: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        f"Early rejection among {rows[0]['n_answers']} answers, by {rows[0]['n_calibration']} prompts, measured on "
        f"{rows[0]['n_prompts']} others: means of {rows[0]['n_splits']} splits",
        ["by", "risk", "best answer stopped", f"{rows[0]['unit']} saved", "accuracy before", "after"],
        [
            [
                f"{row['scorer']}/{row['aggregation']}",
                f"{row['risk']:g}",
                f"{row['winners_lost']:.3f}",
                f"{row['tokens_saved']:.1%}",
                f"{row['accuracy_before']:.3f}",
                f"{row['accuracy_after']:.3f}",
            ]
            for row in rows
        ],
    )


def _interval(point: Mapping[str, Any]) -> str:
    return f"{point['low']:.3f} to {point['high']:.3f}"


def _markdown(table: Table) -> str:
    rule = ["---", *["---:"] * (len(table.header) - 1)]
    lines = (f"| {' | '.join(cells)} |" for cells in (table.header, rule, *table.rows))
    return "\n".join([f"## {table.title}", "", *lines, ""])
