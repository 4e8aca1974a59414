"""A plan as a person reads it in the terminal. No computation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..cli.report import console
from .plan import Plan

_COLUMNS = {
    "prompts": "prompts",
    "samples": "samples",
    "tokens": "tokens read",
    "generated": "generated",
    "generated_at_most": "at most",
    "rewards": "rewards",
    "pairs": "pairs",
    "gpu_hours": "GPU-hours",
}
_SUMMED = ("samples", "tokens", "generated", "generated_at_most", "gpu_hours")


def print_plan(plan: Plan, screen: Console | None = None) -> None:
    """A row for each stage, their sum, what was assumed, and what is unknown."""
    screen = screen or console()
    table = Table("stage", "run", title="Expected, before anything starts")
    for title in _COLUMNS.values():
        table.add_column(title, justify="right")
    for stage in plan.stages:
        table.add_row(escape(stage.name), escape(stage.kind), *(number(getattr(stage, name)) for name in _COLUMNS))
    table.add_section()
    table.add_row("sum", "", *(_total(plan, name) if name in _SUMMED else "" for name in _COLUMNS))
    screen.print(table)
    screen.print(
        "Operations: 2 x parameters for each token read or generated, 6 x in training; GPU-hours: operations / "
        "(a GPU's peak x the share reached).",
        soft_wrap=True,
    )
    _print_assumptions(plan.assume, screen)
    for name, title in _COLUMNS.items():
        if stages := plan.unknown(name):
            screen.print(f"[yellow]unknown[/] {title}: {escape(', '.join(stages))}", soft_wrap=True)
    count = plan.assume.get("gpu", {}).get("count")
    if count:
        screen.print(f"On {number(count)} GPUs that never wait: {_total(plan, 'gpu_hours', count * 24)} days.")
    _print_comparison(plan, screen)


def _total(plan: Plan, what: str, by: float = 1.0) -> str:
    total = plan.total(what) / by
    return f"[yellow]at least[/] {number(total)}" if plan.unknown(what) and not math.isnan(total) else number(total)


def _print_assumptions(assume: Mapping[str, Any], screen: Console) -> None:
    if not assume:
        screen.print("The preset assumes nothing (`assume`): what it does not declare is unknown.", soft_wrap=True)
        return
    screen.print("Assumed by the preset (`assume`), not measured:")
    for group, values in assume.items():
        told = ", ".join(f"{name} {value if value < 100 else number(value)}" for name, value in values.items())
        screen.print(escape(f"  {group.replace('_', ' ')}: {told}"), soft_wrap=True)


def _print_comparison(plan: Plan, screen: Console) -> None:
    if plan.comparison is None:
        return
    compared = plan.comparison
    screen.print(
        escape(
            f"{compared.of}: {number(compared.samples)} samples in {number(compared.hours)} hours; here "
            f"{number(compared.planned_samples)}. By this estimate that takes {number(compared.gpus)} such GPUs."
        ),
        soft_wrap=True,
    )


def number(value: float | None) -> str:
    """`1,234`, `3.83 M`, `unknown` for NaN, nothing for None.

    >>> number(3_832_064), number(0.25), number(70_000)
    ('3.83 M', '0.25', '70,000')
    """
    if value is None:
        return ""
    if math.isnan(value):
        return "unknown"
    for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value / size:,.0f} {unit}"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
