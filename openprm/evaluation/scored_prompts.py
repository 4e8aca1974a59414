"""Candidates with golden rewards, and what models score them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..rewards.answer_equivalence import DEFAULT_EQUIVALENCE, labels
from ..rewards.exact_answer import DEFAULT_PATTERN
from ..rewards.registry import GOLDEN
from ..runs.folder import is_folder, read_manifest, read_rows
from ..schema import Candidate, Scored
from .accuracy import PromptCandidates, aggregated_scores


class ScoredPrompt(PromptCandidates):
    """The candidates of one prompt with their `rows`; all lists are in their order.

    `steps` and `step_rewards` are by scorer, as in `Scored`: a reward is None where the step did not fit into the
    model; there is no step where a candidate could not be scored at all.
    """

    prompt_id: str
    rows: Sequence[Mapping[str, Any]]
    steps: dict[str, list[list[str]]]
    step_rewards: dict[str, list[list[float | None]]]


def read_scored(
    candidates: str | Path,
    scores: Mapping[str, str | Path],
    aggregations: Sequence[str],
    equivalence: str = DEFAULT_EQUIVALENCE,
    pattern: str = DEFAULT_PATTERN,
) -> list[ScoredPrompt]:
    """The candidates by prompt, in order, with the scores of folders that `openprm score` made, by name.

    `correct` are the golden rewards; `equivalence` and `pattern` say what the `answers` are (see
    `openprm.rewards.answer_equivalence.labels`). Raises InputError where prompts differ in their number of candidates,
    a candidate has no golden reward, or scores are of other responses.
    """
    scored = {
        name: {
            (row["prompt_id"], row["sample_index"]): (row["steps"], row["step_rewards"])
            for row in read_rows(path, Scored)
        }
        for name, path in scores.items()
    }
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(candidates, Candidate):
        grouped.setdefault(row["prompt_id"], []).append(row)
    n = len(next(iter(grouped.values()), []))
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
        responses = [row["response"] for row in rows]
        found = {
            name: [some.get((prompt_id, row["sample_index"]), ([], [])) for row in rows]
            for name, some in scored.items()
        }
        for name, taken in found.items():
            for row, (steps, _) in zip(rows, taken, strict=True):
                if steps and "".join(steps) != row["response"]:
                    raise InputError(
                        f"{scores[name]}: prompt {prompt_id!r}, sample {row['sample_index']} is not the response that "
                        f"{candidates} holds; score these candidates"
                    )
        step_rewards = {name: [rewards for _, rewards in taken] for name, taken in found.items()}
        prompts.append(
            ScoredPrompt(
                prompt_id=prompt_id,
                rows=rows,
                responses=responses,
                correct=[values[0] for values in golden],
                answers=labels(responses, equivalence, pattern, rows[0]["question"]),
                scores=aggregated_scores(step_rewards, aggregations),
                steps={name: [steps for steps, _ in taken] for name, taken in found.items()},
                step_rewards=step_rewards,
            )
        )
    for name, missing in unscored(prompts, scores).items():
        if missing == n * len(prompts):
            raise InputError(f"{scores[name]} has no score for any candidate of {candidates}; score these candidates")
    return prompts


def unscored(prompts: Sequence[ScoredPrompt], names: Iterable[str]) -> dict[str, int]:
    """How many candidates have no score, by scorer."""
    return {name: sum(not rewards for prompt in prompts for rewards in prompt["step_rewards"][name]) for name in names}


def graded_by(candidates: str | Path) -> dict[str, Any] | None:
    """The rule that gave candidates their last reward, as it describes itself; None where no stage recorded one."""
    rule = read_manifest(candidates)["parameters"].get("reward") if is_folder(candidates) else None
    return rule if isinstance(rule, dict) else None


def scored_by(scores: str | Path) -> dict[str, Any] | None:
    """The model that gave scores (its hash), and how; None where the scores stage did not make them."""
    if not is_folder(scores) or (manifest := read_manifest(scores))["stage"] != "score":
        return None
    return {"hash": manifest["inputs"]["model"]["hash"], "parameters": manifest["parameters"]}
