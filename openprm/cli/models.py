"""Commands that make and use models."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from .app import app
from .options import (
    Checkpoint,
    Dtype,
    EngineOptions,
    Force,
    IdColumn,
    Out,
    QuestionColumn,
    Questions,
    QuestionsOptions,
    ResponseColumn,
    Revision,
    Servers,
    Split,
    Strict,
    TrustRemoteCode,
    Where,
    candidate_source,
    engine_options,
    named,
    unescape,
)


@app.command()
def train(
    pairs: Annotated[list[str], typer.Argument(help="Folders of pairs, or ids of published ones.")],
    base: Annotated[str, typer.Option(help="Reward model or language model to start from.")],
    out: Out,
    levels: Annotated[str, typer.Option(help="process,outcome; or outcome alone for an outcome reward model.")] = (
        "process,outcome"
    ),
    learning_rate: Annotated[float, typer.Option(help="The paper's: 1e-6 from a reward model, 5e-6 else.")] = 1e-6,
    epochs: Annotated[float, typer.Option()] = 1.0,
    batch_size: Annotated[int, typer.Option(help="Pairs of one step, over all devices.")] = 64,
    per_device: Annotated[int, typer.Option(help="Pairs that fit on one device.")] = 8,
    max_length: Annotated[
        int, typer.Option(help="Longest side in tokens; longer pairs are left out and listed.")
    ] = 2048,
    process_weight: Annotated[float, typer.Option(help="Lambda of equation 2.")] = 1.0,
    margin: Annotated[float, typer.Option(help="Scale of the margin by a pair's gap; 0 is off.")] = 0.0,
    save_steps: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
    seed: Annotated[int, typer.Option()] = 0,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16.")] = False,
    eval_pairs: Annotated[str | None, typer.Option(help="Pairs to measure the accuracy on.")] = None,
    separator: Annotated[
        str | None, typer.Option(help="To record for scoring; else the base's or the paper's.")
    ] = None,
    force: Force = False,
) -> None:
    """Train one reward model on process and outcome pairs."""
    from ..stages.train import train_model
    from .report import print_summary

    options = {
        "learning_rate": learning_rate,
        "num_train_epochs": epochs,
        "batch_size": batch_size,
        "per_device_train_batch_size": per_device,
        "max_length": max_length,
        "process_weight": process_weight,
        "margin": margin,
        "save_steps": save_steps,
        "seed": seed,
        "bf16": bf16,
    }
    manifest = train_model(
        {f"pairs{index or ''}": path for index, path in enumerate(pairs)},
        base,
        out,
        options,
        levels=levels.split(","),
        separator=unescape(separator) if separator else None,
        eval_pairs=eval_pairs,
        force=force,
    )
    print_summary(manifest, out)


@app.command()
def score(
    file: Annotated[str, typer.Argument(help="Candidates: a file, a dataset, or a folder of `openprm candidates`.")],
    model: Annotated[str, typer.Option(help="Reward model: a folder or an id.")],
    out: Out,
    aggregation: Annotated[str | None, typer.Option(help="min, mean, last, ...; else the model's own.")] = None,
    separator: Annotated[str | None, typer.Option(help="Where steps end; else the model's own.")] = None,
    engine: Annotated[str, typer.Option(help="transformers, vllm or server.")] = "transformers",
    server: Servers = None,
    checkpoint: Checkpoint = None,
    engine_option: EngineOptions = None,
    revision: Revision = None,
    dtype: Dtype = "float32",
    trust_remote_code: TrustRemoteCode = False,
    question_column: QuestionColumn = "question",
    response_column: ResponseColumn = "response",
    id_column: IdColumn = None,
    split: Split = None,
    where: Where = None,
    questions: Questions = None,
    questions_options: QuestionsOptions = None,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Score responses step by step. The same command goes on where a killed run ended, or joins one at work."""
    from ..engines.specs import RewardSpec
    from ..stages.score import score_candidates
    from .report import print_summary

    spec = RewardSpec(
        model,
        "server" if server else engine,
        revision,
        dtype,
        trust_remote_code,
        tuple(server or ()),
        engine_options(engine_option),
        checkpoint,
    )
    columns = {
        "question": question_column,
        "response": response_column,
        "reward": None,
        "prompt_id": id_column,
    }
    read = candidate_source(file, columns, split, where, questions, questions_options, None, None)
    manifest = score_candidates(
        read,
        spec,
        out,
        aggregation=aggregation,
        separator=unescape(separator) if separator else None,
        strict=strict,
        force=force,
    )
    print_summary(manifest, out)


