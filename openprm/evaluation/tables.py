"""The tables of an evaluation's results, for a terminal or in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class Table(NamedTuple):
    """Texts; the first column is a name, the others are numbers."""

    title: str
    header: list[str]
    rows: list[list[str]]


def tables(results: Mapping[str, Any]) -> list[Table]:
    """The tables of `results.json`; of a manifest, which holds no curve, the first ones."""
    parts = {
        "metrics": _choices,
        "differences": _differences,
        "samples": _samples,
        "searches": _searches,
        "early_rejection": _early_rejection,
    }
    return [make(results[name], results["counts"]) for name, make in parts.items() if results.get(name)]


def markdown(results: Mapping[str, Any]) -> str:
    """The same as a Markdown document."""
    return "\n".join(map(_markdown, tables(results)))


def _markdown(table: Table) -> str:
    rule = ["---", *["---:"] * (len(table.header) - 1)]
    lines = (f"| {' | '.join(cells)} |" for cells in (table.header, rule, *table.rows))
    return "\n".join([f"## {table.title}", "", *lines, ""])


def _table(title: str, rows: Sequence[Row], columns: Sequence[tuple[str, Callable[[Row], str]]]) -> Table:
    return Table(title, [name for name, _ in columns], [[cell(row) for _, cell in columns] for row in rows])


def _choices(rows: Sequence[Row], counts: Mapping[str, Any]) -> Table:
    return _table(
        f"{counts['prompts']} prompts, {counts['candidates']} candidates each: accuracy by choice",
        rows,
        [
            ("choice", lambda row: row["method"]),
            ("accuracy", lambda row: f"{row['accuracy']:.3f}"),
            ("over seeds", lambda row: _over_seeds(row, ".3f")),
            ("95 % interval", _interval),
            ("against single", lambda row: f"{row['difference']:+.3f}"),
            ("95 % interval", lambda row: f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}"),
        ],
    )


def _differences(rows: Sequence[Row], counts: Mapping[str, Any]) -> Table:
    return _table(
        "Differences in accuracy, paired by prompt and seed",
        rows,
        [
            ("choice", lambda row: f"{row['method']}: {row['group']} less {row['against']}"),
            ("difference", lambda row: f"{row['difference']:+.3f}"),
            ("over seeds", lambda row: _over_seeds(row, "+.3f")),
            ("95 % interval", lambda row: _interval(row, "+.3f")),
        ],
    )


def _samples(points: Sequence[Row], counts: Mapping[str, Any]) -> Table:
    by_line: dict[str, dict[int, Row]] = {}
    for point in points:
        by_line.setdefault(point["line"], {})[point["n"]] = point
    sizes = list(dict.fromkeys(point["n"] for point in points))
    tokens = "" if counts["tokens_per_candidate"] is None else f" of {counts['tokens_per_candidate']:.1f} tokens"
    return Table(
        f"{counts['prompts']} prompts, up to {sizes[-1]} samples{tokens} each: accuracy by number of samples",
        ["choice", *map(str, sizes), f"95 % interval at {sizes[-1]}"],
        [
            [line, *(f"{found[n]['accuracy']:.3f}" for n in sizes), _interval(found[sizes[-1]])]
            for line, found in by_line.items()
        ],
    )


def _searches(points: Sequence[Row], counts: Mapping[str, Any]) -> Table:
    def name(point: Row) -> str:
        unanswered = f" ({point['unanswered']} unanswered)" if point["unanswered"] else ""
        return f"{point['line']} @{point['n']}{unanswered}"

    def against(choice: str) -> Callable[[Row], str]:
        return lambda point: "".join(
            f"{entry['difference']:+.3f} ({_interval(entry, '+.3f')})"
            for entry in point["differences"]
            if entry["against"].split(":")[0] == choice
        )

    return _table(
        "Searches, tokens for each prompt",
        points,
        [
            ("search @budget", name),
            ("accuracy", lambda point: f"{point['accuracy']:.3f}"),
            ("95 % interval", _interval),
            ("against best of budget", against("best of n")),
            ("against majority vote", against("majority vote")),
            ("tokens generated", lambda point: f"{point['generated_tokens']:.0f}"),
            ("tokens scored", lambda point: f"{point['scored_tokens']:.0f}"),
        ],
    )


def _early_rejection(rows: Sequence[Row], counts: Mapping[str, Any]) -> Table:
    first = rows[0]
    return _table(
        f"Early rejection among {first['n_answers']} answers, by {first['n_calibration']} prompts, measured on "
        f"{first['n_prompts']} others: means of {first['n_splits']} splits",
        rows,
        [
            ("by", lambda row: f"{row['scorer']}/{row['aggregation']}"),
            ("risk", lambda row: f"{row['risk']:g}"),
            ("best answer stopped", lambda row: f"{row['winners_lost']:.3f}"),
            (f"{first['unit']} saved", lambda row: f"{row['tokens_saved']:.1%}"),
            ("accuracy before", lambda row: f"{row['accuracy_before']:.3f}"),
            ("after", lambda row: f"{row['accuracy_after']:.3f}"),
        ],
    )


def _over_seeds(row: Row, form: str) -> str:
    """The lowest and the highest of several seeds."""
    return f"{min(row['seeds']):{form}} to {max(row['seeds']):{form}}" if len(row["seeds"]) > 1 else ""


def _interval(row: Row, form: str = ".3f") -> str:
    return f"{row['low']:{form}} to {row['high']:{form}}"
