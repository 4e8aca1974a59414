"""The stage that measures how good a choice scores make among the candidates of a prompt (paper, section 4.4)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .evaluation import PromptCandidates, aggregated_scores, evaluate_selection, scaling_curve
from .folder import is_folder, read_manifest, read_rows
from .records import Candidate, Scored
from .rejections import InputError
from .rewarders import GOLDEN
from .rewards import DEFAULT_PATTERN, extract_answer
from .stages import files_hash, run_stage


def evaluate_models(
    candidates: str | Path,
    scores: Mapping[str, str | Path],
    out: str | Path,
    *,
    aggregations: Sequence[str] = ("min", "mean", "last"),
    answer_pattern: str = DEFAULT_PATTERN,
    seed: int = 0,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: how good a choice each model's scores make among the candidates of a prompt. Returns the manifest.

    `scores` are folders of `score_candidates` by the model's name. Writes `results.json` (a table, and best-of-n for
    n = 1, 2, 4, ...), each number with a bootstrap interval over prompts.

    A response too long for a model counts by those of its steps that fit; one that could not be scored at all is
    chosen only where no other was. How many there are of the former is in the scores' manifest, of the latter in this.

    Raises InputError where prompts differ in their number of candidates, a candidate has no golden reward, or scores
    are of other responses.
    """

    def work(folder: Path) -> dict[str, Any]:
        prompts, counts = _prompts(candidates, scores, aggregations, answer_pattern)
        results = {
            "table": evaluate_selection(prompts, seed=seed),
            "curve": scaling_curve(prompts, seed=seed),
        }
        (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
        return {
            "files_hash": files_hash(folder),
            "counts": counts,
            "metrics": results["table"],
            "models": {name: _scored_by(path) for name, path in scores.items()},
        }

    parameters = {"aggregations": list(aggregations), "answer_pattern": answer_pattern, "seed": seed}
    return run_stage(out, "evaluation", parameters, {"candidates": candidates, **scores}, work, force=force)


def _scored_by(scores: str | Path) -> dict[str, Any] | None:
    """The model that gave scores (its hash), and how; None where the scores stage did not make them."""
    if not is_folder(scores) or (manifest := read_manifest(scores))["stage"] != "scores":
        return None
    return {"hash": manifest["inputs"]["model"]["hash"], "parameters": manifest["parameters"]}


def _prompts(
    candidates: str | Path, scores: Mapping[str, str | Path], aggregations: Sequence[str], pattern: str
) -> tuple[list[PromptCandidates], dict[str, Any]]:
    """The candidates by prompt with their scores, and counts for the manifest."""
    scored = {
        name: {
            (row["prompt_id"], row["sample_index"]): (
                hash("".join(row["steps"])),
                [reward for reward in row["step_rewards"] if reward is not None],
            )
            for row in read_rows(path, Scored)
        }
        for name, path in scores.items()
    }
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(candidates, Candidate):
        grouped.setdefault(row["prompt_id"], []).append(row)
    n = len(next(iter(grouped.values()), []))
    unscored = dict.fromkeys(scores, 0)
    prompts = []
    for prompt_id, rows in grouped.items():
        if len(rows) != n:
            raise InputError(
                f"{candidates}: prompt {prompt_id!r} has {len(rows)} candidates, the first one {n}; "
                "best-of-N needs the same number for all"
            )
        golden = [[reward["value"] for reward in row["rewards"] if reward["name"] == GOLDEN] for row in rows]
        if not all(golden):
            raise InputError(f"{candidates}: prompt {prompt_id!r} has a response without the reward {GOLDEN!r}")
        by_model: dict[str, list[list[float]]] = {name: [] for name in scores}
        for name, found in scored.items():
            for row in rows:
                answer, rewards = found.get((prompt_id, row["sample_index"]), (None, []))
                if answer not in (None, hash(row["response"])):
                    raise InputError(
                        f"{scores[name]}: prompt {prompt_id!r}, sample {row['sample_index']} is not the response that "
                        f"{candidates} holds; score these candidates"
                    )
                unscored[name] += answer is None
                by_model[name].append(rewards)
        prompts.append(
            PromptCandidates(
                correct=[values[0] for values in golden],
                answers=[extract_answer(row["response"], pattern) for row in rows],
                scores=aggregated_scores(by_model, aggregations),
            )
        )
    for name, missing in unscored.items():
        if missing == n * len(prompts):
            raise InputError(f"{scores[name]} has no score for any candidate of {candidates}; score these candidates")
    counts = {"prompts": len(prompts), "candidates": n, "unscored": unscored}
    return prompts, counts
