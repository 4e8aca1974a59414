"""Commands of long runs: sampling and rewarding."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .options import (
    AllowFailures,
    Checkpoint,
    Dtype,
    EngineOptions,
    Force,
    IdColumn,
    Out,
    QuestionColumn,
    Questions,
    QuestionsOptions,
    ReferenceColumn,
    ResponseColumn,
    Revision,
    Servers,
    Shard,
    Source,
    Split,
    Strict,
    TrustRemoteCode,
    Where,
    candidate_source,
    engine_options,
    parse_part,
    print_shared,
    unescape,
)


@app.command()
def candidates(
    prompts: Annotated[str, typer.Argument(help="Folder of `openprm prompts`, or a dataset of prompts.")],
    model: Annotated[str, typer.Option(help="Language model to sample from: a folder, an id, or the servers' name.")],
    out: Out,
    engine: Annotated[str, typer.Option(help="transformers, vllm or server.")] = "transformers",
    server: Servers = None,
    engine_option: EngineOptions = None,
    revision: Revision = None,
    dtype: Dtype = "auto",
    trust_remote_code: TrustRemoteCode = False,
    n: Annotated[int, typer.Option(min=1, help="Responses to each prompt.")] = 64,
    temperature: Annotated[float, typer.Option()] = 0.5,
    top_p: Annotated[float, typer.Option()] = 1.0,
    max_new_tokens: Annotated[int, typer.Option()] = 1024,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends a response; may be repeated.")] = None,
    system_prompt: Annotated[str | None, typer.Option(help="For questions without a system message.")] = None,
    chat_template: Annotated[Path | None, typer.Option(help="File with a template instead of the model's.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    prompts_per_shard: Annotated[int, typer.Option(min=1, help="A killed run loses at most so many prompts.")] = 16,
    shard: Shard = None,
    allow_failures: AllowFailures = False,
    force: Force = False,
) -> None:
    """Sample responses to prompts. The same command goes on where a killed run ended, or joins one at work."""
    from ..engines.base import Sampling
    from ..engines.specs import GeneratorSpec
    from ..stages.sample import sample_candidates

    sampling = Sampling(
        n=n,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
        stop=tuple(unescape(text) for text in stop or ()),
        seed=seed,
        system_prompt=system_prompt,
        chat_template=chat_template.read_text("utf-8") if chat_template else None,
    )
    spec = GeneratorSpec(
        model,
        "server" if server else engine,
        revision=revision,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        servers=tuple(server or ()),
        options=engine_options(engine_option),
    )
    manifest = sample_candidates(
        prompts,
        spec,
        out,
        sampling,
        prompts_per_shard=prompts_per_shard,
        part=parse_part(shard),
        allow_failures=allow_failures,
        force=force,
    )
    print_shared(manifest, out)


@app.command()
def reward(
    file: Annotated[str, typer.Argument(help="Candidates: a file, a dataset, or a folder of `openprm candidates`.")],
    by: Annotated[
        str,
        typer.Option(
            help="Golden answers: math; choice (a letter or its text); stated (after 'the answer is'), answer (else "
            "the last number), re:PATTERN. instructions (reference: IFEval's, as JSON); model; judge; file."
        ),
    ],
    out: Out,
    name: Annotated[str | None, typer.Option(help="Of the reward; golden, instructions, or the model's.")] = None,
    model: Annotated[str | None, typer.Option(help="Reward model, or the judge: a folder, an id, a name.")] = None,
    engine: Annotated[str, typer.Option(help="For a reward model: transformers, vllm or server.")] = "transformers",
    server: Servers = None,
    checkpoint: Checkpoint = None,
    engine_option: EngineOptions = None,
    revision: Revision = None,
    dtype: Dtype = "float32",
    trust_remote_code: TrustRemoteCode = False,
    rubric: Annotated[Path | None, typer.Option(help="File with what the judge is to look at.")] = None,
    judgements: Annotated[int, typer.Option(min=1, help="How often the judge is asked about each response.")] = 1,
    rewards: Annotated[
        str | None, typer.Option("--file", help="File of rewards by prompt_id and sample_index, for --by file.")
    ] = None,
    reward_column: Annotated[str, typer.Option(help="Its column.")] = "reward",
    num_proc: Annotated[int, typer.Option(min=1, help="Processes, for rewards by rule.")] = 1,
    question_column: QuestionColumn = "question",
    response_column: ResponseColumn = "response",
    id_column: IdColumn = None,
    reference_column: ReferenceColumn = None,
    split: Split = None,
    where: Where = None,
    questions: Questions = None,
    questions_options: QuestionsOptions = None,
    source: Source = None,
    shard: Shard = None,
    allow_failures: AllowFailures = False,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Give candidates an outcome reward. Run it again, with another --by, for more of them side by side."""
    from ..rewards.registry import make_rewarder
    from ..stages.reward import reward_candidates

    columns = {
        "question": question_column,
        "response": response_column,
        "reward": None,
        "prompt_id": id_column,
        "reference": reference_column,
    }
    read = candidate_source(file, columns, split, where, questions, questions_options, source, None)
    rewarder, inputs = make_rewarder(
        by,
        name=name,
        model=model,
        engine=engine,
        servers=server or (),
        engine_options=engine_options(engine_option),
        revision=revision,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        checkpoint=checkpoint,
        rubric=rubric.read_text("utf-8") if rubric else None,
        judgements=judgements,
        file=rewards,
        column=reward_column,
    )
    manifest = reward_candidates(
        read,
        rewarder,
        out,
        inputs=inputs,
        num_proc=num_proc,
        part=parse_part(shard),
        allow_failures=allow_failures,
        strict=strict,
        force=force,
    )
    print_shared(manifest, out)


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="The --out of a run.")]) -> None:
    """Show how far a run is that samples, rewards or scores, from outside."""
    from .report import print_unfinished

    print_unfinished(folder)
