"""Commands for whole runs: run, status, plan."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from ..runs.command_line import option_name
from ..runs.console import say
from ..runs.declaration import options_of
from ..stages.import_candidates import ImportCandidates
from .app import app
from .stage_command import cli_option, field_option, read_typed

#: Options of `openprm import` that `openprm run --data` hands on: how the data are read.
_READING = [
    (field, hint)
    for field, hint in options_of(ImportCandidates)
    if field.name not in ("candidates", "strict", "no_reward")
]
_RUN = [
    cli_option(
        "preset", str | None, "A preset's name, or a YAML file; default: tiny, or own with --data.", argument=True
    ),
    cli_option("data", str | None, "Answers with rewards: a file, a dataset or a folder of candidates."),
    cli_option("base", str | None, "With --data: reward model or language model to start from."),
    cli_option("holdout", float | None, "With --data: share of the prompts to measure on; default: 0.1."),
    cli_option("limit", int | None, "With --data: only so many prompts."),
    cli_option(
        "changes",
        list[str] | None,
        "A setting of the preset, NAME=VALUE, or a stage's parameter, STAGE.PARAMETER=VALUE; may be repeated.",
        flags=["--set"],
    ),
    cli_option(
        "out",
        Path | None,
        "Folder of the run; default: runs/ and the name of the preset or the data.",
        flags=["--out", "-o"],
    ),
    cli_option("until", str | None, "Stop after this stage, by name or kind."),
    cli_option("start", str | None, "With --from: the first stage to make, by name or kind."),
    cli_option(
        "published",
        str | None,
        "Take what comes before --start from OWNER, OWNER@REVISION or a local folder.",
        flags=["--from"],
    ),
    cli_option("force", bool, "Replace stages that were made with other parameters.", False),
    *(field_option(field, hint) for field, hint in _READING),
]
_SETTINGS = ("data", "base", "holdout", "limit")


def run(
    preset: str | None,
    changes: list[str] | None,
    out: Path | None,
    until: str | None,
    start: str | None,
    published: str | None,
    force: bool,
    **typed: Any,
) -> None:
    """Run a preset, stage by stage; finished stages are skipped.

    With --data: from your own answers with rewards to a table of how well reward models choose among those of
    held-out prompts: an outcome reward model, OpenPRM, and a control that learns from shuffled rewards.
    """
    from ..presets.preset import load_preset
    from ..presets.run import check_published, run_preset
    from ..presets.settings import read_changes
    from .report import print_made, print_run

    data = typed["data"]
    given: dict[str, Any] = {name: typed[name] for name in _SETTINGS if typed[name] is not None}
    for field, hint in _READING:
        if typed[field.name] not in (None, field.default):
            if data is None:
                instead = f"it says how --data is read; a preset's own is changed by --set STAGE.{field.name}=VALUE"
                raise typer.BadParameter(instead, param_hint=option_name(field))
            given[f"candidates.{field.name}"] = read_typed(field, hint, typed[field.name])
    given |= read_changes(changes or [])
    name = preset or ("tiny" if data is None else "own")
    if name == "own" and (missing := [f"--{one}" for one in ("data", "base") if one not in given]):
        raise typer.BadParameter("give your answers and the model to start from", param_hint=" and ".join(missing))
    out = out or Path("runs") / Path(data if name == "own" and data else name).stem
    manifests = run_preset(
        load_preset(name, given),
        out,
        until=until,
        start=start,
        published=published,
        force=force,
        made=lambda stage, manifest: print_made(manifest, out / stage),
        say=say,
    )
    for stage, manifest in manifests.items():
        if manifest["stage"] == "publish":
            say(f"\nIn a fresh process, in {out / stage}:")
            say(check_published(out / stage, manifest["parameters"]["owner"]))
    print_run(manifests, out)


run.__signature__ = inspect.Signature(_RUN)  # type: ignore[attr-defined]
run.__annotations__ = {one.name: one.annotation for one in _RUN}
app.command()(run)


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="The --out of a stage.")]) -> None:
    """Show how far a stage is that is being made, from outside."""
    from .report import print_unfinished

    print_unfinished(folder)


@app.command()
def plan(
    preset: Annotated[str, typer.Argument(help="Name of a preset, or a YAML file.")],
    changes: Annotated[list[str] | None, typer.Option("--set", help="As for `openprm run`.")] = None,
) -> None:
    """Show what a preset will do, with its numbers of samples and tokens, before anything starts."""
    from ..presets.plan import plan_preset
    from ..presets.preset import load_preset
    from ..presets.settings import read_changes
    from .report import print_plan

    print_plan(plan_preset(load_preset(preset, read_changes(changes or []))))
