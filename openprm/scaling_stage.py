"""The stage that measures what more samples bring: accuracy against samples and tokens (paper, figures 3 and 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .equivalence import DEFAULT_EQUIVALENCE
from .rewards import DEFAULT_PATTERN


def make_scaling(
    candidates: str | Path,
    scores: Mapping[str, str | Path],
    answers: Mapping[str, str | Path],
    out: str | Path,
    *,
    aggregations: Sequence[str] = ("min", "mean", "last"),
    equivalence: str = DEFAULT_EQUIVALENCE,
    answer_pattern: str = DEFAULT_PATTERN,
    by: str | None = None,
    early_risks: Sequence[float] = (0.05, 0.1, 0.2),
    seed: int = 0,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: accuracy with 1, 2, 4, ... N samples a prompt, by the ways to choose among them. Returns the manifest.

    candidates: a folder with N candidates a prompt, each with a golden reward. scores: folders of `openprm score` on
    them, by name. answers: folders of `openprm generate` for the same prompts, by name; each is graded by the rule
    that `by` names (see `openprm.rewarders.make_rewarder`), or by the one that the candidates' manifest names.
    """
    raise NotImplementedError
