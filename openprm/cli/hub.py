"""Commands for what is published: publish, verify, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openprm.push.publish import Publish

from ..runs.console import say
from ..runs.folder import read_manifest
from .app import app
from .stage_command import cli_option, stage_command


def _publish(
    stage: Publish,
    out: Path | None,
    force: bool,
    run: Path | None,
    private: bool,
    revision: str | None,
    overwrite: bool,
    dry_run: bool,
    allow: list[str] | None,
) -> bool:
    """Lays a run, or what the options name, out as repositories and sends them."""
    from openprm.push.preflight import check_layout, laid_out
    from openprm.push.upload import upload

    from ..presets.run import lay_out_run
    from .report import print_upload_plan

    given = {name: value for name, value in vars(stage).items() if value != getattr(Publish(), name)}
    if run is not None:
        if out or given.keys() & {"candidates", "trees", "labels", "pairs", "models"}:
            raise typer.BadParameter("a run's preset says what is published; leave out the run, or these options")
        layout = lay_out_run(run, force=force, **given)
    elif out is None:
        raise typer.BadParameter("give the folder of a run, or --out and what to publish")
    else:
        layout = out
        stage.run(out, force=force)
    planned = laid_out(layout / read_manifest(layout)["parameters"]["owner"])
    check_layout(planned, places=[str(layout.resolve().parent)], allow=allow or ())
    if dry_run:
        print_upload_plan(planned, private, revision)
    else:
        upload(planned, private=private or None, tag=revision, overwrite=overwrite, say=say)
    return True


_MORE = [
    cli_option("run", Path | None, "Folder of `openprm run`: its preset says what.", argument=True),
    cli_option("private", bool, "New repositories are not public.", False),
    cli_option("revision", str | None, "Tag for this release, such as v1.0."),
    cli_option("overwrite", bool, "Replace a card edited on the Hub, and data of other sources.", False),
    cli_option("dry_run", bool, "Show what would be sent; touch no network.", False),
    cli_option("allow", list[str] | None, "A text like a secret that is known to be harmless; may be repeated."),
]
app.command("publish")(stage_command(Publish, _MORE, _publish))


@app.command()
def verify(
    repository: Annotated[str, typer.Argument(help="OWNER/NAME, with @REVISION if wanted, or a folder of one.")],
    against: Annotated[
        str | None, typer.Option(help="Only compare its rows with those of this folder or published dataset.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="With --against: a split of what was published.")] = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder to rebuild in, which a killed run resumes from; default: temporary.")
    ] = None,
    num_proc: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Verify a publication: file hashes, row hashes, that it loads, and that it is rebuilt identically.

    Exit code 0: nothing differs. 1: something differs. 2: something could not be checked (an artifact that it was
    made from is not published, no network, no space on the disk, a missing extra). What no published artifact
    determines (samples, a judge's rewards, trained weights) is not rebuilt, and leaves 0.
    """
    if against is not None:
        from ..verify.compare import compare_datasets

        found = compare_datasets(repository, against, split)
        for part, comparison in found.items():
            say(f"{part}: {comparison}")
        raise typer.Exit(0 if all(comparison.identical for comparison in found.values()) else 1)
    from ..verify.verify import exit_code
    from ..verify.verify import verify as run_checks

    checks = []
    for check in run_checks(repository, work, num_proc=num_proc):
        say(check)
        checks.append(check)
    raise typer.Exit(exit_code(checks))


@app.command()
def demo(
    model: Annotated[str, typer.Argument(help="Reward model: a folder or an id.")],
    candidates: Annotated[
        str | None, typer.Option(help="Folder or id of candidates that the example is from.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port on this machine; default: the first free one from 7860."),
    ] = None,
) -> None:
    """Try a model in the browser: answers, colored step by step."""
    from ..viewer.demo import EXAMPLE, example_of, launch

    launch(model, port=port, example=(example_of(candidates) if candidates else None) or EXAMPLE)
