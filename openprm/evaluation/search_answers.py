"""What searches answered to the candidates' prompts, graded as the candidates were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
) -> tuple[dict[str, Any], list[float]]:
    """What a folder of `openprm search` is, and how correct each answer is; prompts that it lists as failed are wrong.

    `models` are the names of scorers by the hash of their model. The first has its `name`; `method`, what tells it
    from others, such as "pbs" or "best-of-n, risk 0.1"; `scorer` and `aggregation`, what it chose by (None for a plain
    vote); how many prompts are `unanswered`; `generated_tokens` and `scored_tokens`, means over the prompts; and its
    `line` and `n`, the budget, on the curve. Raises InputError where an answer cannot be graded, or only a part of the
    prompts was searched.
    """
    graded = list(read_rows(answers, Answer))
    ((_, outcomes),) = rule.rewards([RewardBatch(0, graded)])  # type: ignore[arg-type]
    found, correct = {}, {}
    for row, outcome in zip(graded, outcomes, strict=True):
        if outcome.reward is None:
            why = outcome.failure.reason if outcome.failure else "no reward"
            raise InputError(f"{answers}: the answer to {row['prompt_id']!r} cannot be graded: {why}")
        found[row["prompt_id"]], correct[row["prompt_id"]] = row, outcome.reward["value"]
    rows = [found[prompt_id] for prompt_id in prompt_ids if prompt_id in found]
    if not rows:
        raise InputError(f"answers {name!r} are to none of the candidates' prompts; answer the same prompts")
    failed = {failure.key for failure in read_rejected(answers)}
    missing = [one for one in prompt_ids if one not in found and prompt_key({"prompt_id": one}) not in failed]
    if missing:
        raise InputError(
            f"answers {name!r} are to {len(rows)} of {len(prompt_ids)} prompts, and {REJECTED} does not list the "
            f"others as failed, such as {missing[0]!r}; answer all, or measure the candidates of these alone"
        )
    manifest = read_manifest(answers) if is_folder(answers) else {"inputs": {}, "parameters": {}}
    prm, rejection = manifest["inputs"].get("prm"), manifest["parameters"].get("rule")
    first = rows[0]
    method = first["method"] + (f", risk {rejection['risk']:g}" if rejection else "")
    scorer = models.get(prm["hash"], prm["name"]) if prm else None
    return {
        "name": name,
        "method": method,
        "scorer": scorer,
        "aggregation": first["aggregation"],
        "unanswered": len(prompt_ids) - len(rows),
        "generated_tokens": sum(row["generated_tokens"] for row in rows) / len(prompt_ids),
        "scored_tokens": sum(row["scored_tokens"] for row in rows) / len(prompt_ids),
        "line": f"{method}: {scorer}/{first['aggregation']}" if scorer else method,
        "n": first["budget"],
    }, [correct.get(prompt_id, 0.0) for prompt_id in prompt_ids]
