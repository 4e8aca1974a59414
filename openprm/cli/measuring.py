"""Commands that measure: scaling."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .options import Force, named


@app.command()
def scaling(
    run: Annotated[
        Path | None,
        typer.Argument(help="Folder of a run; what belongs together is found by its manifests."),
    ] = None,
    candidates: Annotated[str | None, typer.Option(help="Instead of a run: candidates with golden rewards.")] = None,
    scores: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of `openprm score`; may be repeated.")] = None,
    answers: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER of `openprm generate`; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write; else `scaling` in the run.")
    ] = None,
    aggregations: Annotated[str, typer.Option(help="How step rewards become a score, several with commas.")] = (
        "min,mean,last"
    ),
    equivalence: Annotated[
        str | None,
        typer.Option(help="Which answers are equal in a vote: exact, option, math; else as they are graded."),
    ] = None,
    answer_pattern: Annotated[str, typer.Option(help="Where exact answers stand: answer, stated or re:PATTERN.")] = (
        "answer"
    ),
    by: Annotated[
        str | None, typer.Option(help="How answers are graded: math, choice, ...; else as the candidates were.")
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
    force: Force = False,
) -> None:
    """Measure accuracy against samples and tokens: coverage, votes, best of n, searches; tables and pictures."""
    from ..evaluation.inputs import EvaluationInputs, find_inputs
    from ..evaluation.tables import read_tables
    from ..stages.evaluate import evaluate_models
    from .report import console, print_table

    if (run is None) == (candidates is None):
        raise typer.BadParameter("give the folder of a run, or --candidates with --scores")
    if candidates is None:
        if scores or answers:
            raise typer.BadParameter("--scores and --answers go with --candidates")
        assert run is not None
        found, left_out = find_inputs(run)
        for line in left_out:
            typer.echo(line, err=True)
        out = out or run / "scaling"
        places = [out] if len(found) == 1 else [Path(f"{out}-{entry.candidates.name}") for entry in found]
    else:
        if out is None:
            raise typer.BadParameter("--candidates needs --out")
        named_scores, named_answers = named(scores or [], "--scores"), named(answers or [], "--answers")
        found = [
            EvaluationInputs(
                Path(candidates),
                {name: Path(path) for name, path in named_scores.items()},
                {name: Path(path) for name, path in named_answers.items()},
            )
        ]
        places = [out]
    for entry, place in zip(found, places, strict=True):
        manifest = evaluate_models(
            entry.candidates,
            entry.scores,
            place,
            curve=True,
            answers=entry.answers,
            aggregations=aggregations.split(","),
            equivalence=equivalence,
            answer_pattern=answer_pattern,
            by=by,
            seed=seed,
            force=force,
        )
        for table in read_tables(place):
            print_table(*table)
        console().print("\n".join(str(place / picture) for picture in manifest["pictures"]), soft_wrap=True)
