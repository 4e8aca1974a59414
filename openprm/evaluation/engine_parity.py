"""Do all engines give the same rewards? Compared on a sample of one's own responses.

The reference is what the model is defined by: transformers in float32, one sequence a pass, nothing shared. Everything
else is an optimization, and compared with it: packed or plain passes, other batches and orders, other dtypes, vLLM,
servers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from ..decoding.selection import best_of_n
from ..engines.specs import RewardSpec
from ..engines.step_scorer import StepScorer
from ..errors import InputError
from ..schema import Candidate
from ..scoring.aggregation import aggregate
from ..scoring.scored_answer import ScoredAnswer

#: Responses of each prompt in a sample: best-of-N needs some.
EACH = 4


@dataclass(frozen=True)
class Deviation:
    """How far rewards are from a reference: the largest and the mean absolute difference of a step's reward (inf for
    one that is missing), and for how many of the `prompts` with several responses the best one is another."""

    largest: float
    mean: float
    changed: int
    prompts: int


@dataclass(frozen=True)
class Comparison:
    """One way of computing rewards, and how far they were from the reference. `dtype` is None where a server hides it.

    `batch` says in which order and how many at a time the responses were handed over.
    """

    engine: str
    dtype: str | None
    batch: str
    deviation: Deviation


def compare_rewards(
    reference: Sequence[Sequence[float]],
    found: Sequence[Sequence[float | None]],
    prompt_ids: Sequence[str],
    aggregation: str,
) -> Deviation:
    """Two sets of step rewards of the same responses, `prompt_ids` saying whose they are.

    Raises ValueError where the numbers of responses differ, or there is none.
    """
    by_prompt: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    apart: list[float] = []
    for expected, rewards, prompt_id in zip(reference, found, prompt_ids, strict=True):
        usable = [reward for reward in rewards if reward is not None and math.isfinite(reward)]
        whole = len(usable) == len(expected)
        apart += [abs(a - b) for a, b in zip(expected, usable, strict=True)] if whole else [math.inf]
        score = aggregate(usable, aggregation) if whole else -math.inf
        by_prompt[prompt_id].append((aggregate(expected, aggregation), score))
    if not apart:
        raise ValueError("there are no rewards to compare")
    several = [scores for scores in by_prompt.values() if len(scores) > 1]  # of one response there is one choice
    best = [tuple(map(best_of_n, zip(*scores, strict=True))) for scores in several]
    return Deviation(max(apart), fmean(apart), sum(left != right for left, right in best), len(best))


def sample(rows: Iterable[Candidate], n: int) -> list[Candidate]:
    """At least `n` non-empty responses, where there are as many: up to `EACH` of a prompt, of as few prompts as that
    takes, spread evenly over the data."""
    by_prompt: defaultdict[str, list[Candidate]] = defaultdict(list)
    for row in rows:
        if row["response"].strip() and len(by_prompt[row["prompt_id"]]) < EACH:
            by_prompt[row["prompt_id"]].append(row)
    prompts = [group for group in by_prompt.values() if group]
    for wanted in range(min(len(prompts), math.ceil(n / EACH)), len(prompts)):
        chosen = [row for i in range(wanted) for row in prompts[i * len(prompts) // wanted]]
        if len(chosen) >= n:
            return chosen
    return [row for group in prompts for row in group]


def check_parity(
    rows: Sequence[Candidate],
    model: RewardSpec,
    others: Sequence[RewardSpec],
    *,
    aggregation: str | None = None,
    separator: str | None = None,
) -> Iterator[Comparison]:
    """Compares the rewards of `rows` in each way with the reference, one way after the other.

    `model` is loaded by transformers in float32, `others` are what else to try (other dtypes, vLLM, servers). One
    model is loaded at a time. Responses that the reference cannot score are left out; InputError where all are.
    """
    spec = replace(model, engine="transformers", dtype="float32", servers=(), options={})
    plain = replace(spec, options={"packed": False})
    one_a_pass = replace(spec, options={"packed": False, "max_tokens": 1})
    (scored,) = _scored(one_a_pass, rows, ["all together"], separator, aggregation)
    usable = {index: one for index, one in enumerate(scored) if isinstance(one, ScoredAnswer)}
    if not usable:
        raise InputError(f"no response of {len(rows)} can be rewarded by {model.source}; give others")
    rows = [rows[index] for index in usable]
    reference = [[reward for reward in one.rewards if reward is not None] for one in usable.values()]
    chosen = next(iter(usable.values())).aggregation
    prompt_ids = [row["prompt_id"] for row in rows]
    for other in (spec, plain, *others):
        for batch, found in zip(ORDERS, _scored(other, rows, ORDERS, separator, chosen), strict=True):
            rewards = [_rewards(one, len(expected)) for one, expected in zip(found, reference, strict=True)]
            deviation = compare_rewards(reference, rewards, prompt_ids, chosen)
            yield Comparison(_name(other), None if other.servers else other.dtype, batch, deviation)


#: In which order and how many at a time n responses are scored: batches of their indices.
ORDERS: Mapping[str, Callable[[int], list[Sequence[int]]]] = {
    "all together": lambda n: [range(n)],
    "one by one": lambda n: [[i] for i in range(n)],  # no prompt is shared
    "backwards by three": lambda n: [range(n)[::-1][i : i + 3] for i in range(0, n, 3)],  # batches cut through prompts
}


def _scored(
    spec: RewardSpec, rows: Sequence[Candidate], orders: Iterable[str], separator: str | None, aggregation: str | None
) -> Iterator[list[Any]]:
    """What the scorer gives for the rows, once for each order."""
    scorer = StepScorer.load(spec, separator, aggregation)
    try:
        for order in orders:
            found: dict[int, Any] = {}
            for batch in ORDERS[order](len(rows)):
                found |= zip(batch, scorer.score_rows([rows[i] for i in batch]), strict=True)
            yield [found[i] for i in range(len(rows))]
    finally:
        scorer.close()


def _rewards(scored: Any, steps: int) -> list[float | None]:
    return scored.rewards[:steps] if isinstance(scored, ScoredAnswer) else [None] * steps


def _name(spec: RewardSpec) -> str:
    if spec.servers:
        return ", ".join(spec.servers)
    return f"{spec.engine}, plain" if spec.options.get("packed") is False else spec.engine
