"""Commands that make and look at datasets: prompts, candidates, trees, pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .options import (
    Force,
    IdColumn,
    ModelColumn,
    Out,
    QuestionColumn,
    Questions,
    QuestionsOptions,
    ReferenceColumn,
    ResponseColumn,
    RewardColumn,
    RewardName,
    Source,
    SourceColumn,
    Split,
    Strict,
    Where,
    candidate_source,
    separators,
    unescape,
)


@app.command()
def prompts(
    out: Out,
    file: Annotated[str | None, typer.Argument(help="JSONL, CSV or Parquet file, a dataset, or a folder.")] = None,
    declared: Annotated[
        str | None,
        typer.Option(help="ultrafeedback, scienceqa or math: from the Hub, or from the file, a copy of it."),
    ] = None,
    question_column: QuestionColumn = "question",
    id_column: IdColumn = None,
    reference_column: ReferenceColumn = None,
    source_column: SourceColumn = None,
    options_column: Annotated[str | None, typer.Option(help="A list of answer options.")] = None,
    split: Split = None,
    source: Source = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many, drawn at random.")] = None,
    seed: Annotated[int, typer.Option(help="Of the drawing.")] = 0,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Bring questions into the unified format, each once: yours, or those of the paper."""
    from ..data.prompts import DeclaredPrompts, PromptColumns, PromptFile
    from ..stages.prompts import make_prompts
    from .report import print_summary

    read: PromptFile | DeclaredPrompts
    if declared is not None:
        read = DeclaredPrompts(declared, file)
    elif file is not None:
        columns = PromptColumns(question_column, id_column, reference_column, source_column, options_column)
        read = PromptFile(file, columns, split, source)
    else:
        raise typer.BadParameter("give a file or --declared")
    print_summary(make_prompts(read, out, limit=limit, seed=seed, strict=strict, force=force), out)


