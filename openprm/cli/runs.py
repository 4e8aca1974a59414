"""Commands for whole runs: run, status, plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..viewer.console import say
from .app import app

_Preset = Annotated[str, typer.Argument(help="Name of a preset, or a YAML file.")]


@app.command()
def run(
    preset: _Preset = "tiny",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run; default: runs/PRESET.")] = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage, by name or kind.")] = None,
    start: Annotated[str | None, typer.Option(help="With --from: the first stage to make, by name or kind.")] = None,
    published: Annotated[
        str | None,
        typer.Option("--from", help="Take what comes before --start from OWNER, OWNER@REVISION or a local folder."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace stages that were made with other parameters.")] = False,
) -> None:
    """Run a preset, stage by stage; finished stages are skipped."""
    from ..presets.preset import load_preset
    from ..presets.run import check_published, run_preset
    from .report import print_run

    out = out or Path("runs") / Path(preset).stem
    manifests = run_preset(
        load_preset(preset), out, until=until, start=start, published=published, force=force, say=say
    )
    for name, manifest in manifests.items():
        if manifest["stage"] == "publish":
            say(f"\nIn a fresh process, in {out / name}:")
            say(check_published(out / name, manifest["parameters"]["owner"]))
    print_run(manifests, out)


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="The --out of a stage.")]) -> None:
    """Show how far a stage is that is being made, from outside."""
    from .report import print_unfinished

    print_unfinished(folder)


@app.command()
def plan(preset: _Preset) -> None:
    """Show what a preset will do, with its numbers of samples and tokens, before anything starts."""
    from ..presets.plan import plan_preset
    from ..presets.preset import load_preset
    from .report import print_plan

    print_plan(plan_preset(load_preset(preset)))
