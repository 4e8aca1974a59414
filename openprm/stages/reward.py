"""The stage that gives candidates an outcome reward (paper, section 3.1, step 2).

A candidate may have several rewards: run the stage once for each, on the result of the run before. The trees
are told which one to use.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..rewards.base import RewardBatch, Rewarder, RewardResult, RuleRewarder
from ..rewards.registry import make_rewarder
from ..runs.dataset import most_common
from ..runs.declaration import execution, input_path, parameter
from ..runs.processes import in_processes
from ..runs.progress import Report
from ..runs.provenance import Origin, inherited, unique
from ..runs.shards import Items, Made, Shards, response_key
from ..schema import Candidate
from .sharded import Sharded, work_on_candidates
from .shared_options import ReadsCandidates, RunsEngine

CANDIDATES_PER_SHARD = 1024


@dataclass(frozen=True, kw_only=True)
class RewardResponses(RunsEngine, ReadsCandidates, Sharded, kind="reward"):
    """Give candidates an outcome reward (paper, section 3.1). Run it again to add further rewards.

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
    rubric: str | None = parameter("What the judge is to look at: a text, or @FILE.", None, file=True)
    judgements: int = parameter("How often the judge is asked about each response.", 1, above=0)
    file: str | None = input_path("File of rewards by prompt_id and sample_index, for --by file.", None)
    file_column: str = parameter("The reward's column in that file.", "reward")
    num_proc: int = execution("Processes, for rewards by rule.", 1, above=0)
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
        skipped: Counter[str] = Counter()

        def compute(shards: Iterable[tuple[int, Items]], report: Report) -> Iterator[tuple[int, list[Made]]]:
            if self.num_proc > 1:
                yield from in_processes(partial(_by_rule, rewarder, source.path), shards, self.num_proc)
                return
            batches = (RewardBatch(index, rows) for index, rows in shards)  # type: ignore[arg-type]
            with closing(rewarder):
                for batch, outcomes in rewarder.rewards(batches, report):
                    yield batch.index, _all_made(batch, outcomes, source.path)

        def count(rows: Items) -> dict[str, Any]:
            values = [reward["value"] for row in rows for reward in row["rewards"] if reward["name"] == rewarder.name]
            marks = Counter(mark for row in rows for mark in row["marks"])
            return {"rewarded": len(values), "sum": math.fsum(values), "marks": dict(marks)}

        def counts(totals: dict[str, Any]) -> dict[str, Any]:
            rewarded, rejected = totals["rewarded"], totals["rejected"]
            if not rewarded:
                Shards(folder, Candidate).discard()
                raise InputError(f"{source.path}: no candidate could be rewarded; " + most_common(Counter(rejected)))
            mean = round(totals["sum"] / rewarded, 4)
            return {
                "rewarded": rewarded,
                "mean_reward": mean,
                "marks": totals["marks"],
                "skipped": skipped["skipped"],
                "rejected": rejected,
            }

        described = work_on_candidates(f"reward {rewarder.name!r}", source, CANDIDATES_PER_SHARD, compute, count)
        result = self.make_dataset(
            folder, described, Candidate, "candidates", counts, strict=self.strict, unusable=source.failures(skipped)
        )
        facts = rewarder.describe()  # of a judge on servers only the name is known
        judge = [Origin(name=facts["judge"], kind="model", license=None)] if "judge" in facts else []
        return {**result, "origins": unique([*inherited(self.inputs()), *judge])}


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