@app.command()
def evaluate(
    candidates: Annotated[str, typer.Argument(help="Held-out candidates with golden rewards.")],
    scores: Annotated[list[str], typer.Option(help="NAME=FOLDER of `openprm score`; may be repeated.")],
    out: Out,
    force: Force = False,
) -> None:
    """Measure how well scores choose among the candidates of a prompt."""
    from ..stages.evaluate import evaluate_models
    from .report import print_evaluation

    print_evaluation(evaluate_models(candidates, named(scores, "--scores"), out, force=force))


@app.command()
def convert(
    model: Annotated[str, typer.Argument(help="InternLM2 reward model: a folder or an id.")],
    out: Out,
    revision: Revision = None,
    force: Force = False,
) -> None:
    """Convert an InternLM2 reward model into a plain checkpoint that needs no code of its own."""
    from ..models.internlm2 import convert_internlm2
    from .report import print_summary

    print_summary(convert_internlm2(model, out, revision=revision, force=force), out)


@app.command()
def parity(
    model: Annotated[str, typer.Argument(help="Reward model: a folder or an id.")],
    file: Annotated[str, typer.Argument(help="Candidates: a file, a dataset, or a folder of `openprm candidates`.")],
    engine: Annotated[
        list[str] | None,
        typer.Option(help="transformers, vllm; may be repeated. Else transformers, and vllm if it is installed."),
    ] = None,
    server: Servers = None,
    served: Annotated[str | None, typer.Option(help="The servers' name for the model; else as it is given.")] = None,
    engine_option: EngineOptions = None,
    dtype: Annotated[list[str] | None, typer.Option(help="Besides float32; may be repeated. Else bfloat16.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Responses in the sample, at least.")] = 32,
    tolerance: Annotated[float, typer.Option(min=0, help="Largest difference of a reward in float32.")] = 1e-3,
    aggregation: Annotated[str | None, typer.Option(help="min, mean, last, ...; else the model's own.")] = None,
    separator: Annotated[str | None, typer.Option(help="Where steps end; else the model's own.")] = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    question_column: QuestionColumn = "question",
    response_column: ResponseColumn = "response",
    id_column: IdColumn = None,
    split: Split = None,
    where: Where = None,
    questions: Questions = None,
    questions_options: QuestionsOptions = None,
) -> None:
    """Compare the step rewards of all engines, dtypes and batches with plain float32 ones, on your own responses.

    Engine options are vLLM's. Exit code 1 where a reward in float32 differs by more than the tolerance.
    """
    from importlib.util import find_spec

    from ..engines.specs import RewardSpec
    from ..errors import Rejection
    from ..evaluation.engine_parity import check_parity, sample
    from .report import print_table

    columns = {"question": question_column, "response": response_column, "reward": None, "prompt_id": id_column}
    source = candidate_source(file, columns, split, where, questions, questions_options, None, None)
    if unknown := set(engine or ()) - {"transformers", "vllm"}:
        raise typer.BadParameter(f"{min(unknown)!r} is neither transformers nor vllm", param_hint="--engine")
    engines = engine or ["transformers", *(["vllm"] if find_spec("vllm") else [])]
    if engine_option and "vllm" not in engines:
        raise typer.BadParameter("these are vLLM's, which is not among the engines", param_hint="--engine-option")
    loaded = RewardSpec(model, revision=revision, trust_remote_code=trust_remote_code)
    options = engine_options(engine_option)
    dtypes = dtype or ["bfloat16"]
    others = [replace(loaded, dtype=name) for name in dtypes if "transformers" in engines]
    if "vllm" in engines:
        others += [replace(loaded, engine="vllm", dtype=name, options=options) for name in ("float32", *dtypes)]
    others += [
        replace(loaded, model=served or model, engine="server", servers=(url,), checkpoint=model)
        for url in server or ()
    ]
    chosen = sample((row for row in source.read() if not isinstance(row, Rejection)), rows)
    found = check_parity(
        chosen,
        loaded,
        others,
        aggregation=aggregation,
        separator=unescape(separator) if separator else None,
    )
    lines, wrong = [], False
    for one in found:
        apart = one.deviation
        wrong |= one.dtype == "float32" and apart.largest > tolerance
        changed = f"{apart.changed} of {apart.prompts}"
        lines.append(
            [one.engine, one.dtype or "its own", one.batch, f"{apart.largest:.1e}", f"{apart.mean:.1e}", changed]
        )
    print_table(
        f"step rewards of {len(chosen)} responses, against plain float32 passes of one sequence each",
        ["engine", "dtype", "batch", "largest difference", "mean", "another best of n"],
        lines,
    )
    if wrong:
        raise typer.Exit(1)
