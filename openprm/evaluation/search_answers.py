"""What searches answered to the candidates' prompts, graded as the candidates were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..rewards.base import RewardBatch, Rewarder
from ..rewards.registry import GOLDEN, make_rewarder, rule_from
from ..runs.dataset import read_rejected
from ..runs.folder import REJECTED, is_folder, read_manifest, read_rows
from ..runs.shards import prompt_key
from ..schema import Answer
from .scored_prompts import graded_by


@dataclass(frozen=True)
class SearchAnswers:
    """What a search answered, prompt by prompt in the candidates' order.

    method: what tells it from others, such as "pbs" or "best-of-n, risk 0.1". correct: 1 or 0; 0 where there is no
    answer. scorer and aggregation: what it chose by; None for a plain vote. generated_tokens, scored_tokens: means
    over the prompts.
    """

    name: str
    method: str
    budget: int
    scorer: str | None
    aggregation: str | None
    correct: Sequence[float]
    unanswered: int
    generated_tokens: float
    scored_tokens: float


def grading_rule(candidates: str | Path, by: str | None) -> Rewarder:
    """What answers are graded by: the rule named `by`, or else the one that gave the candidates their rewards.

    Raises InputError for an unknown rule, or where the candidates do not record theirs.
    """
    if by is not None:
        return make_rewarder(by, name=GOLDEN)[0]
    recorded = graded_by(candidates)
    rule = rule_from(recorded, GOLDEN) if recorded else None
    if rule is None:
        raise InputError(f"{candidates} does not say by which rule it was rewarded; name the one for answers: --by")
    return rule


def read_search_answers(
    name: str, answers: str | Path, prompt_ids: Sequence[str], rule: Rewarder, models: Mapping[str, str]
) -> SearchAnswers:
    """The answers of a folder of `openprm search`, graded; prompts that it lists as failed are wrong.

    `models` are the names of scorers by the hash of their model. Raises InputError where an answer cannot be graded,
    or only a part of the prompts was searched.
    """
    found = _graded(answers, rule)
    rows = [found[prompt_id] for prompt_id in prompt_ids if prompt_id in found]
    if not rows:
        raise InputError(f"answers {name!r} are to none of the candidates' prompts; answer the same prompts")
    failed = {failure.key for failure in read_rejected(answers)}
    missing = [
        prompt_id
        for prompt_id in prompt_ids
        if prompt_id not in found and prompt_key({"prompt_id": prompt_id}) not in failed
    ]
    if missing:
        raise InputError(
            f"answers {name!r} are to {len(rows)} of {len(prompt_ids)} prompts, and {REJECTED} does not list the "
            f"others as failed, such as {missing[0]!r}; answer all, or measure the candidates of these alone"
        )
    manifest = read_manifest(answers) if is_folder(answers) else {"inputs": {}, "parameters": {}}
    prm, rejection = manifest["inputs"].get("prm"), manifest["parameters"].get("rule")
    first = rows[0]
    return SearchAnswers(
        name=name,
        method=first["method"] + (f", risk {rejection['risk']:g}" if rejection else ""),
        budget=first["budget"],
        scorer=models.get(prm["hash"], prm["name"]) if prm else None,
        aggregation=first["aggregation"],
        correct=[found[prompt_id]["correct"] if prompt_id in found else 0.0 for prompt_id in prompt_ids],
        unanswered=len(prompt_ids) - len(rows),
        generated_tokens=sum(row["generated_tokens"] for row in rows) / len(prompt_ids),
        scored_tokens=sum(row["scored_tokens"] for row in rows) / len(prompt_ids),
    )


def _graded(answers: str | Path, rule: Rewarder) -> dict[str, dict[str, Any]]:
    """The answers by prompt, each with `correct`."""
    rows = list(read_rows(answers, Answer))
    ((_, outcomes),) = rule.rewards([RewardBatch(0, rows)])  # type: ignore[arg-type]
    found = {}
    for row, outcome in zip(rows, outcomes, strict=True):
        if outcome.reward is None:
            why = outcome.failure.reason if outcome.failure else "no reward"
            raise InputError(f"{answers}: the answer to {row['prompt_id']!r} cannot be graded: {why}")
        found[row["prompt_id"]] = {**row, "correct": outcome.reward["value"]}
    return found
