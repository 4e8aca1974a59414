"""The `openprm` command, which the modules beside this one add their commands to."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Process reward models for open-domain tasks, from outcome rewards alone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
