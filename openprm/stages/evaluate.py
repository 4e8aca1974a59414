"""The stage that measures how well scores choose among the candidates of a prompt (paper, section 4.4), and with
`curve` what more samples bring (paper, figures 3 and 7)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from ..decoding.early_rejection import ScoredSamples
from ..errors import InputError
from ..evaluation.accuracy import PromptCandidates, compare_groups, evaluate_selection
from ..evaluation.scaling import early_rejection_rows, scaling_curve, search_point, step_tokens
from ..evaluation.scaling_plot import plot_scaling
from ..evaluation.scored_prompts import ScoredPrompt, graded_by, read_scored, scored_by, to_choose_from, unscored
from ..evaluation.search_answers import SearchAnswers, grading_rule, read_search_answers
from ..evaluation.tables import markdown
from ..rewards import DEFAULT_PATTERN
from ..rewards.answer_equivalence import equivalence_of
from ..runs.folder import read_rows
from ..runs.manifest import files_hash, run_stage
from ..schema import Scored
from ..scoring.aggregation import DEFAULT_AGGREGATION

#: Groups of models: the names of a group's models, and the aggregation they are meant to be read by.
Kinds = Mapping[str, Mapping[str, Any]]


def evaluate_models(
    candidates: str | Path,
    scores: Mapping[str, str | Path],
    out: str | Path,
    *,
    kinds: Mapping[str, Sequence[str]] | None = None,
    curve: bool = False,
    answers: Mapping[str, str | Path] | None = None,
    by: str | None = None,
    aggregations: Sequence[str] = ("min", "mean", "last"),
    equivalence: str | None = None,
    answer_pattern: str = DEFAULT_PATTERN,
    early_risks: Sequence[float] = (0.05, 0.1, 0.2),
    seed: int = 0,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: how good a choice each model's scores make among the candidates of a prompt. Returns the manifest.

    candidates: a folder with N candidates a prompt, each with a golden reward. scores: folders of `openprm score` on
    them, by the model's name. kinds: models that differ in their training seed only, such as `{"orm": ["orm-0",
    "orm-1"]}`; they are measured as one, by mean and range over the seeds, and each two kinds are compared, each by
    its models' own aggregation. A model in no kind is one of its own.

    curve: also the accuracy with 1, 2, 4, ... N samples, what early rejection saves at `early_risks`, by the first
    model of each kind and its own aggregation, and searches: `answers` are folders of `openprm search` for the same
    prompts, by name, graded by the rule that `by` names (see `openprm.rewards.registry.make_rewarder`), or else the
    one that gave the candidates their rewards. A prompt that they list as failed counts as wrong.

    Which answers are equal in a vote, `equivalence` says, or else the rule that gave the candidates their rewards (see
    `openprm.rewards.answer_equivalence`). A response too long for a model, or that could not be scored at all, is
    chosen only where none was scored to its end, as in a search. How many there are of the former is in the scores'
    manifest, of the latter in this.

    Writes `results.json` and `table.md`, each number with a bootstrap interval over prompts; with the curve also
    `accuracy-by-samples` and, where candidates say how many tokens they have, `accuracy-by-tokens` as .png and .svg.

    Raises InputError where prompts differ in their number of candidates, a candidate has no golden reward, scores or
    answers are of other responses or prompts, answers are to a part of the prompts, there is no rule to grade them,
    or a kind names a model without scores.
    """
    answers = answers or {}
    if answers and not curve:
        raise InputError("answers of searches are points of the curve; ask for it (--curve), or leave them out")
    equal = equivalence or equivalence_of(graded_by(candidates))

    def work(folder: Path) -> dict[str, Any]:
        rule = grading_rule(candidates, by) if answers or by else None
        prompts = read_scored(candidates, scores)
        if not prompts:
            raise InputError(f"{candidates} has no candidates to measure; sample and reward some")
        measured = to_choose_from(prompts, aggregations, equal, answer_pattern)
        models = {name: scored_by(path) for name, path in scores.items()}
        results = _measure(prompts, measured, _kinds(kinds or {}, scores, aggregations), aggregations, seed)
        results["equivalence"] = equal
        made = {"counts": results["counts"], "metrics": results["metrics"], "differences": results["differences"]}
        if curve:
            ids, by_hash = [p.prompt_id for p in prompts], {m["hash"]: name for name, m in models.items() if m}
            searches = [read_search_answers(name, path, ids, rule, by_hash) for name, path in answers.items() if rule]
            results |= _curve(prompts, measured, results, searches, early_risks, aggregations, seed)
            made["pictures"] = plot_scaling(results, folder)
        (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
        (folder / "table.md").write_text(markdown(results), "utf-8")
        return {"files_hash": files_hash(folder), **made, "kinds": results["kinds"], "models": models}

    parameters = {
        "kinds": {kind: list(models) for kind, models in (kinds or {}).items()},
        "curve": curve,
        "by": by,
        "aggregations": list(aggregations),
        "equivalence": equal,
        "answer_pattern": answer_pattern,
        "early_risks": list(early_risks),
        "seed": seed,
    }
    inputs = {"candidates": candidates, **scores, **{f"answers/{name}": path for name, path in answers.items()}}
    return run_stage(out, "evaluation", parameters, inputs, work, force=force, replace_finished=True)


def _measure(
    prompts: Sequence[ScoredPrompt],
    measured: Sequence[PromptCandidates],
    kinds: Kinds,
    aggregations: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """What results.json holds without the curve."""
    lengths = [row["n_tokens"] for prompt in prompts for row in prompt.rows]
    groups = _groups(kinds, aggregations)
    own = [f"{kind}/{entry['aggregation']}" for kind, entry in kinds.items()]
    try:
        differences = compare_groups(measured, groups, [(b, a) for a, b in combinations(own, 2)], seed)
    except ValueError as error:
        raise InputError(str(error)) from error
    return {
        "counts": {
            "prompts": len(prompts),
            "candidates": len(prompts[0].rows),
            "tokens_per_candidate": None if None in lengths else fmean(lengths),
            "unscored": unscored(prompts, prompts[0].step_rewards),
        },
        "kinds": kinds,
        "metrics": evaluate_selection(measured, groups, seed),
        "differences": differences,
    }


def _curve(
    prompts: Sequence[ScoredPrompt],
    measured: Sequence[PromptCandidates],
    results: Mapping[str, Any],
    searches: Iterable[SearchAnswers],
    risks: Sequence[float],
    aggregations: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """What results.json holds of the curve."""
    tokens, kinds = results["counts"]["tokens_per_candidate"], results["kinds"]
    unit = "characters" if tokens is None else "tokens"
    first = {entry["models"][0]: entry["aggregation"] for entry in kinds.values()}
    return {
        "samples": scaling_curve(measured, _groups(kinds, aggregations), tokens, seed),
        "searches": [search_point(search, measured, seed) for search in searches],
        "early_rejection": [
            row
            for model, aggregation in first.items()
            for row in early_rejection_rows(
                _scored_samples(prompts, model, unit), model, aggregation, risks, seed, unit
            )
        ],
    }


def _kinds(
    kinds: Mapping[str, Sequence[str]], scores: Mapping[str, str | Path], aggregations: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The models of each kind, with the aggregation that its scores name (or the first of those asked for)."""
    grouped = [model for models in kinds.values() for model in models]
    if wrong := [model for model in grouped if model not in scores or grouped.count(model) > 1]:
        raise InputError(f"the kinds name {wrong[0]!r}, which has no scores or is named twice; name each model once")
    found: dict[str, dict[str, Any]] = {}
    for model in scores:
        kind = next((kind for kind, models in kinds.items() if model in models), model)
        if kind not in found:
            row = next(iter(read_rows(scores[model], Scored)), None)
            own = row["aggregation"] if row else DEFAULT_AGGREGATION
            aggregation = own if own in aggregations else aggregations[0]
            found[kind] = {"models": list(kinds.get(kind, [model])), "aggregation": aggregation}
    return found


def _groups(kinds: Kinds, aggregations: Sequence[str]) -> dict[str, list[str]]:
    return {
        f"{kind}/{aggregation}": [f"{model}/{aggregation}" for model in entry["models"]]
        for kind, entry in kinds.items()
        for aggregation in aggregations
    }


def _scored_samples(prompts: Sequence[ScoredPrompt], scorer: str, unit: str) -> list[ScoredSamples]:
    """Each response as long as `unit` has it: never some in tokens beside others in characters, which are more."""
    return [
        ScoredSamples(
            step_rewards=prompt.step_rewards[scorer],
            step_tokens=[
                step_tokens(row["n_tokens"] if unit == "tokens" else len(row["response"]), steps)
                for row, steps in zip(prompt.rows, prompt.steps[scorer], strict=True)
            ],
            correct=prompt.correct,
        )
        for prompt in prompts
    ]
