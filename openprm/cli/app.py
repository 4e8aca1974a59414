"""The `openprm` command, to which the modules of this package add theirs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..runs.console import say

#: The groups of `openprm --help`, in the order of the work.
GROUPS = {
    "Data": ("prompts", "constraints", "import", "split", "preferences", "sample", "reward"),
    "Trees": ("trees", "pairs"),
    "Labels": ("label", "rollouts", "judge-steps", "label-pairs"),
    "Model": ("train", "score", "choices", "evaluate", "search"),
    "Look": ("show", "curves", "export"),
    "Hub": ("publish", "verify", "demo"),
    "Runs": ("run", "status", "plan"),
}


class _Commands(TyperGroup):
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for group, names in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit=1000)) for name in names])


app = typer.Typer(
    cls=_Commands,
    rich_markup_mode=None,  # plain text: rich cuts long names, breaks paragraphs, and reads brackets as markup
    help="Process reward models for open-domain tasks, from outcome rewards alone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        say(f"openprm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...
