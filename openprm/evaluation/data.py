"""What an evaluation reads: candidates with golden rewards, what models score them, what searches answered."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ..decoding.selection import tie_weights
from ..errors import Failure, InputError
from ..rewards.answer_equivalence import labels
from ..rewards.base import RewardBatch, Rewarder
from ..rewards.exact_answer import DEFAULT_PATTERN
from ..rewards.registry import GOLDEN, make_rewarder, rule_from
from ..runs.dataset import read_rejected
from ..runs.folder import REJECTED, is_folder, read_manifest, read_rows
from ..runs.shards import prompt_key, response_key
from ..schema import Answer, Candidate, Scored
from ..scoring.aggregation import score_unit
from ..scoring.units import DEFAULT_UNIT
from .accuracy import PromptCandidates, aggregated_scores

#: What a score without information gives, as a kind of scorer (see `random_rewards`), and how many there are of it.
RANDOM = "random score"
_DRAWS = 10


class ScoredPrompt(PromptCandidates):
    """The candidates of one prompt with their `rows`; all lists are in their order.

    `steps` and `step_rewards` are by scorer, as in `Scored`: a reward is None where the step did not fit into the
    model; there is no step where a candidate could not be scored at all.
    """

    prompt_id: str
    rows: Sequence[Mapping[str, Any]]
    steps: dict[str, list[list[str]]]
    step_rewards: dict[str, list[list[float | None]]]


def random_groups(aggregations: Sequence[str]) -> dict[str, list[str]]:
    """The scorers by random rewards that `read_scored` adds, by group."""
    return {f"{RANDOM}/{one}": [f"{RANDOM} {draw}/{one}" for draw in range(_DRAWS)] for one in aggregations}


def random_rewards(prompt_id: str, responses: Sequence[Sequence[str]]) -> dict[str, list[list[float]]]:
    """Step rewards that say nothing, by scorer, for a prompt's `responses`, given as steps: a random number for each
    distinct prefix.

    Equal prefixes share their reward, as by any model. So a choice by it is even among distinct responses, not among
    samples: where right responses are repeated and wrong ones are not, it is worse than a single sample.
    """
    nodes: dict[tuple[int, str], int] = {}
    for steps in sorted(map(list, responses)):  # whatever their order
        node = 0
        for step in steps:
            node = nodes.setdefault((node, step), len(nodes) + 1)
    paths = [[*accumulate(steps, lambda node, step: nodes[node, step], initial=0)][1:] for steps in responses]
    seed = int.from_bytes(hashlib.blake2b(prompt_id.encode(), digest_size=8).digest(), "big")
    drawn = np.random.default_rng(seed).normal(size=(_DRAWS, len(nodes) + 1)).tolist()
    return {f"{RANDOM} {draw}": [[row[node] for node in path] for path in paths] for draw, row in enumerate(drawn)}


def read_scored(
    candidates: Iterable[Candidate],
    scores: Mapping[str, str | Path],
    aggregations: Sequence[str],
    reward_name: str,
    equivalence: str | None = None,
    pattern: str = DEFAULT_PATTERN,
    equal: bool = False,
) -> Iterator[ScoredPrompt | Failure]:
    """The candidates by prompt, in order, with the scores of folders that `openprm score` made, by name, and those of
    `random_groups`, by the steps and in the unit of the first of these folders.

    `correct` are the rewards of this name; `equivalence` and `pattern` say what the `answers` are (see
    `openprm.rewards.answer_equivalence.labels`); without an equivalence there are none. A failure for a prompt with a
    candidate without the reward, or (if they must be `equal`) with another number of candidates than most. Raises
    InputError where scores are of other responses or of several units, and ValueError for an aggregation that takes
    other units.
    """
    scored: dict[str, dict[tuple[str, int], Any]] = {name: {} for name in scores}
    units: dict[str, str] = {}
    for name, path in scores.items():
        for one in read_rows(path, Scored):
            scored[name][one["prompt_id"], one["sample_index"]] = one["steps"], one["step_rewards"]
            if (unit := units.setdefault(name, one["unit"])) != one["unit"]:
                both = f"{unit!r} and {one['unit']!r}"
                raise InputError(f"{path} holds rewards of the units {both}; score all responses by one model")
    like = next(iter(units.values()), DEFAULT_UNIT)
    by_scorer = {**units, **{f"{RANDOM} {draw}": like for draw in range(_DRAWS)}}
    of_scores = {f"{name}/{one}": score_unit(one, unit) for name, unit in by_scorer.items() for one in aggregations}
    grouped: dict[str, list[Candidate]] = {}
    for row in candidates:
        grouped.setdefault(row["prompt_id"], []).append(row)
    ((n, _),) = Counter(map(len, grouped.values())).most_common(1) or [(0, 0)]
    for prompt_id, rows in grouped.items():
        golden = [reward["value"] for row in rows for reward in row["rewards"] if reward["name"] == reward_name]
        if len(golden) != len(rows):
            reason = f"a candidate has not one reward {reward_name!r}"
            yield Failure(reason, "reward it, once", key=prompt_key(rows[0]))
            continue
        if equal and len(rows) != n:
            reason = f"not {n} candidates, as most prompts have, which a curve needs"
            yield Failure(reason, "sample it again", key=prompt_key(rows[0]))
            continue
        responses = [row["response"] for row in rows]
        found = {
            name: [some.get((prompt_id, row["sample_index"]), ([], [])) for row in rows]
            for name, some in scored.items()
        }
        for name, taken in found.items():
            for row, (steps, _) in zip(rows, taken, strict=True):
                if steps and "".join(steps) != row["response"]:
                    raise InputError(
                        f"{scores[name]}: {response_key(row)} is not the response that is to be measured; score these "
                        "candidates"
                    )
        step_rewards = {name: [rewards for _, rewards in taken] for name, taken in found.items()}
        split = {name: [steps for steps, _ in taken] for name, taken in found.items()}
        uninformed = random_rewards(prompt_id, next(iter(split.values()), [[response] for response in responses]))
        yield ScoredPrompt(
            prompt_id=prompt_id,
            rows=rows,
            responses=responses,
            correct=golden,
            answers=labels(responses, equivalence, pattern, rows[0]["question"])
            if equivalence
            else [None] * len(rows),
            scores=aggregated_scores({**step_rewards, **uninformed}, aggregations),
            units=of_scores,
            steps=split,
            step_rewards=step_rewards,
        )


def measured_reward(candidates: Sequence[Candidate], name: str | None) -> str:
    """The name of the reward that says which candidates are right: `name`, or else golden, or the only one there is.

    Raises InputError where there is no such reward.
    """
    names = sorted({reward["name"] for row in candidates for reward in row["rewards"]})
    chosen = name or (GOLDEN if GOLDEN in names else names[0] if len(names) == 1 else None)
    if chosen not in names:
        remedy = f"choose one of {', '.join(names)} with --reward-name" if names else "give them some: openprm reward"
        raise InputError(f"the candidates have no reward {chosen or GOLDEN!r} to measure by; {remedy}")
    return chosen


def ties_broken(prompts: Sequence[ScoredPrompt], model: str, aggregation: str) -> float:
    """The accuracy of best of N where ties are broken as a search breaks them (`tie_weights`), not averaged over."""
    chosen = []
    for prompt in prompts:
        keys = list(
            zip(prompt["scores"][f"{model}/{aggregation}"], tie_weights(prompt["step_rewards"][model]), strict=True)
        )
        best = max(keys)
        chosen.append(fmean(value for key, value in zip(keys, prompt["correct"], strict=True) if key == best))
    return fmean(chosen)


def unscored(prompts: Sequence[ScoredPrompt], names: Iterable[str]) -> dict[str, int]:
    """How many candidates have no score, by scorer."""
    return {name: sum(not rewards for prompt in prompts for rewards in prompt["step_rewards"][name]) for name in names}


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


def graded_by(candidates: str | Path) -> dict[str, Any] | None:
    """The rule that gave candidates their last reward, as it describes itself; None where no stage recorded one."""
    rule = read_manifest(candidates)["parameters"].get("reward") if is_folder(candidates) else None
    return rule if isinstance(rule, dict) else None


def scored_by(scores: str | Path) -> dict[str, Any] | None:
    """The model that gave scores (its hash), and how; None where the scores stage did not make them."""
    if not is_folder(scores) or (manifest := read_manifest(scores))["stage"] != "score":
        return None
    return {"hash": manifest["inputs"]["model"]["hash"], "parameters": manifest["parameters"]}
