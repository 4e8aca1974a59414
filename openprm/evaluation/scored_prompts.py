"""Candidates with golden rewards, and what models score them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..rewards.answer_equivalence import labels
from ..rewards.registry import GOLDEN
from ..runs.folder import is_folder, read_manifest, read_rows
from ..schema import Candidate, Scored
from .accuracy import PromptCandidates, aggregated_scores


@dataclass(frozen=True)
class ScoredPrompt:
    """The N candidates of one prompt; all lists are in their order.

    `correct` are the golden rewards. `steps` and `step_rewards` are by scorer, as in `Scored`: a reward is None where
    the step did not fit into the model; there is no step where a candidate could not be scored at all.
    """

    prompt_id: str
    rows: Sequence[Mapping[str, Any]]
    correct: Sequence[float]
    steps: dict[str, list[list[str]]] = field(default_factory=dict)
    step_rewards: dict[str, list[list[float | None]]] = field(default_factory=dict)

    def whole_rewards(self) -> dict[str, list[list[float]]]:
        """The step rewards of what was scored to its end; none of others, which rank last as in a search.

        An answer too long for the model would otherwise be compared by its prefix alone with whole ones.
        """
        return {
            name: [[] if None in rewards else [r for r in rewards if r is not None] for rewards in candidates]
            for name, candidates in self.step_rewards.items()
        }

    @property
    def responses(self) -> list[str]:
        return [row["response"] for row in self.rows]


def read_scored(candidates: str | Path, scores: Mapping[str, str | Path]) -> list[ScoredPrompt]:
    """The candidates by prompt, in order, with the scores of folders that `openprm score` made, by name.

    Raises InputError where prompts differ in their number of candidates, a candidate has no golden reward, or scores
    are of other responses.
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
        prompt = ScoredPrompt(prompt_id, rows, [values[0] for values in golden])
        for name, found in scored.items():
            taken = [found.get((prompt_id, row["sample_index"]), ([], [])) for row in rows]
            for row, (steps, _) in zip(rows, taken, strict=True):
                if steps and "".join(steps) != row["response"]:
                    raise InputError(
                        f"{scores[name]}: prompt {prompt_id!r}, sample {row['sample_index']} is not the response that "
                        f"{candidates} holds; score these candidates"
                    )
            prompt.steps[name] = [steps for steps, _ in taken]
            prompt.step_rewards[name] = [rewards for _, rewards in taken]
        prompts.append(prompt)
    for name, missing in unscored(prompts, scores).items():
        if missing == n * len(prompts):
            raise InputError(f"{scores[name]} has no score for any candidate of {candidates}; score these candidates")
    return prompts


def unscored(prompts: Sequence[ScoredPrompt], names: Iterable[str]) -> dict[str, int]:
    """How many candidates have no score, by scorer."""
    return {name: sum(not rewards for prompt in prompts for rewards in prompt.step_rewards[name]) for name in names}


def to_choose_from(
    prompts: Sequence[ScoredPrompt], aggregations: Sequence[str], equivalence: str, pattern: str
) -> list[PromptCandidates]:
    """What `openprm.evaluation.accuracy` measures: each prompt's answers (see
    `openprm.rewards.answer_equivalence.labels`) and scores."""
    return [
        PromptCandidates(
            responses=prompt.responses,
            correct=prompt.correct,
            answers=labels(prompt.responses, equivalence, pattern, prompt.rows[0]["question"]),
            scores=aggregated_scores(prompt.whole_rewards(), aggregations),
        )
        for prompt in prompts
    ]


def graded_by(candidates: str | Path) -> dict[str, Any] | None:
    """The rule that gave candidates their last reward, as it describes itself; None where no stage recorded one."""
    rule = read_manifest(candidates)["parameters"].get("reward") if is_folder(candidates) else None
    return rule if isinstance(rule, dict) else None


def scored_by(scores: str | Path) -> dict[str, Any] | None:
    """The model that gave scores (its hash), and how; None where the scores stage did not make them."""
    if not is_folder(scores) or (manifest := read_manifest(scores))["stage"] != "score":
        return None
    return {"hash": manifest["inputs"]["model"]["hash"], "parameters": manifest["parameters"]}
