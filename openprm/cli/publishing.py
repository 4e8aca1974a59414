"""Commands for what is published."""

from __future__ import annotations

from typing import Annotated

import typer

from .app import app
from .options import Force, Out, named


@app.command()
def publish(
    out: Out,
    evaluation: Annotated[str, typer.Option(help="Folder of `openprm evaluate`.")],
    candidates: Annotated[list[str], typer.Option(help="SPLIT=FOLDER; may be repeated.")],
    trees: Annotated[list[str], typer.Option(help="SPLIT=FOLDER; may be repeated.")],
    pairs: Annotated[list[str], typer.Option(help="SPLIT=FOLDER; may be repeated.")],
    model: Annotated[list[str], typer.Option(help="NAME=FOLDER; may be repeated.")],
    owner: Annotated[str, typer.Option(help="Owner of the repositories.")] = "openprm",
    force: Force = False,
) -> None:
    """Lay out what was made as Hub repositories, in a local folder."""
    from ..push.layout import publish_locally
    from ..report import print_summary

    manifest = publish_locally(
        out,
        candidates=named(candidates, "--candidates"),
        trees=named(trees, "--trees"),
        pairs=named(pairs, "--pairs"),
        models=named(model, "--model"),
        evaluation=evaluation,
        owner=owner,
        force=force,
    )
    print_summary(manifest, out)
