"""Commands for what is published: publish, verify, diff, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .options import Force, named

_Splits = Annotated[list[str] | None, typer.Option(help="SPLIT=FOLDER; may be repeated.")]


@app.command()
def publish(
    owner: Annotated[str, typer.Option(help="User or organization whose repositories they become.")],
    run: Annotated[Path | None, typer.Argument(help="Folder of `openprm reproduce`: its preset says what.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Without a run: where to lay it out.")] = None,
    candidates: _Splits = None,
    trees: _Splits = None,
    pairs: _Splits = None,
    model: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER; may be repeated.")] = None,
    evaluation: Annotated[str | None, typer.Option(help="Folder of `openprm evaluate`.")] = None,
    demo: Annotated[str | None, typer.Option(help="The model that a demo Space is to show.")] = None,
    license: Annotated[
        str | None,
        typer.Option(
            "--license", help="Of what is published; may be left out where all sources have the same permissive one."
        ),
    ] = None,
    source_license: Annotated[
        list[str] | None, typer.Option("--source-license", help="NAME=LICENSE of a source that does not say.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="New repositories are not public.")] = False,
    revision: Annotated[str | None, typer.Option(help="Tag for this release, such as v1.0.")] = None,
    overwrite_card: Annotated[
        bool, typer.Option("--overwrite-card", help="Replace a card that was edited on the Hub.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; touch no network.")] = False,
    allow: Annotated[
        list[str] | None, typer.Option(help="A text like a secret that is known to be harmless; may be repeated.")
    ] = None,
    force: Force = False,
) -> None:
    """Publish data, models and cards on the Hub. The same command finishes what was broken off."""
    from openprm.push.layout import publish_locally
    from openprm.push.preflight import check_layout
    from openprm.push.publish import lay_out_run
    from openprm.push.repositories import repositories
    from openprm.push.upload import upload

    from .report import print_upload_plan

    licenses = named(source_license or [], "--source-license", "NAME=LICENSE")
    given = {"candidates": candidates, "trees": trees, "pairs": pairs, "models": model}
    folders = {key: named(value, f"--{key}") for key, value in given.items() if value}
    if run is not None:
        if folders or evaluation or demo or out:
            raise typer.BadParameter("a run's preset says what is published; leave out the run, or these options")
        layout = lay_out_run(run, owner=owner, license=license, source_licenses=licenses, force=force)
    else:
        if out is None:
            raise typer.BadParameter("give the folder of a run, or --out and what to publish")
        layout = out
        publish_locally(
            out,
            **folders,
            evaluation=evaluation,
            demo=demo,
            owner=owner,
            license=license,
            source_licenses=licenses,
            force=force,
        )
    root = layout / owner
    planned = repositories(root, owner)
    check_layout(planned, places=[str(layout.resolve().parent)], allow=allow or ())
    if dry_run:
        print_upload_plan(planned, private, revision)
        return
    upload(planned, private=private or None, tag=revision, overwrite_card=overwrite_card, say=typer.echo)


@app.command()
def verify(
    repository: Annotated[str, typer.Argument(help="OWNER/NAME, with @REVISION if wanted, or a folder of one.")],
    work: Annotated[
        Path | None, typer.Option(help="Folder to rebuild in, where a killed run is resumed; else a temporary one.")
    ] = None,
    num_proc: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Verify a publication: file hashes, row hashes, that it loads, and that it is rebuilt identically.

    Exit code 0: nothing differs. 1: something differs. 2: something could not be checked (an artifact that it was
    made from is not published, no network, no space on the disk, a missing extra). What no published artifact
    determines (samples, a judge's rewards, trained weights) is not rebuilt, and leaves 0.
    """
    from ..verify.verify import exit_code
    from ..verify.verify import verify as run_checks

    checks = []
    for check in run_checks(repository, work, num_proc=num_proc):
        typer.echo(check)
        checks.append(check)
    raise typer.Exit(exit_code(checks))


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="A folder of a stage, or what was published: OWNER/NAME@REVISION.")],
    after: Annotated[str, typer.Argument(help="The other version.")],
    split: Annotated[
        str | None, typer.Option(help="Of what was published; else all. A stage's folder is `train`.")
    ] = None,
) -> None:
    """Compare two versions of a dataset: what was added, removed, changed. Exit code 1 where they differ."""
    from ..verify.compare import change_lines, compare_datasets

    found = compare_datasets(before, after, split)
    for line in change_lines(found):
        typer.echo(line)
    if not all(changes.identical for changes in found.values()):
        raise typer.Exit(1)


@app.command()
def demo(
    model: Annotated[str, typer.Argument(help="Reward model: a folder or an id.")],
    candidates: Annotated[
        str | None, typer.Option(help="Folder or id of candidates that the example is from.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Where to listen, on this machine only; else the first free one from 7860."
        ),
    ] = None,
) -> None:
    """Try a model in the browser: answers, coloured step by step."""
    from ..viewer.demo import EXAMPLE, example_of, launch

    launch(model, port=port, example=(example_of(candidates) if candidates else None) or EXAMPLE)
