"""The commands that run one stage each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from ..runs.declaration import STAGES
from .app import app
from .report import print_evaluation, print_summary, print_unfinished
from .stage_command import cli_option, stage_command

# each declares its stages
from .. import stages  # noqa: F401  isort: skip


def finished(manifest: Mapping[str, Any], out: Path) -> None:
    """Prints what a stage made, or how far it is."""
    if manifest:
        print_summary(manifest, out)
    else:  # only a part of the work was to be done
        print_unfinished(out)


def _evaluated(manifest: Mapping[str, Any], out: Path) -> None:
    print_evaluation(manifest)


def _plot(given: dict[str, Any], out: Path | None, force: bool, plot: Path | None) -> bool:
    """With --plot: how alike sibling steps are, instead of the trees."""
    if plot is None:
        return False
    from ..stages.trees import Trees
    from ..trees.similarity_plot import plot_similarities

    trees = Trees(**given)
    for line in plot_similarities(trees.candidate_source(rewards=False).read(), trees.separator, plot):
        typer.echo(line)
    return True


_PLOT = cli_option(
    "plot",
    Path | None,
    "Only plot how alike sibling steps are (the paper's Figure 5), to choose a threshold from: .png, .svg or .pdf.",
)
_COMPARE = cli_option(
    "compare_engines",
    bool,
    "Only compare step rewards between engines, dtypes and batches with plain float32 passes, on a sample.",
    False,
)


def _compare(given: dict[str, Any], out: Path | None, force: bool, compare_engines: bool) -> bool:
    if not compare_engines:
        return False
    from ..stages.score import Score
    from .engine_comparison import compare_engines as compare

    if not compare(Score(**given)):
        raise typer.Exit(1)
    return True


for _kind in ("prompts", "import", "preferences", "sample", "reward", "pairs", "train"):
    app.command(_kind)(stage_command(STAGES[_kind], finished))
app.command("trees")(stage_command(STAGES["trees"], finished, [_PLOT], _plot))
app.command("score")(stage_command(STAGES["score"], finished, [_COMPARE], _compare))
app.command("evaluate")(stage_command(STAGES["evaluate"], _evaluated))
