"""The stage that measures what more samples bring: accuracy against samples and tokens (paper, figures 3 and 7)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from ..decoding.early_rejection import ScoredSamples
from ..errors import InputError
from ..evaluation.accuracy import PromptCandidates
from ..evaluation.scaling import Search, early_rejection_rows, sample_points, search_point, step_tokens
from ..evaluation.scaling_plot import plot_scaling
from ..evaluation.scaling_table import markdown
from ..evaluation.scored_prompts import ScoredPrompt, graded_by, read_scored, scored_by, to_choose_from, unscored
from ..rewards import DEFAULT_PATTERN
from ..rewards.answer_equivalence import equivalence_of
from ..rewards.base import RewardBatch, Rewarder
from ..rewards.registry import GOLDEN, make_rewarder, rewarder_from
from ..runs.folder import REJECTED, is_folder, read_manifest, read_rows
from ..runs.manifest import files_hash, run_stage
from ..runs.sharding import prompt_key
from ..schema import Answer, Scored
from ..scoring.aggregation import DEFAULT_AGGREGATION


def make_scaling(
    candidates: str | Path,
    scores: Mapping[str, str | Path],
    answers: Mapping[str, str | Path],
    out: str | Path,
    *,
    aggregations: Sequence[str] = ("min", "mean", "last"),
    equivalence: str | None = None,
    answer_pattern: str = DEFAULT_PATTERN,
    by: str | None = None,
    early_risks: Sequence[float] = (0.05, 0.1, 0.2),
    seed: int = 0,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: accuracy with 1, 2, 4, ... N samples a prompt, by the ways to choose among them. Returns the manifest.

    candidates: a folder with N candidates a prompt, each with a golden reward. scores: folders of `openprm score` on
    them, by name. answers: folders of `openprm generate` for the same prompts, by name; each is graded by the rule
    that `by` names (see `openprm.rewards.registry.make_rewarder`), or by the one that gave the candidates their
    rewards. That one also says which answers are equal in a vote, unless `equivalence` does (see
    `openprm.rewards.answer_equivalence`).

    A candidate that was not scored to its end is chosen only where none was, as in a search. A prompt that a folder of
    answers lists as failed counts as wrong.

    Writes `results.json` (see `openprm.evaluation.scaling`), `table.md`, and the pictures `accuracy-by-samples` and
    `accuracy-by-tokens`, each as .png and .svg. The latter is left out where candidates do not say how many tokens
    they have. Early rejection is measured by each scorer's own aggregation, and what it saves in characters where some
    candidate does not say how many tokens it has.

    Raises InputError where prompts differ in their number of candidates, a candidate has no golden reward, scores or
    answers are of other responses or prompts, answers are to a part of the prompts, or there is no rule to grade them.
    """

    equal = equivalence or equivalence_of(graded_by(candidates))

    def work(folder: Path) -> dict[str, Any]:
        rule = _rule(candidates, by) if answers or by else None
        prompts = read_scored(candidates, scores)
        if not prompts:
            raise InputError(f"{candidates} has no candidates to measure; sample and reward some")
        measured = to_choose_from(prompts, aggregations, equal, answer_pattern)
        models = {scored["hash"]: name for name, path in scores.items() if (scored := scored_by(path))}
        searches = [_search(name, path, prompts, rule, models) for name, path in answers.items()] if rule else []
        results = {
            "equivalence": equal,
            **_measure(prompts, measured, searches, scores, aggregations, early_risks, seed),
        }
        (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
        (folder / "table.md").write_text(markdown(results), "utf-8")
        pictures = plot_scaling(results, folder)
        return {"files_hash": files_hash(folder), "counts": results["counts"], "pictures": pictures}

    parameters = {
        "aggregations": list(aggregations),
        "equivalence": equal,
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
    unit = "characters" if tokens is None else "tokens"
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
            for row in early_rejection_rows(_drawn(prompts, name, unit), name, aggregation, risks, seed, unit)
        ],
    }


def _aggregation(scores: str | Path, aggregations: Sequence[str]) -> str:
    """What a scorer is meant to be read by, or the first of those asked for."""
    own = next((str(row["aggregation"]) for row in read_rows(scores, Scored)), DEFAULT_AGGREGATION)
    return own if own in aggregations else aggregations[0]


def _drawn(prompts: Sequence[ScoredPrompt], scorer: str, unit: str) -> list[ScoredSamples]:
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


def _rule(candidates: str | Path, by: str | None) -> Rewarder:
    """What answers are graded by: as the candidates were, unless another rule is named."""
    if by is not None:
        return make_rewarder(by, name=GOLDEN)[0]
    said = graded_by(candidates)
    rule = rewarder_from(said, GOLDEN) if said else None
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


def _failed(answers: str | Path, prompt_ids: Sequence[str]) -> set[str]:
    """Which of these prompts a folder of answers lists as failed (see `openprm.runs.sharding.list_unfinished`)."""
    listed = Path(answers) / REJECTED
    if not prompt_ids or not listed.is_file():
        return set()
    with listed.open(encoding="utf-8") as lines:
        remedies = [json.loads(line)["remedy"] for line in lines]
    starts = {name: f"{prompt_key({'prompt_id': name})}: " for name in prompt_ids}
    return {name for name, start in starts.items() if any(said.startswith(start) for said in remedies)}


def _search(
    name: str, answers: str | Path, prompts: Sequence[ScoredPrompt], rule: Rewarder, models: Mapping[str, str]
) -> Search:
    """A folder's answers, graded, as a search, whose reward model is called as its scores are, if it gave any."""
    found = _graded(answers, rule)
    rows = [found[prompt.prompt_id] for prompt in prompts if prompt.prompt_id in found]
    if not rows:
        raise InputError(f"answers {name!r} are to none of the candidates' prompts; answer the same prompts")
    failed = _failed(answers, [prompt.prompt_id for prompt in prompts if prompt.prompt_id not in found])
    never_asked = [p.prompt_id for p in prompts if p.prompt_id not in found and p.prompt_id not in failed]
    if never_asked:
        raise InputError(
            f"answers {name!r} are to {len(rows)} of {len(prompts)} prompts, and {REJECTED} does not list the others "
            f"as failed, such as {never_asked[0]!r}; answer all, or measure candidates of the answered prompts alone"
        )
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
        generated_tokens=sum(row["generated_tokens"] for row in rows) / len(prompts),
        scored_tokens=sum(row["scored_tokens"] for row in rows) / len(prompts),
    )
