"""The `openprm` command, to which the modules of this package add theirs."""

from __future__ import annotations

from typing import Annotated

import typer

#: The groups of `openprm --help`, in the order of the work.
GROUPS = {
    "Data": ("prompts", "import", "preferences", "sample", "reward"),
    "Trees": ("trees", "pairs", "show"),
    "Model": ("train", "score", "evaluate", "search"),
    "Hub": ("publish", "verify", "demo"),
    "Runs": ("run", "status", "plan"),
}

app = typer.Typer(
    help="Process reward models for open-domain tasks, from outcome rewards alone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"openprm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def group_commands() -> None:
    """Puts the commands, once all are added, into their groups and in order."""
    order = [(group, name) for group, names in GROUPS.items() for name in names]
    by_name = {command.name or command.callback.__name__: command for command in app.registered_commands}  # type: ignore[union-attr]
    app.registered_commands = []
    for group, name in order:
        by_name[name].rich_help_panel = group
        app.registered_commands.append(by_name[name])
