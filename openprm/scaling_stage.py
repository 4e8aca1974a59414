"""The stage that measures what more samples bring: accuracy against samples and tokens (paper, figures 3 and 7)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from .aggregate import DEFAULT_AGGREGATION
from .early_rejection import Drawn
from .equivalence import DEFAULT_EQUIVALENCE, labels
from .evaluation import PromptCandidates, aggregated_scores
from .folder import is_folder, read_manifest, read_rows
from .records import Answer, Scored
from .rejections import InputError
from .rewarders import GOLDEN, make_rewarder, rewarder_from
from .rewards import DEFAULT_PATTERN
from .rewards.base import RewardBatch, Rewarder
from .scaling import Search, early_rejection_rows, sample_points, search_point, step_tokens
from .scaling_plot import plot_scaling
from .scaling_table import markdown
from .scored_prompts import ScoredPrompt, read_scored, scored_by, unscored
from .stages import files_hash, run_stage


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
    that `by` names (see `openprm.rewarders.make_rewarder`), or by the one that gave the candidates their rewards.

    Writes `results.json` (see `openprm.scaling`), `table.md`, and the pictures `accuracy-by-samples` and
    `accuracy-by-tokens`, each as .png and .svg. The latter is left out where candidates do not say how many tokens
    they have. Early rejection is measured by each scorer's own aggregation; where a step's tokens are not known, its
    share of the response's characters stands for them.

    Raises InputError where prompts differ in their number of candidates, a candidate has no golden reward, scores or
    answers are of other responses or prompts, or there is no rule to grade answers by.
    """

    def work(folder: Path) -> dict[str, Any]:
        prompts = read_scored(candidates, scores)
        if not prompts:
            raise InputError(f"{candidates} has no candidates to measure; sample and reward some")
        measured = [
            PromptCandidates(
                correct=prompt.correct,
                answers=labels(prompt.responses, equivalence, answer_pattern, prompt.rows[0]["question"]),
                scores=aggregated_scores(prompt.known_rewards(), aggregations),
            )
            for prompt in prompts
        ]
        models = {scored["hash"]: name for name, path in scores.items() if (scored := scored_by(path))}
        searches = [_search(name, path, prompts, _rule(candidates, by), models) for name, path in answers.items()]
        results = _measure(prompts, measured, searches, scores, aggregations, early_risks, seed)
        (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
        (folder / "table.md").write_text(markdown(results), "utf-8")
        pictures = plot_scaling(results, folder)
        return {"files_hash": files_hash(folder), "counts": results["counts"], "pictures": pictures}

    parameters = {
        "aggregations": list(aggregations),
        "equivalence": equivalence,
        "answer_pattern": answer_pattern,
        "by": by,
        "early_risks": list(early_risks),
        "seed": seed,
    }
    inputs = {
        "candidates": candidates,
        **{f"scores/{name}": path for name, path in scores.items()},
        **{f"answers/{name}": path for name, path in answers.items()},
    }
    return run_stage(out, "scaling", parameters, inputs, work, force=force)


def _measure(
    prompts: Sequence[ScoredPrompt],
    measured: Sequence[PromptCandidates],
    searches: Sequence[Search],
    scores: Mapping[str, str | Path],
    aggregations: Sequence[str],
    risks: Sequence[float],
    seed: int,
) -> dict[str, Any]:
    """All that results.json holds."""
    lengths = [row["n_tokens"] for prompt in prompts for row in prompt.rows]
    tokens = None if None in lengths else fmean(lengths)
    chosen_by = {name: _aggregation(path, aggregations) for name, path in scores.items()}
    return {
        "counts": {
            "prompts": len(prompts),
            "candidates": len(prompts[0].rows),
            "tokens_per_candidate": tokens,
            "unscored": unscored(prompts, scores),
        },
        "scorers": chosen_by,
        "samples": sample_points(measured, tokens, seed),
        "searches": [search_point(search, measured, seed) for search in searches],
        "early_rejection": [
            row
            for name, aggregation in chosen_by.items()
            for row in early_rejection_rows(_drawn(prompts, name), name, aggregation, risks, seed)
        ],
    }


def _aggregation(scores: str | Path, aggregations: Sequence[str]) -> str:
    """What a scorer is meant to be read by, or the first of those asked for."""
    own = next((str(row["aggregation"]) for row in read_rows(scores, Scored)), DEFAULT_AGGREGATION)
    return own if own in aggregations else aggregations[0]


def _drawn(prompts: Sequence[ScoredPrompt], scorer: str) -> list[Drawn]:
    return [
        Drawn(
            step_rewards=prompt.step_rewards[scorer],
            step_tokens=[
                step_tokens(len(row["response"]) if row["n_tokens"] is None else row["n_tokens"], steps)
                for row, steps in zip(prompt.rows, prompt.steps[scorer], strict=True)
            ],
            correct=prompt.correct,
        )
        for prompt in prompts
    ]


def _rule(candidates: str | Path, by: str | None) -> Rewarder:
    """What answers are graded by: as the candidates were, unless another rule is named."""
    if by is not None:
        return make_rewarder(by, name=GOLDEN)[0]
    said = read_manifest(candidates)["parameters"].get("reward") if is_folder(candidates) else None
    rule = rewarder_from(said, GOLDEN) if isinstance(said, dict) else None
    if rule is None:
        raise InputError(f"{candidates} does not say by which rule it was rewarded; name the one for answers: --by")
    return rule


def _graded(answers: str | Path, rule: Rewarder) -> dict[str, dict[str, Any]]:
    """A folder's answers by prompt, each with `correct`. Raises InputError where one cannot be graded."""
    rows = list(read_rows(answers, Answer))
    ((_, outcomes),) = rule.rewards([RewardBatch(0, rows)])  # type: ignore[arg-type]
    found = {}
    for row, outcome in zip(rows, outcomes, strict=True):
        if outcome.reward is None:
            why = outcome.failure.reason if outcome.failure else "no reward"
            raise InputError(f"{answers}: the answer to {row['prompt_id']!r} cannot be graded: {why}")
        found[row["prompt_id"]] = {**row, "correct": outcome.reward["value"]}
    return found


def _search(
    name: str, answers: str | Path, prompts: Sequence[ScoredPrompt], rule: Rewarder, models: Mapping[str, str]
) -> Search:
    """A folder's answers, graded, as a search, whose reward model is called as its scores are, if it gave any."""
    found = _graded(answers, rule)
    rows = [found[prompt.prompt_id] for prompt in prompts if prompt.prompt_id in found]
    if not rows:
        raise InputError(f"answers {name!r} are to none of the candidates' prompts; answer the same prompts")
    manifest = read_manifest(answers) if is_folder(answers) else {"inputs": {}, "parameters": {}}
    prm, stopping = manifest["inputs"].get("prm"), manifest["parameters"].get("rule")
    first = rows[0]
    return Search(
        name=name,
        method=first["method"] + (f", risk {stopping['risk']:g}" if stopping else ""),
        budget=first["budget"],
        scorer=models.get(prm["hash"], prm["name"]) if prm else None,
        aggregation=first["aggregation"],
        correct=[found[prompt.prompt_id]["correct"] if prompt.prompt_id in found else 0.0 for prompt in prompts],
        unanswered=len(prompts) - len(rows),
        generated_tokens=fmean(row["generated_tokens"] for row in rows),
        scored_tokens=fmean(row["scored_tokens"] for row in rows),
    )
