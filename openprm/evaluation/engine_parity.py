"""Do all engines give the same rewards? Compared on a sample of one's own responses.

The reference is what the model is defined by: transformers in float32, one sequence a pass, nothing shared. Everything
else is an optimization, and compared with it: packed or plain passes, other batches and orders, other dtypes, vLLM,
servers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from ..decoding.selection import best_of_n
from ..engines.specs import RewardSpec
from ..engines.step_scorer import StepScorer
from ..errors import InputError
from ..runs.folder import row_digest
from ..schema import Candidate
from ..scoring.aggregation import aggregate
from ..scoring.scored_answer import ScoredAnswer

#: Responses of each prompt in a sample: best-of-N needs some.
EACH = 4

#: In which order and how many at a time n responses are scored: batches of their indices.
ORDERS: Mapping[str, Callable[[int], list[Sequence[int]]]] = {
    "all together": lambda n: [range(n)],
    "one by one": lambda n: [[i] for i in range(n)],  # no prompt is shared
    "backwards by three": lambda n: [range(n)[::-1][i : i + 3] for i in range(0, n, 3)],  # batches cut through prompts
}


@dataclass(frozen=True)
class Deviation:
    """How far step rewards, computed in one way, are from the reference.

    engine, dtype (None where a server hides it), batch: the way. largest, mean: absolute difference of a step's reward
    (inf for one that is missing). changed: for how many of the `prompts` with several responses the best one is
    another.
    """

    engine: str
    dtype: str | None
    batch: str
    largest: float
    mean: float
    changed: int
    prompts: int


def deviations(
    rows: Sequence[Candidate],
    model: RewardSpec,
    others: Sequence[RewardSpec],
    *,
    aggregation: str | None = None,
    separator: str | None = None,
) -> Iterator[Deviation]:
    """Compares the rewards of `rows` in each way with the reference, one way after the other.

    `model` is loaded by transformers in float32, `others` are what else to try (other dtypes, vLLM, servers). One
    model is loaded at a time. Responses that the reference cannot score are left out; InputError where all are.
    """
    spec = replace(model, engine="transformers", dtype="float32", servers=(), options={})
    plain = replace(spec, options={"packed": False})
    one_a_pass = replace(spec, options={"packed": False, "max_tokens": 1})
    (scored,) = _scored(one_a_pass, rows, ["all together"], separator, aggregation)
    usable = [(row, one) for row, one in zip(rows, scored, strict=True) if isinstance(one, ScoredAnswer)]
    if not usable:
        raise InputError(f"no response of {len(rows)} can be rewarded by {model.source}; give others")
    rows = [row for row, _ in usable]
    reference = [[reward for reward in one.step_rewards if reward is not None] for _, one in usable]
    chosen = usable[0][1].aggregation
    for other in (spec, plain, *others):
        plainly = ", plain" if other.options.get("packed") is False else ""
        engine = ", ".join(other.servers) or f"{other.engine}{plainly}"
        for batch, found in zip(ORDERS, _scored(other, rows, ORDERS, separator, chosen), strict=True):
            rewards = [one.step_rewards if isinstance(one, ScoredAnswer) else [] for one in found]
            compared = compare_rewards(reference, rewards, [row["prompt_id"] for row in rows], chosen)
            yield Deviation(engine, None if other.servers else other.dtype, batch, *compared)


def compare_rewards(
    reference: Sequence[Sequence[float]],
    found: Sequence[Sequence[float | None]],
    prompt_ids: Sequence[str],
    aggregation: str,
) -> tuple[float, float, int, int]:
    """`largest`, `mean`, `changed` and `prompts` (see `Deviation`) of two sets of step rewards of the same responses;
    `prompt_ids` says whose they are."""
    by_prompt: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    apart: list[float] = []
    for expected, rewards, prompt_id in zip(reference, found, prompt_ids, strict=True):
        usable = [reward for reward in rewards if reward is not None and math.isfinite(reward)]
        whole = len(usable) == len(expected)
        apart += [abs(a - b) for a, b in zip(expected, usable, strict=True)] if whole else [math.inf]
        score = aggregate(usable, aggregation) if whole else -math.inf
        by_prompt[prompt_id].append((aggregate(expected, aggregation), score))
    several = [scores for scores in by_prompt.values() if len(scores) > 1]  # of one response there is one choice
    best = [tuple(map(best_of_n, zip(*scores, strict=True))) for scores in several]
    return max(apart), fmean(apart), sum(left != right for left, right in best), len(best)


def sample(rows: Iterable[Candidate], n: int) -> list[Candidate]:
    """At least `n` non-empty responses, where there are as many: up to `EACH` of a prompt, of random prompts.

    Which prompts follows from their ids alone.
    """
    by_prompt: defaultdict[str, list[Candidate]] = defaultdict(list)
    for row in rows:
        if row["response"].strip() and len(by_prompt[row["prompt_id"]]) < EACH:
            by_prompt[row["prompt_id"]].append(row)
    chosen: list[Candidate] = []
    for prompt_id in sorted(by_prompt, key=lambda prompt_id: row_digest({"prompt_id": prompt_id})):
        if len(chosen) < n:
            chosen += by_prompt[prompt_id]
    return chosen


def _scored(
    spec: RewardSpec, rows: Sequence[Candidate], orders: Iterable[str], separator: str | None, aggregation: str | None
) -> Iterator[list[Any]]:
    """What the scorer gives for the rows, once for each order."""
    with closing(StepScorer.load(spec, separator, aggregation)) as scorer:
        for order in orders:
            found: dict[int, Any] = {}
            for batch in ORDERS[order](len(rows)):
                found |= zip(batch, scorer.score_rows([rows[i] for i in batch]), strict=True)
            yield [found[i] for i in range(len(rows))]
