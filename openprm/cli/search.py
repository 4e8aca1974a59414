"""The command that answers prompts by searching."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import Failure, InputError
from ..runs.console import say
from ..stages.prompts import Prompts
from ..stages.search import Search
from ..text import excerpt
from .app import app
from .stage_command import cli_option, run_and_print, stage_command

if TYPE_CHECKING:
    from ..decoding.loop import Pruning
    from ..decoding.methods import Method

_SHOWN = 100  # characters of a step
_PROMPT = cli_option("prompt", str | None, "One prompt, answered in the terminal step by step.")


def _search(stage: Search, out: Path | None, force: bool, prompt: str | None) -> bool:
    """Answers one prompt in the terminal, or a file of prompts, of which a folder is made first."""
    if (prompt is None) == (stage.prompts is None) or (prompt is None) != (out is not None):
        raise typer.BadParameter("give either --prompt, or prompts and --out")
    if prompt is not None:
        _answer(prompt, stage)
        return True
    assert stage.prompts is not None
    assert out is not None
    if not Path(stage.prompts).is_file():
        return False
    folder = out.with_name(f"{out.name}-prompts")
    manifest = Prompts(prompts=stage.prompts).run(folder, replace=force)
    say(f"{manifest['rows']} prompts in {folder}", err=True)
    run_and_print(replace(stage, prompts=str(folder)), out, force)
    return True


def _answer(prompt: str, stage: Search) -> None:
    """Decisions go to standard error as they are made, the answer to standard output."""
    with closing(stage.searcher()) as searcher:
        say(_plan(searcher.method), err=True)
        (found,) = searcher([[{"role": "user", "content": prompt}]], [stage.seed], _show)
    if isinstance(found, Failure):
        raise InputError(str(found))
    best, considered = found.best, len(found.complete)
    score = f" with a score of {best.score:+.3f} ({searcher.method.aggregation})" if best.step_rewards else ""
    say(f"chosen among {considered} complete {'answer' if considered == 1 else 'answers'}{score}:", err=True)
    written = [answer for answer in found.complete if answer.partial.text.strip()]
    if unread := sum(answer.truncated for answer in written if searcher.method.uses_rewards):
        also = ", the one chosen among them" if best.truncated else ""
        say(f"{unread} of these the reward model does not read to its end{also}", err=True)
    say(best.partial.text)
    say(
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


def _show(depth: int, prunings: Mapping[int, Pruning]) -> None:
    for decision in prunings.values():
        going = sum(not answer.partial.finished for answer in decision.kept)
        told = [f"{len(decision.kept)} kept", f"{going} of them unfinished"]
        told += [f"{decision.dropped} dropped"] * bool(decision.dropped)
        told += [f"{decision.merged} duplicates"] * bool(decision.merged)
        say(f"step {depth}: {', '.join(told)}", err=True)
        best = decision.kept[0] if decision.kept else None
        if best and best.partial.steps and best.step_rewards:
            step = excerpt(best.partial.steps[-1], _SHOWN)
            say(f"  best {best.score:+.3f}, last step {best.step_rewards[-1]:+.3f}: {step}", err=True)


app.command("search")(stage_command(Search, [_PROMPT], _search))
