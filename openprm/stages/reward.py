"""The stage that gives candidates an outcome reward (paper, section 3.1, step 2).

Several rewards may stand side by side on one candidate: run the stage once for each, one behind the other. The trees
are told which one to use.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from ..data.candidate_source import CandidateSource
from ..errors import InputError
from ..rewards.base import Outcome, RewardBatch, Rewarder
from ..runs.dataset import Rejections, finish_dataset, most_common, strictly, write_shards
from ..runs.folder import REJECTED
from ..runs.processes import end_with_parent
from ..runs.provenance import Origin, inherited, unique
from ..runs.sharding import Made, Work, check_finished, list_unfinished, response_key, rows_in_order, work_through
from ..runs.shared_stage import run_shared_stage
from ..runs.store import Share, Store, Unfinished
from ..schema import Candidate
from .datasets import CANDIDATES_PER_SHARD

CANDIDATES_PER_STORED_SHARD = 1024
_SPAWN = get_context("spawn")  # forking a process that has threads (pyarrow's, torch's) can hang it


def reward_candidates(
    source: CandidateSource,
    rewarder: Rewarder,
    out: str | Path,
    *,
    inputs: Mapping[str, str | Path] | None = None,
    num_proc: int = 1,
    share: Share | None = None,
    allow_failures: bool = False,
    strict: bool = False,
    force: bool = False,
) -> dict[str, Any] | None:
    """Stage: the candidates, each with one more reward. Returns the manifest, or None where shards are left to others.

    `inputs` are what the rewarder reads besides (a model), by role. A candidate that cannot be rewarded is kept as it
    is, and listed in `rejected.jsonl`; while another try may help, the stage is not finished, but raises InputError,
    unless `allow_failures`: calling it again tries only those. `num_proc` processes work side by side, for rewards by
    rule; others may join from elsewhere, see `openprm.stages.sample.sample_candidates`.
    """
    job = _Job(source, rewarder, strict)

    def work(folder: Path) -> bool:
        helpers = [
            _SPAWN.Process(target=job.run, args=(folder, share, True), daemon=True) for _ in range(num_proc - 1)
        ]
        try:
            for helper in helpers:
                helper.start()
            complete = job.run(folder, share)  # where a helper dies, this process does its work
            for helper in helpers:
                helper.join()
        finally:
            for helper in helpers:
                if helper.is_alive():
                    helper.terminate()
        return complete or (bool(helpers) and job.run(folder, share, quiet=True))

    def finish(shared: Path, folder: Path) -> dict[str, Any]:
        store = Store(shared, Candidate)
        check_finished(store, out, allow_failures=allow_failures)
        rejections = Rejections(folder / REJECTED, strict)
        skipped: Counter[str] = Counter()
        for _ in rejections.filter(source.read(skipped)):
            pass
        list_unfinished(store, rejections, source.path)
        values: list[float] = []
        marks: Counter[str] = Counter()

        def candidates() -> Iterator[dict[str, Any]]:
            for row in rows_in_order(store):
                values.extend(reward["value"] for reward in row["rewards"] if reward["name"] == rewarder.name)
                marks.update(row["marks"])
                yield row

        written = write_shards(folder, candidates(), Candidate, CANDIDATES_PER_SHARD)
        if not values:
            store.discard()
            raise InputError(f"{source.path}: no candidate could be rewarded; " + most_common(rejections.counts))
        counts = {
            "rewarded": len(values),
            "mean_reward": round(math.fsum(values) / len(values), 4),
            "marks": dict(marks),
            "skipped": skipped["skipped"],
            "rejected": dict(rejections.counts),
        }
        # servers tell nothing of a judge but its name
        judge = [Origin(name=described["judge"], kind="model", license=None)] if "judge" in described else []
        origins = unique([*inherited(read), *judge])
        return {**finish_dataset(folder, Candidate, "candidates", written, counts), "origins": origins}

    described = rewarder.describe()
    parameters = {**source.parameters(), "name": rewarder.name, "reward": described}
    read = {**source.inputs(), **(inputs or {})}
    manifest = run_shared_stage(out, "rewards", parameters, read, work, finish, force=force)
    return strictly(manifest, out) if strict and manifest is not None else manifest


@dataclass(frozen=True)
class _Job:
    """What each process does; it can be sent to another."""

    source: CandidateSource
    rewarder: Rewarder
    strict: bool

    def run(self, folder: Path, share: Share | None, quiet: bool = False) -> bool:
        if parent_process() is not None:
            end_with_parent()
        work = Work(
            name=f"rewards {self.rewarder.name!r}",
            unit="candidates",
            total=self.source.count(),
            shards=lambda: self.source.shards(CANDIDATES_PER_STORED_SHARD),
            compute=self._compute,
            key=response_key,
            count=lambda items, rows: {"candidates": len(items)},
        )
        return work_through(work, Store(folder, Candidate), share, quiet=quiet)

    def _compute(self, taken: Iterable[tuple[int, Sequence[Mapping[str, Any]]]]) -> Iterator[tuple[int, list[Made]]]:
        batches = (RewardBatch(index, rows) for index, rows in taken)  # type: ignore[arg-type]
        first = next(batches, None)
        if first is None:  # nothing is loaded where nothing is missing
            return
        try:
            for batch, outcomes in self.rewarder.rewards(chain([first], batches)):
                pairs = zip(batch.candidates, outcomes, strict=True)
                made = [_made(candidate, outcome, self.source.path) for candidate, outcome in pairs]
                if self.strict and (problem := next((one.unfinished for one in made if one.unfinished), None)):
                    raise InputError(f"{self.source.path}, {problem.key}: {problem.reason} (stopped by --strict)")
                yield batch.index, made
        finally:
            self.rewarder.close()


def _made(candidate: Candidate, outcome: Outcome, file: str) -> Made:
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
    failure = outcome.failure
    if failure is None:
        return Made([row])
    return Made([row], Unfinished(response_key(candidate), failure.reason, failure.remedy, failure.transient))
