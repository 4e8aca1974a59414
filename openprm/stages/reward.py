"""The stage that gives candidates an outcome reward (paper, section 3.1, step 2).

Several rewards may stand side by side on one candidate: run the stage once for each, one behind the other. The trees
are told which one to use.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from ..data.candidate_source import CandidateSource
from ..errors import InputError
from ..rewards.base import RewardBatch, Rewarder, RewardResult, RuleRewarder
from ..runs.dataset import Rejections, finish_dataset, most_common, strictly
from ..runs.folder import REJECTED
from ..runs.manifest import Part, run_stage
from ..runs.processes import in_processes
from ..runs.progress import Report
from ..runs.provenance import Origin, inherited, unique
from ..runs.shards import Items, Made, Shards, Work, added, compute_missing, response_key, write_dataset
from ..schema import Candidate
from .datasets import CANDIDATES_PER_SHARD

CANDIDATES_PER_STORED_SHARD = 1024


def reward_candidates(
    source: CandidateSource,
    rewarder: Rewarder,
    out: str | Path,
    *,
    inputs: Mapping[str, str | Path] | None = None,
    num_proc: int = 1,
    part: Part | None = None,
    allow_failures: bool = False,
    strict: bool = False,
    force: bool = False,
    replace_finished: bool = False,
) -> dict[str, Any]:
    """Stage: the candidates, each with one more reward. Returns the manifest, an empty one for a `part` of the run.

    `inputs` are what the rewarder reads besides (a model), by role. A candidate that cannot be rewarded is kept as it
    is, and listed in `rejected.jsonl`; while another try may help, the stage is not finished, but raises InputError,
    unless `allow_failures`: calling it again retries only those. Rewards by rule are computed by `num_proc` processes.
    """
    if num_proc > 1 and not isinstance(rewarder, RuleRewarder):
        raise InputError("several processes serve rewards by rule alone; leave --num-proc out")

    def work(folder: Path) -> dict[str, Any]:
        stored = Shards(folder, Candidate)
        compute_missing(stored, _work(source, rewarder, num_proc), part, strict=strict)
        if part:
            return {}
        rejections = Rejections(folder / REJECTED, strict)
        skipped: Counter[str] = Counter()
        for _ in rejections.filter(source.read(skipped)):
            pass
        files, notes = write_dataset(
            folder, stored, rejections, source.path, per_file=CANDIDATES_PER_SHARD, allow_failures=allow_failures
        )
        totals = added(notes)
        if not totals.get("rewarded"):
            stored.discard()
            raise InputError(f"{source.path}: no candidate could be rewarded; " + most_common(rejections.counts))
        counts = {
            "rewarded": totals["rewarded"],
            "mean_reward": round(totals["sum"] / totals["rewarded"], 4),
            "marks": totals["marks"],
            "skipped": skipped["skipped"],
            "rejected": dict(rejections.counts),
        }
        # servers tell nothing of a judge but its name
        judge = [Origin(name=described["judge"], kind="model", license=None)] if "judge" in described else []
        origins = unique([*inherited(read), *judge])
        return {**finish_dataset(folder, Candidate, "candidates", files, counts), "origins": origins}

    described = rewarder.describe()
    parameters = {**source.parameters(), "name": rewarder.name, "reward": described}
    read = {**source.inputs(), **(inputs or {})}
    manifest = run_stage(
        out, "rewards", parameters, read, work, force=force, replace_finished=replace_finished, part=part
    )
    return strictly(manifest, out) if strict else manifest


def _work(source: CandidateSource, rewarder: Rewarder, num_proc: int) -> Work:
    def compute(taken: Iterable[tuple[int, Items]], report: Report) -> Iterator[tuple[int, list[Made]]]:
        if num_proc > 1:
            yield from in_processes(partial(_by_rule, rewarder, source.path), taken, num_proc)
            return
        batches = (RewardBatch(index, rows) for index, rows in taken)  # type: ignore[arg-type]
        first = next(batches, None)
        if first is None:  # nothing is loaded where nothing is missing
            return
        try:
            for batch, outcomes in rewarder.rewards(chain([first], batches), report):
                yield batch.index, _all_made(batch, outcomes, source.path)
        finally:
            rewarder.close()

    def count(rows: Items) -> dict[str, Any]:
        values = [reward["value"] for row in rows for reward in row["rewards"] if reward["name"] == rewarder.name]
        marks = Counter(mark for row in rows for mark in row["marks"])
        return {"rewarded": len(values), "sum": math.fsum(values), "marks": dict(marks)}

    return Work(
        name=f"reward {rewarder.name!r}",
        unit="candidates",
        total=source.count(),
        per_shard=CANDIDATES_PER_STORED_SHARD,
        shards=lambda: source.shards(CANDIDATES_PER_STORED_SHARD),
        compute=compute,
        key=response_key,
        count=count,
    )


def _by_rule(rewarder: Rewarder, file: str, taken: tuple[int, Items]) -> tuple[int, list[Made]]:
    ((batch, outcomes),) = rewarder.rewards([RewardBatch(*taken)])  # type: ignore[arg-type]
    return batch.index, _all_made(batch, outcomes, file)


def _all_made(batch: RewardBatch, outcomes: Sequence[RewardResult], file: str) -> list[Made]:
    pairs = zip(batch.candidates, outcomes, strict=True)
    return [_made(candidate, outcome, file) for candidate, outcome in pairs]


def _made(candidate: Candidate, outcome: RewardResult, file: str) -> Made:
    rewards = list(candidate["rewards"])
    if outcome.reward is not None:
        name = outcome.reward["name"]
        if any(reward["name"] == name for reward in rewards):
            raise InputError(
                f"{file}: {response_key(candidate)} has a reward {name!r} already; give this one another --name"
            )
        rewards.append(outcome.reward)
    marks = list(dict.fromkeys([*candidate["marks"], *outcome.marks]))
    row: Candidate = {**candidate, "rewards": rewards, "marks": marks}
    return Made([row], outcome.failure)
