"""The tables of the choices that an evaluation measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..decoding.beam_search import BeamShape
from ..decoding.methods import BEAMS
from .tables import Column, Row, Table, over_seeds, table


def tables(results: Mapping[str, Any]) -> list[Table]:
    """The tables of `results.json`; of a manifest, which holds no curve, the first ones."""
    parts: dict[str, Callable[[Any, Mapping[str, Any]], Table | list[Table]]] = {
        "metrics": _choices,
        "differences": _differences,
        "within_tiers": _within_tiers,
        "followed": _followed,
        "samples": _samples,
        "searches": _searches,
        "early_rejection": _early_rejection,
    }
    made = [make(results[name], results["counts"]) for name, make in parts.items() if results.get(name)]
    return [part for one in made for part in (one if isinstance(one, list) else [one])]


_ACCURACY: Sequence[Column] = [
    ("choice", "{method}"),
    ("accuracy", "{accuracy:.3f}"),
    ("over seeds", lambda row: over_seeds(row, ".3f")),
    ("95 % interval", "{low:.3f} to {high:.3f}"),
    ("against single", "{difference:+.3f}"),
    ("95 % interval", "{difference_low:+.3f} to {difference_high:+.3f}"),
]


def _choices(rows: Sequence[Row], counts: Mapping[str, Any]) -> Table:
    return table(
        f"{counts['prompts']} prompts, {counts['candidates']} candidates each: accuracy by choice",
        rows,
        [
            *_ACCURACY,
            ("tied best", lambda row: "" if row["tied"] is None else "{tied:.1%}".format_map(row)),
            (
                "ties broken",
                lambda row: "" if row["ties_broken"] is None else "{ties_broken:.3f}".format_map(row),
            ),
        ],
    )


def _differences(rows: Sequence[Row], counts: Mapping[str, Any]) -> Table:
    return table(
        "Differences in accuracy, paired by prompt and seed",
        rows,
        [
            ("choice", "{method}: {group} less {against}"),
            ("difference", "{difference:+.3f}"),
            ("over seeds", lambda row: over_seeds(row, "+.3f")),
            ("95 % interval", "{low:+.3f} to {high:+.3f}"),
        ],
    )


def _followed(rows: Sequence[Row], counts: Mapping[str, Any]) -> Table:
    return table(
        "Rank correlation within prompts, over different responses",
        rows,
        [
            ("score", "{group} with {with}"),
            ("correlation", "{correlation:+.3f}"),
            ("over seeds", lambda row: over_seeds(row, "+.3f")),
            ("95 % interval", "{low:+.3f} to {high:+.3f}"),
            ("prompts", "{n_prompts}"),
        ],
    )


def _within_tiers(found: Mapping[str, Any], counts: Mapping[str, Any]) -> list[Table]:
    among = f"Among models of about equal strength, mean of {len(found['tiers'])} tiers"
    prompts = f"{found['metrics'][0]['n_prompts']} prompts"
    differences = _differences(found["differences"], counts)
    return [
        table(f"{among}: accuracy by choice ({prompts})", found["metrics"], _ACCURACY),
        differences._replace(title=f"{among}: {differences.title.lower()}"),
    ]


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
            [
                line,
                *(f"{found[n]['accuracy']:.3f}" for n in sizes),
                "{low:.3f} to {high:.3f}".format_map(found[sizes[-1]]),
            ]
            for line, found in by_line.items()
        ],
    )


def _searches(points: Sequence[Row], counts: Mapping[str, Any]) -> Table:
    def name(point: Row) -> str:
        unanswered = f" ({point['unanswered']} unanswered)" if point["unanswered"] else ""
        beam = f", beam {BeamShape.for_budget(point['n']).beam}" if point["method"] in BEAMS else ""
        return f"{point['line']} @{point['n']}{beam}{unanswered}"

    def against(choice: str) -> Callable[[Row], str]:
        return lambda point: "".join(
            "{difference:+.3f} ({low:+.3f} to {high:+.3f})".format_map(entry)
            for entry in point["differences"]
            if entry["against"].split(":")[0] == choice
        )

    return table(
        "Searches, tokens for each prompt",
        points,
        [
            ("search @budget", name),
            ("accuracy", "{accuracy:.3f}"),
            ("95 % interval", "{low:.3f} to {high:.3f}"),
            ("against best of budget", against("best of n")),
            ("against majority vote", against("majority vote")),
            ("tokens generated", "{generated_tokens:.0f}"),
            ("tokens scored", "{scored_tokens:.0f}"),
        ],
    )


def _early_rejection(rows: Sequence[Row], counts: Mapping[str, Any]) -> Table:
    return table(
        "Early rejection among {n_answers} answers, by {n_calibration} prompts, measured on {n_prompts} others: means "
        "of {n_splits} splits".format_map(rows[0]),
        rows,
        [
            ("by", "{scorer}/{aggregation}"),
            ("risk", "{risk:g}"),
            ("best answer stopped", "{winners_lost:.3f}"),
            (f"{rows[0]['unit']} saved", "{tokens_saved:.1%}"),
            ("accuracy before", "{accuracy_before:.3f}"),
            ("after", "{accuracy_after:.3f}"),
        ],
    )
