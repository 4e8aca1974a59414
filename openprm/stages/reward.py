"""The stage that gives candidates an outcome reward (paper, section 3.1, step 2).

Several rewards may stand side by side on one candidate: run the stage once for each, one behind the other. The trees
are told which one to use.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

from ..data.candidates import CandidateSource
from ..errors import InputError
from ..rewards.base import RewardBatch, Rewarder, RewardResult, RuleRewarder
from ..rewards.registry import make_rewarder
from ..runs.dataset import Rejections, finish_dataset, most_common
from ..runs.declaration import execution, input_path, parameter
from ..runs.folder import REJECTED
from ..runs.processes import in_processes
from ..runs.progress import Report
from ..runs.provenance import Origin, inherited, unique
from ..runs.shards import Items, Made, Shards, Work, added, compute_missing, response_key, write_dataset
from ..schema import Candidate
from .import_candidates import CANDIDATES_PER_SHARD
from .shared_options import ReadsCandidates, RunsEngine, Sharded

CANDIDATES_PER_STORED_SHARD = 1024


@dataclass(frozen=True, kw_only=True)
class RewardResponses(RunsEngine, ReadsCandidates, Sharded, kind="reward"):
    """Give candidates an outcome reward (paper, section 3.1). Run again, further rewards stand side by side.

    A candidate that cannot be rewarded is kept as it is, and listed in rejected.jsonl; while a retry may help, the
    stage is not finished, unless --allow-failures: the same command retries only those.
    """

    by: str = parameter(
        "Against the reference: math; choice (a letter or its text); stated (after 'the answer is'), answer (else the "
        "last number), re:PATTERN. instructions (reference: IFEval's, as JSON); model; judge; file."
    )
    name: str | None = parameter("Name of the reward; default: golden, instructions, or the model's.", None)
    model: str | None = input_path("Reward model, or the judge: a folder, a Hub id, or its name on the servers.", None)
    checkpoint: str | None = parameter("The reward model's folder or id, where servers know it by another name.", None)
    dtype: str = parameter("auto, float32, bfloat16, ...", "float32")
    rubric: str | None = parameter("File with what the judge is to look at.", None, file=True)
    judgements: int = parameter("How often the judge is asked about each response.", 1)
    file: str | None = input_path("File of rewards by prompt_id and sample_index, for --by file.", None)
    file_column: str = parameter("The reward's column in that file.", "reward")
    num_proc: int = execution("Processes, for rewards by rule.", 1)
    derived = ("reward",)

    @cached_property
    def _rewarder(self) -> tuple[Rewarder, dict[str, str]]:
        """The rewarder, and what it reads besides the candidates, by role."""
        return make_rewarder(
            self.by,
            name=self.name,
            model=self.model,
            engine=self.engine,
            servers=self.servers,
            engine_options=self.engine_options,
            revision=self.revision,
            dtype=self.dtype,
            trust_remote_code=self.trust_remote_code,
            checkpoint=self.checkpoint,
            rubric=self.rubric,
            judgements=self.judgements,
            file=self.file,
            column=self.file_column,
        )

    def inputs(self) -> dict[str, str]:
        read = {role: path for role, path in super().inputs().items() if role in ("candidates", "questions")}
        return read | self._rewarder[1]

    def recorded(self) -> dict[str, Any]:
        rewarder = self._rewarder[0]
        return super().recorded() | {"name": rewarder.name, "reward": rewarder.describe()}

    def work(self, folder: Path) -> Mapping[str, Any]:
        source, rewarder = self.candidate_source(rewards=False), self._rewarder[0]
        if self.num_proc > 1 and not isinstance(rewarder, RuleRewarder):
            raise InputError("several processes serve rewards by rule alone; leave --num-proc out")
        stored = Shards(folder, Candidate)
        compute_missing(stored, _work(source, rewarder, self.num_proc), self.part, strict=self.strict)
        if self.part:
            return {}
        rejections = Rejections(folder / REJECTED, self.strict)
        skipped: Counter[str] = Counter()
        for _ in rejections.filter(source.read(skipped)):
            pass
        digests, notes = write_dataset(
            folder, stored, rejections, source.path, per_file=CANDIDATES_PER_SHARD, allow_failures=self.allow_failures
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
        described = rewarder.describe()  # servers tell nothing of a judge but its name
        judge = [Origin(name=described["judge"], kind="model", license=None)] if "judge" in described else []
        origins = unique([*inherited(self.inputs()), *judge])
        return {**finish_dataset(folder, Candidate, "candidates", digests, counts), "origins": origins}


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
