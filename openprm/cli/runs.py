"""Commands for whole runs: plan, reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app


@app.command()
def plan(
    preset: Annotated[str, typer.Argument(help="Name of a preset, or a YAML file.")],
) -> None:
    """Show what a preset would do, and an estimate of what it costs, before anything starts."""
    from ..presets.plan import plan as planned
    from ..presets.plan_report import print_plan
    from ..presets.run import load_preset
    from .report import console

    print_plan(planned(load_preset(preset)), console())


@app.command()
def reproduce(
    preset: Annotated[str, typer.Argument(help="Name of a preset, or a YAML file.")] = "tiny",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the stages' folders.")] = Path("runs/tiny"),
    until: Annotated[str | None, typer.Option(help="End behind this stage, by name or kind.")] = None,
    start: Annotated[str | None, typer.Option(help="With --from: begin at this stage, by name or kind.")] = None,
    published: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="OWNER, OWNER@REVISION or a local folder of repositories: what comes before --start.",
        ),
    ] = None,
) -> None:
    """Run a preset, stage by stage; finished stages are skipped."""
    from ..presets.run import check_published, load_preset, run_preset
    from .report import print_run

    manifests = run_preset(load_preset(preset), out, until=until, start=start, published=published, say=typer.echo)
    for name, manifest in manifests.items():
        if manifest["stage"] == "publish":
            typer.echo(f"\nIn a fresh process, in {out / name}:")
            typer.echo(check_published(out / name, manifest["parameters"]["owner"]))
    print_run(manifests, out)
