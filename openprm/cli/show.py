"""The commands that show datasets and write them for other programs."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer

from ..data.candidates import read_candidates
from ..data.export import export_rows
from ..errors import Failure, InputError
from ..runs.console import say
from ..runs.folder import is_folder, read_manifest, read_rows
from ..runs.manifest import CURVE, describe_input
from ..runs.progress import shown
from ..schema import Row
from ..training.curve import plot_curves, read_curve
from ..trees.pairs import MinGap
from ..trees.tree import siblings
from ..viewer.terminal import print_rows
from ..viewer.tree_page import show_trees
from .app import app

_Folder = Annotated[str, typer.Argument(help="A folder of openprm, or a published dataset's id.")]
_Split = Annotated[str | None, typer.Option(help="Split of a published dataset; default: train.")]


@app.command()
def show(
    folder: _Folder,
    prompt_id: Annotated[
        str | None, typer.Argument(help="Default: the first, or the first tree that branches.")
    ] = None,
    candidates: Annotated[
        str | None, typer.Option(help="What was scored, to show its rewards; default: what lies beside the scores.")
    ] = None,
    split: _Split = None,
    html: Annotated[Path | None, typer.Option(help="Write several trees as one page for a browser instead.")] = None,
    trees: Annotated[int, typer.Option(min=1, help="How many trees in the page: the first ones that branch.")] = 20,
    min_gap: Annotated[str, typer.Option(help="Pairs that the page marks, as for `openprm pairs`.")] = "0.2",
) -> None:
    """Show a prompt of a dataset: its tree, its responses with scores, rewards or labels, or its pairs.

    Step rewards are colored from the lowest of the prompt (orange) to the highest (blue).
    """
    if html is not None:
        show_trees(folder, html, MinGap.parse(min_gap), prompt_id=prompt_id, limit=trees)
        say(f"{html}: open it in a browser")
        return
    rows = read_rows(folder, split=split)
    first: Any = next(rows, {})
    if not Row.__annotations__.keys() <= first.keys():
        raise InputError(
            f"{folder} holds neither candidates, scores, labels, trees nor pairs: its columns are {[*first]}"
        )
    forks, chosen = "nodes" in first and not prompt_id, prompt_id or first["prompt_id"]
    wanted: Any = (row for row in chain([first], rows) if (siblings(row) if forks else row["prompt_id"] == chosen))
    found = list(islice(wanted, 1 if "nodes" in first else None))
    if not found:
        missing = "tree that branches" if forks else f"prompt {chosen!r}; its first one is {first['prompt_id']!r}"
        raise InputError(f"{folder} has no {missing}")
    if "score" in first and "response" not in first:
        found = _with_candidates(found, folder, candidates)
    print_rows(found)


def _with_candidates(rows: list[Any], scores: str, candidates: str | None) -> list[Any]:
    """The scores of a prompt with the columns of their candidates, where it is known where these lie."""
    if candidates is None and is_folder(scores) and (recorded := read_manifest(scores)["inputs"].get("candidates")):
        beside = str(Path(scores).parent / recorded["name"])
        candidates = beside if is_folder(beside) and describe_input(beside) == recorded else None
    if candidates is None:
        say("for questions and outcome rewards, name what was scored: --candidates", err=True)
        return rows
    read = (row for row in read_candidates(candidates) if not isinstance(row, Failure))
    same = {(row["sample_index"], row["response"]): row for row in read if row["prompt_id"] == rows[0]["prompt_id"]}
    return [{**same.get((row["sample_index"], "".join(row["steps"])), {}), **row} for row in rows]


@app.command()
def curves(
    models: Annotated[list[Path], typer.Argument(help="Trained models, or folders that hold some, as a run does.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture: .png, .svg or .pdf.")] = Path("curves.png"),
) -> None:
    """Draw how models trained: loss and held-out accuracy by step, a line a variant, with a band over its seeds.

    Models whose names differ only in the seed at the end (orm-0, orm-1) are one variant.
    """
    variants: dict[str, list[Any]] = {}
    for file in (one for path in models for one in sorted([*path.glob(CURVE[0]), *path.glob(f"*/{CURVE[0]}")])):
        variant = file.parent.name.removesuffix(f"-{read_manifest(file.parent)['parameters']['seed']}")
        variants.setdefault(variant, []).append(read_curve(file.parent))
    if not variants:
        raise InputError(f"no {CURVE[0]} in {', '.join(map(str, models))}; name models of openprm train, or a run")
    plot_curves(variants, out)
    say(f"{out}: " + ", ".join(f"{name} ({len(runs)})" for name, runs in variants.items()))


@app.command()
def export(
    folder: _Folder,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, which ends in .csv or .jsonl.")],
    split: _Split = None,
    force: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
) -> None:
    """Write a dataset's rows as CSV or JSON lines, for other programs.

    In CSV, text stands as it is, null is empty, and lists and numbers are JSON. `openprm import` reads exported
    candidates back unchanged.
    """
    if out.exists() and not force:
        raise InputError(f"{out} exists; choose another --out, or replace it by --force")
    count = export_rows(shown(read_rows(folder, split=split), "export"), out)
    say(f"{count:,} rows in {out}")
