"""The commands that run one stage each."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from ..runs.console import say
from ..runs.declaration import STAGES
from ..stages.trees import Trees
from .app import app
from .stage_command import cli_option, stage_command

# each declares its stages
from .. import stages  # noqa: F401  isort: skip


def _plot(stage: Trees, out: Path | None, force: bool, plot: Path | None) -> bool:
    """With --plot: how alike sibling steps are, instead of the trees."""
    if plot is None:
        return False
    from ..trees.similarity import EDIT_SIMILARITIES, similarity
    from ..trees.similarity_plot import plot_similarities

    with TemporaryDirectory() as folder:
        measures = [*map(similarity, EDIT_SIMILARITIES), *([stage.measure(Path(folder))[0]] if stage.embedder else [])]
        candidates = stage.candidate_source(rewards=False).read()
        for line in plot_similarities(candidates, stage.separator, plot, measures):
            say(line)
    return True


_PLOT = cli_option(
    "plot",
    Path | None,
    "Only plot how alike sibling steps are (the paper's Figure 5), to choose a threshold from: .png, .svg or .pdf.",
)
for _kind in (
    "prompts",
    "constraints",
    "import",
    "split",
    "preferences",
    "sample",
    "reward",
    "label",
    "rollouts",
    "judge-steps",
    "label-pairs",
    "pairs",
    "train",
    "score",
    "choices",
    "evaluate",
):
    app.command(_kind)(stage_command(STAGES[_kind]))
app.command("trees")(stage_command(Trees, [_PLOT], _plot))
