"""The command that answers prompts by searching."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .app import app
from .options import (
    AllowFailures,
    Dtype,
    EngineOptions,
    Force,
    Revision,
    Shard,
    TrustRemoteCode,
    engine_options,
    parse_part,
    print_shared,
    unescape,
)

if TYPE_CHECKING:
    from ..decoding.loop import DepthReport
    from ..decoding.methods import Method
    from ..engines.base import Sampling
    from ..engines.specs import GeneratorSpec, RewardSpec

_SHOWN = 100  # characters of a step


@app.command()
def generate(
    model: Annotated[str, typer.Argument(help="Language model: a folder or an id.")],
    prompts: Annotated[
        str | None,
        typer.Argument(help="JSONL, CSV or Parquet file with a column `question`, or a folder of `openprm prompts`."),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="One prompt, answered before your eyes.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write, for a folder of prompts.")] = None,
    prm: Annotated[
        str | None, typer.Option(help="Process reward model: a folder, an id, or the servers' name.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="best-of-n, pbs (beam search), diverse-pbs, majority-vote or weighted-vote.")
    ] = "best-of-n",
    budget: Annotated[
        int,
        typer.Option(
            min=1,
            help="N answers; a beam search keeps sqrt(N) of N at each step (rounded down, where N is no square).",
        ),
    ] = 16,
    aggregation: Annotated[str | None, typer.Option(help="min, mean, last, ...; else the reward model's own.")] = None,
    separator: Annotated[str | None, typer.Option(help="Where steps end; else the reward model's own.")] = None,
    early_rejection: Annotated[
        float | None,
        typer.Option(help="Risk R: stop hopeless answers, and the best one of at most this share of the prompts."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Scores (`openprm score`, by the same model) of other prompts for early rejection to learn from, "
            "with as many responses each as the budget, sampled alike; at least (1 - R) / R prompts."
        ),
    ] = None,
    equivalence: Annotated[str, typer.Option(help="What votes for the same: exact, option or math.")] = "exact",
    pattern: Annotated[str, typer.Option(help="Of exact: stated, answer or re:PATTERN.")] = "answer",
    engine: Annotated[str, typer.Option(help="transformers or vllm.")] = "transformers",
    engine_option: EngineOptions = None,
    revision: Revision = None,
    dtype: Dtype = "auto",
    prm_engine: Annotated[str, typer.Option(help="transformers, vllm or server.")] = "transformers",
    prm_server: Annotated[list[str] | None, typer.Option(help="Address of a server of it; may be repeated.")] = None,
    prm_checkpoint: Annotated[
        str | None, typer.Option(help="Its folder or id, where servers know it by another name.")
    ] = None,
    prm_option: Annotated[list[str] | None, typer.Option(help="An option of its engine, NAME=VALUE.")] = None,
    prm_revision: Annotated[str | None, typer.Option(help="Its branch, tag or commit on the Hub.")] = None,
    prm_dtype: Annotated[str, typer.Option(help="float32, bfloat16, ...")] = "float32",
    trust_remote_code: TrustRemoteCode = False,
    temperature: Annotated[float, typer.Option()] = 0.5,
    top_p: Annotated[float, typer.Option()] = 1.0,
    max_new_tokens: Annotated[int, typer.Option()] = 1024,
    system_prompt: Annotated[str | None, typer.Option(help="For questions without a system message.")] = None,
    chat_template: Annotated[Path | None, typer.Option(help="File with a template instead of the model's.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    prompts_per_shard: Annotated[
        int,
        typer.Option(
            min=1,
            help="Searched together, and lost at most by a kill. With transformers they share a stream of random "
            "numbers: another number gives other answers.",
        ),
    ] = 64,
    shard: Shard = None,
    allow_failures: AllowFailures = False,
    force: Force = False,
) -> None:
    """Answer prompts with a process reward model: best of N, beam search over steps, votes."""
    from ..decoding.methods import Method
    from ..engines.base import Sampling
    from ..engines.specs import GeneratorSpec, RewardSpec
    from ..stages.search import generate_answers, read_rule

    if (prompt is None) == (prompts is None) or (prompts is None) != (out is None):
        raise typer.BadParameter("give either --prompt, or a folder of prompts and --out")
    if (early_rejection is None) != (calibration is None):
        raise typer.BadParameter("early rejection needs both --early-rejection and --calibration")
    sampling = Sampling(
        n=1,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
        seed=seed,
        system_prompt=system_prompt,
        chat_template=chat_template.read_text("utf-8") if chat_template else None,
    )
    spec = GeneratorSpec(
        model,
        engine,
        revision=revision,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        options=engine_options(engine_option),
    )
    reward_spec = None
    if prm is not None:
        reward_spec = RewardSpec(
            prm,
            "server" if prm_server else prm_engine,
            revision=prm_revision,
            dtype=prm_dtype,
            trust_remote_code=trust_remote_code,
            servers=tuple(prm_server or ()),
            options=engine_options(prm_option),
            checkpoint=prm_checkpoint,
        )
    ends = unescape(separator) if separator else None
    chosen = Method(method, budget, aggregation, None, equivalence, pattern)
    if early_rejection is not None and calibration is not None:
        if reward_spec is None:
            raise typer.BadParameter("early rejection needs a reward model: --prm")
        chosen = replace(chosen, rule=read_rule(calibration, reward_spec, chosen, early_rejection, ends))
    if prompt is not None:
        _answer(prompt, spec, reward_spec, chosen, sampling, ends)
        return
    assert prompts is not None
    assert out is not None
    manifest = generate_answers(
        _folder_of(prompts, out),
        spec,
        reward_spec,
        out,
        chosen,
        sampling,
        separator=ends,
        prompts_per_shard=prompts_per_shard,
        part=parse_part(shard),
        allow_failures=allow_failures,
        force=force,
    )
    print_shared(manifest, out)


def _folder_of(prompts: str, out: Path) -> str:
    """The prompts; those of a file are first made a folder of, beside `out`, with what is rejected listed."""
    if not Path(prompts).is_file():
        return prompts
    from ..data.prompts import PromptFile
    from ..stages.prompts import make_prompts

    folder = out.with_name(f"{out.name}-prompts")
    manifest = make_prompts(PromptFile(prompts), folder)
    typer.echo(f"{manifest['rows']} prompts in {folder}", err=True)
    return str(folder)


def _answer(
    prompt: str, spec: GeneratorSpec, prm: RewardSpec | None, method: Method, sampling: Sampling, separator: str | None
) -> None:
    """What is decided goes to standard error, while it is; the answer to standard output."""
    from ..decoding.searcher import Searcher
    from ..errors import Failure, InputError

    searcher = Searcher.load(spec, prm, method, sampling, separator)
    try:
        typer.echo(_plan(searcher.method), err=True)
        (found,) = searcher([[{"role": "user", "content": prompt}]], [sampling.seed], _show)
    finally:
        searcher.close()
    if isinstance(found, Failure):
        raise InputError(f"{found.reason}; {found.remedy}")
    best, considered = found.best, len(found.complete)
    score = f" with a score of {best.score:+.3f} ({searcher.method.aggregation})" if best.step_rewards else ""
    typer.echo(f"chosen among {considered} complete {'answer' if considered == 1 else 'answers'}{score}:", err=True)
    written = [answer for answer in found.complete if answer.partial.text.strip()]
    if unread := sum(answer.truncated for answer in written if searcher.method.uses_rewards):
        also = ", the one chosen among them" if best.truncated else ""
        typer.echo(f"{unread} of these the reward model does not read to its end{also}", err=True)
    typer.echo(best.partial.text)
    typer.echo(
        f"{found.generated_tokens:,} tokens generated, {found.scored_tokens:,} scored"
        + (f", {found.merged} duplicates merged" if found.merged else "")
        + (f", {found.stopped} answers stopped early" if found.stopped else ""),
        err=True,
    )


def _plan(method: Method) -> str:
    beam = method.beam
    if beam:
        within = f", in {beam.groups} sub-beams that never compete" if beam.groups > 1 else ""
        if method.name == "diverse-pbs" and beam.groups == 1:
            within = "; with a single beam there is nothing to keep apart"
        used = f"; {beam.width} of a budget of {method.budget} are used" if beam.width < method.budget else ""
        return f"{method.name}: {beam.beam} beams, each extended in {beam.expand} ways at every step{within}{used}"
    stopped = f", hopeless ones stopped at a risk of {method.rule.risk}" if method.rule else ""
    return f"{method.name}: {method.budget} answers{stopped}"


def _show(depth: DepthReport) -> None:
    for pruning in depth.prunings.values():
        going = sum(not answer.partial.finished for answer in pruning.kept)
        told = [f"{len(pruning.kept)} kept", f"{going} of them to go on with"]
        told += [f"{pruning.dropped} dropped"] * bool(pruning.dropped)
        told += [f"{pruning.merged} duplicates"] * bool(pruning.merged)
        typer.echo(f"step {depth.depth}: {', '.join(told)}", err=True)
        best = pruning.kept[0] if pruning.kept else None
        if best and best.partial.steps and best.step_rewards:
            step = " ".join(best.partial.steps[-1].split())
            step = step if len(step) <= _SHOWN else step[: _SHOWN - 1] + "…"
            typer.echo(f"  best {best.score:+.3f}, last step {best.step_rewards[-1]:+.3f}: {step}", err=True)
