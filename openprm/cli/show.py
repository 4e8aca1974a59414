"""The command that shows trees."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..viewer.console import say
from .app import app


@app.command()
def show(
    folder: Annotated[str, typer.Argument(help="A folder of trees, or a published dataset's id.")],
    prompt_id: Annotated[str | None, typer.Argument(help="Which tree; default: the first one that branches.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write several trees as one page for a browser instead.")] = None,
    trees: Annotated[int, typer.Option(min=1, help="How many trees in the page: the first ones that branch.")] = 20,
    min_gap: Annotated[str, typer.Option(help="Pairs that the page marks, as for `openprm pairs`.")] = "0.2",
) -> None:
    """Show a tree with the values of its nodes, in the terminal or as a page."""
    from ..errors import InputError
    from ..runs.folder import read_rows
    from ..schema import Tree
    from ..trees.pairs import MinGap
    from ..trees.tree import siblings
    from ..viewer.tree_page import show_trees
    from .report import print_tree

    if html is not None:
        show_trees(folder, html, MinGap.parse(min_gap), prompt_id=prompt_id, limit=trees)
        say(f"{html}: open it in a browser")
        return
    for tree in read_rows(folder, Tree):
        if tree["prompt_id"] == prompt_id or (prompt_id is None and siblings(tree)):  # type: ignore[arg-type]
            print_tree(tree)  # type: ignore[arg-type]
            return
    raise InputError(f"{folder} has no tree {prompt_id!r}" if prompt_id else f"{folder} has no tree that branches")
