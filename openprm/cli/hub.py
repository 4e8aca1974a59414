"""Commands for what is published: publish, verify, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app
from .stage_command import named

_Named = Annotated[list[str] | None, typer.Option(help="SPLIT=FOLDER; may be repeated.")]


@app.command()
def publish(
    run: Annotated[Path | None, typer.Argument(help="Folder of `openprm run`: its preset says what.")] = None,
    owner: Annotated[str | None, typer.Option(help="User or organization; default: the preset's.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Without a run: where to lay it out.")] = None,
    candidates: _Named = None,
    trees: _Named = None,
    pairs: _Named = None,
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
        list[str] | None, typer.Option(help="NAME=LICENSE of a source that does not say; may be repeated.")
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
    force: Annotated[bool, typer.Option("--force", help="Lay it out again, whatever is there.")] = False,
) -> None:
    """Publish data, models and cards on the Hub. The same command finishes what was broken off."""
    from openprm.push.preflight import check_layout
    from openprm.push.publish import Publish
    from openprm.push.repositories import repositories
    from openprm.push.upload import upload

    from ..presets.publish_run import lay_out_run
    from .report import print_upload_plan

    splits = {"candidates": candidates, "trees": trees, "pairs": pairs, "models": model}
    options: dict[str, Any] = {key: named(value, f"--{key}", "NAME=FOLDER") for key, value in splits.items() if value}
    given = {"owner": owner, "license": license, "demo": demo, "evaluation": evaluation}
    options |= {key: value for key, value in given.items() if value}
    if source_license:
        options["source_licenses"] = named(source_license, "--source-license", "NAME=LICENSE")
    if run is not None:
        if splits.keys() & options.keys() or out:
            raise typer.BadParameter("a run's preset says what is published; leave out the run, or these options")
        layout = lay_out_run(run, force=force, **options)
    else:
        if out is None:
            raise typer.BadParameter("give the folder of a run, or --out and what to publish")
        layout = out
        Publish(**options).run(out, force=force)
    for root in [path for path in layout.iterdir() if path.is_dir() and path.name in (owner or path.name)]:
        planned = repositories(root, root.name)
        check_layout(planned, places=[str(layout.resolve().parent)], allow=allow or ())
        if dry_run:
            print_upload_plan(planned, private, revision)
        else:
            upload(planned, private=private or None, tag=revision, overwrite_card=overwrite_card, say=typer.echo)


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
            typer.echo(f"{part}: {comparison}")
        raise typer.Exit(0 if all(comparison.identical for comparison in found.values()) else 1)
    from ..verify.verify import exit_code
    from ..verify.verify import verify as run_checks

    checks = []
    for check in run_checks(repository, work, num_proc=num_proc):
        typer.echo(check)
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
