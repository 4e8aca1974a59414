"""The stage that measures how good a choice scores make among the candidates of a prompt (paper, section 4.4)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..evaluation.accuracy import evaluate_selection, scaling_curve
from ..evaluation.scored_prompts import graded_by, read_scored, scored_by, to_choose_from, unscored
from ..rewards import DEFAULT_PATTERN
from ..rewards.answer_equivalence import equivalence_of
from ..runs.manifest import files_hash, run_stage


def evaluate_models(
    candidates: str | Path,
    scores: Mapping[str, str | Path],
    out: str | Path,
    *,
    aggregations: Sequence[str] = ("min", "mean", "last"),
    equivalence: str | None = None,
    answer_pattern: str = DEFAULT_PATTERN,
    seed: int = 0,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: how good a choice each model's scores make among the candidates of a prompt. Returns the manifest.

    `scores` are folders of `score_candidates` by the model's name. Writes `results.json` (a table, and best-of-n for
    n = 1, 2, 4, ...), each number with a bootstrap interval over prompts.

    A response too long for a model, or that could not be scored at all, is chosen only where none was scored to its
    end, as in a search. How many there are of the former is in the scores' manifest, of the latter in this.

    Which answers are equal in a vote, `equivalence` says, or else the rule that gave the candidates their rewards (see
    `openprm.rewards.answer_equivalence`).

    Raises InputError where prompts differ in their number of candidates, a candidate has no golden reward, or scores
    are of other responses.
    """

    equal = equivalence or equivalence_of(graded_by(candidates))

    def work(folder: Path) -> dict[str, Any]:
        found = read_scored(candidates, scores)
        prompts = to_choose_from(found, aggregations, equal, answer_pattern)
        results = {
            "table": evaluate_selection(prompts, seed=seed),
            "curve": scaling_curve(prompts, seed=seed),
        }
        (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
        return {
            "files_hash": files_hash(folder),
            "counts": {
                "prompts": len(found),
                "candidates": len(found[0].rows),
                "unscored": unscored(found, scores),
            },
            "metrics": results["table"],
            "models": {name: scored_by(path) for name, path in scores.items()},
        }

    parameters = {
        "aggregations": list(aggregations),
        "equivalence": equal,
        "answer_pattern": answer_pattern,
        "seed": seed,
    }
    return run_stage(out, "evaluation", parameters, {"candidates": candidates, **scores}, work, force=force)
