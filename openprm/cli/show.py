"""The commands that show datasets and write them for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from ..runs.console import say
from .app import app

_Folder = Annotated[str, typer.Argument(help="A folder of openprm, or a published dataset's id.")]
_Split = Annotated[str | None, typer.Option(help="Split of a published dataset; default: train.")]


@app.command()
def show(
    folder: _Folder,
    prompt_id: Annotated[
        str | None, typer.Argument(help="Which prompt; default: the first one, of trees the first that branches.")
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(
            help="Of scores: what was scored, for questions and outcome rewards; default: the folder of its name that "
            "lies beside the scores."
        ),
    ] = None,
    split: _Split = None,
    html: Annotated[Path | None, typer.Option(help="Write several trees as one page for a browser instead.")] = None,
    trees: Annotated[int, typer.Option(min=1, help="How many trees in the page: the first ones that branch.")] = 20,
    min_gap: Annotated[str, typer.Option(help="Pairs that the page marks, as for `openprm pairs`.")] = "0.2",
) -> None:
    """Show a prompt of a dataset: its tree, its responses with scores and rewards, or its pairs.

    Step rewards are colored from the lowest of the prompt (orange) to the highest (blue).
    """
    from ..errors import InputError
    from ..runs.folder import read_rows
    from ..schema import Pair, Prompt, Scored, Tree, record_of
    from ..trees.pairs import MinGap
    from ..trees.tree import siblings
    from ..viewer import terminal
    from ..viewer.tree_page import show_trees

    if html is not None:
        show_trees(folder, html, MinGap.parse(min_gap), prompt_id=prompt_id, limit=trees)
        say(f"{html}: open it in a browser")
        return
    rows: Iterator[Any] = read_rows(folder, split=split)
    first: dict[str, Any] = next(rows, {})
    record, rows = record_of(first), chain([first], rows)
    if record is None:
        raise InputError(f"{folder} holds neither candidates, scores, trees nor pairs: its columns are {[*first]}")
    if record is Tree:
        wanted = (row for row in rows if (row["prompt_id"] == prompt_id if prompt_id else siblings(row)))
        if (tree := next(wanted, None)) is None:
            raise InputError(f"{folder} has no tree {f'{prompt_id!r}' if prompt_id else 'that branches'}")
        terminal.print_tree(tree)
        return
    chosen = prompt_id or first["prompt_id"]
    if not (found := [row for row in rows if row["prompt_id"] == chosen]):
        raise InputError(f"{folder} has no prompt {chosen!r}; its first one is {first['prompt_id']!r}")
    if record is Prompt:
        terminal.print_prompt(found[0])
    elif record is Pair:
        terminal.print_pairs(found)
    elif record is Scored:
        terminal.print_responses(_with_candidates(found, folder, candidates))
    else:
        terminal.print_responses(found)


def _with_candidates(rows: list[Any], scores: str, candidates: str | None) -> list[Any]:
    """The scores of a prompt with the columns of their candidates, where it is known where these lie."""
    from ..data.readers import numbered_rows, with_columns
    from ..errors import Failure
    from ..runs.folder import is_folder, read_manifest
    from ..runs.manifest import describe_input
    from ..stages.score import Score
    from ..stages.shared_options import ReadsCandidates

    manifest: dict[str, Any] = read_manifest(scores) if is_folder(scores) else {"inputs": {}, "parameters": {}}
    if candidates is None and (recorded := manifest["inputs"].get("candidates")):
        beside = str(Path(scores).parent / recorded["name"])
        candidates = beside if is_folder(beside) and describe_input(beside) == recorded else None
    if candidates is None:
        say("(For questions and outcome rewards name what was scored: --candidates)\n")
        return rows
    own = {field.name for field in fields(ReadsCandidates)} & manifest["parameters"].keys()
    stage = Score(**{name: manifest["parameters"][name] for name in own}, candidates=candidates, model="")
    names, _ = with_columns(numbered_rows(candidates, stage.split))
    read = stage.candidate_source(rewards=stage.reward_column in names).read()
    here = (row for row in read if not isinstance(row, Failure) and row["prompt_id"] == rows[0]["prompt_id"])
    found = {row["sample_index"]: row for row in here}
    return [{**found.get(row["sample_index"], {}), **row} for row in rows]


@app.command()
def export(
    folder: _Folder,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, which ends in .csv or .jsonl.")],
    split: _Split = None,
) -> None:
    """Write a dataset's rows as CSV or JSON lines, for other programs.

    In CSV, text stands as it is, null is empty, and lists and numbers are JSON. `openprm import` reads exported
    candidates back unchanged.
    """
    from ..data.export import export_rows
    from ..runs.folder import read_rows
    from ..runs.progress import shown

    count = export_rows(shown(read_rows(folder, split=split), "export"), out)
    say(f"{count:,} rows in {out}")