@app.command(name="import")
def import_(
    file: Annotated[str, typer.Argument(help="JSONL, CSV or Parquet file, or a dataset's folder or id.")],
    out: Out,
    question_column: QuestionColumn = "question",
    response_column: ResponseColumn = "response",
    reward_column: RewardColumn = "reward",
    no_reward: Annotated[bool, typer.Option("--no-reward", help="The responses have no rewards yet.")] = False,
    id_column: IdColumn = None,
    reference_column: ReferenceColumn = None,
    source_column: SourceColumn = None,
    model_column: ModelColumn = None,
    split: Split = None,
    where: Where = None,
    questions: Questions = None,
    questions_options: QuestionsOptions = None,
    source: Source = None,
    reward_name: RewardName = None,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Bring sampled responses into the unified format."""
    from ..stages.datasets import make_candidates
    from .report import print_summary

    columns = {
        "question": question_column,
        "response": response_column,
        "reward": None if no_reward else reward_column,
        "prompt_id": id_column,
        "reference": reference_column,
        "source": source_column,
        "model": model_column,
    }
    read = candidate_source(file, columns, split, where, questions, questions_options, source, reward_name)
    print_summary(make_candidates(read, out, strict=strict, force=force), out)


@app.command()
def trees(
    file: Annotated[str, typer.Argument(help="Candidates: a file, a dataset, or a folder of `openprm candidates`.")],
    out: Out,
    separator: Annotated[
        list[str],
        typer.Option(help=r"Where steps end: '.\n', paragraph, line, sentence, re:PATTERN; SOURCE=... for one source"),
    ] = [".\\n"],  # noqa: B006 (typer needs a list)
    similarity: Annotated[str, typer.Option(help="levenshtein, indel or jaro_winkler.")] = "levenshtein",
    threshold: Annotated[float, typer.Option(help="Least similarity of steps that merge.")] = 0.88,
    distinct_numbers: Annotated[bool, typer.Option(help="Never merge steps with different numbers.")] = False,
    num_proc: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    question_column: QuestionColumn = "question",
    response_column: ResponseColumn = "response",
    reward_column: RewardColumn = "reward",
    id_column: IdColumn = None,
    reference_column: ReferenceColumn = None,
    source_column: SourceColumn = None,
    model_column: ModelColumn = None,
    split: Split = None,
    where: Where = None,
    questions: Questions = None,
    questions_options: QuestionsOptions = None,
    source: Source = None,
    reward_name: RewardName = None,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Merge responses into preference trees, one per prompt."""
    from ..stages.datasets import make_trees
    from ..trees.tree import MergeParameters
    from .report import print_summary

    columns = {
        "question": question_column,
        "response": response_column,
        "reward": reward_column,
        "prompt_id": id_column,
        "reference": reference_column,
        "source": source_column,
        "model": model_column,
    }
    read = candidate_source(file, columns, split, where, questions, questions_options, source, reward_name)
    default, by_source = separators(separator)
    parameters = MergeParameters(default, similarity, threshold, distinct_numbers)
    manifest = make_trees(read, out, parameters, separators=by_source, num_proc=num_proc, strict=strict, force=force)
    print_summary(manifest, out)


@app.command()
def pairs(
    folder: Annotated[str, typer.Argument(help="Trees, or with --preferences any dataset with chosen and rejected.")],
    out: Out,
    min_gap: Annotated[str, typer.Option(help="Least gap: 0.2 (reward), 0.5sd, or q0.9 (quantile of gaps).")] = "0.2",
    select: Annotated[str, typer.Option(help="max (one per parent), all, or how many per tree.")] = "max",
    min_support: Annotated[int, typer.Option(help="Least number of responses behind each side.")] = 1,
    shared_prefix: Annotated[bool, typer.Option(help="Both sides behind the chosen side's prefix.")] = False,
    process: Annotated[bool, typer.Option(help="Take process pairs.")] = True,
    outcome: Annotated[str, typer.Option(help="Outcome pairs from the same trees: none, best or all.")] = "none",
    reward_name: Annotated[str | None, typer.Option(help="Another of the rewards that responses carry.")] = None,
    shuffle_rewards: Annotated[int | None, typer.Option(help="Control: deal the rewards out anew, by a seed.")] = None,
    preferences: Annotated[bool, typer.Option("--preferences", help="The input is a preference dataset.")] = False,
    question_column: Annotated[str, typer.Option(help="'' where chosen and rejected hold it.")] = "prompt",
    chosen_column: Annotated[str, typer.Option()] = "chosen",
    rejected_column: Annotated[str, typer.Option()] = "rejected",
    split: Split = None,
    source: Source = None,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Take process and outcome pairs from trees (or outcome pairs from a preference dataset)."""
    from ..data.preferences import PreferenceColumns
    from ..stages.datasets import make_pairs, make_preference_pairs
    from ..trees.pairs import MinGap, PairParameters
    from .report import print_summary

    if preferences:
        columns = PreferenceColumns(question_column or None, chosen_column, rejected_column)
        manifest = make_preference_pairs(folder, out, columns, split=split, source=source, strict=strict, force=force)
    else:
        parameters = PairParameters(select, min_support, shared_prefix, process, outcome)
        manifest = make_pairs(
            folder,
            out,
            MinGap.parse(min_gap),
            parameters,
            split=split,
            reward_name=reward_name,
            shuffle_rewards=shuffle_rewards,
            force=force,
        )
    print_summary(manifest, out)


@app.command()
def show(
    folder: Annotated[str, typer.Argument(help="A folder of trees, or a published dataset's id.")],
    prompt_id: Annotated[str | None, typer.Argument(help="Which tree; the first one with a fork if left out.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page to look at in a browser instead: one file, of several trees.")
    ] = None,
    trees: Annotated[int, typer.Option(min=1, help="How many, in the page: the first ones with a fork.")] = 20,
    min_gap: Annotated[str, typer.Option(help="Pairs that the page marks, as for `openprm pairs`.")] = "0.2",
) -> None:
    """Show a tree with the values of its nodes, in the terminal or as a page."""
    from ..errors import InputError
    from ..runs.folder import read_rows
    from ..schema import Tree
    from ..trees.pairs import MinGap
    from ..trees.tree import siblings
    from ..viewer.tree_page import show_trees
    from .report import print_tree

    if html is not None:
        show_trees(folder, html, MinGap.parse(min_gap), prompt_id=prompt_id, limit=trees)
        typer.echo(f"{html}: open it in a browser")
        return
    for tree in read_rows(folder, Tree):
        if tree["prompt_id"] == prompt_id or (prompt_id is None and siblings(tree)):  # type: ignore[arg-type]
            print_tree(tree)  # type: ignore[arg-type]
            return
    raise InputError(f"{folder} has no tree {prompt_id!r}" if prompt_id else f"{folder} has no tree with a fork")


@app.command()
def similarity(
    file: Annotated[str, typer.Argument(help="Candidates, as for `openprm trees`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write (.png, .svg or .pdf).")],
    separator: Annotated[str, typer.Option(help="Where steps end, as for `openprm trees`.")] = ".\\n",
    prompts: Annotated[int, typer.Option(help="Read this many prompts.")] = 200,
    question_column: QuestionColumn = "question",
    response_column: ResponseColumn = "response",
    id_column: IdColumn = None,
    questions: Questions = None,
) -> None:
    """Plot how alike sibling steps are, to choose a threshold from (the paper's Figure 5)."""
    from ..trees.similarity_plot import first_prompts, plot_similarities, quantile_lines, step_similarities

    columns = {
        "question": question_column,
        "response": response_column,
        "reward": None,
        "prompt_id": id_column,
    }
    read = candidate_source(file, columns, None, None, questions, None, None, None)
    similarities = step_similarities(first_prompts(read.read(), prompts, unescape(separator)))
    plot_similarities(similarities, out)
    for line in quantile_lines(similarities):
        typer.echo(line)
