"""The stage that scores responses step by step with a process reward model (paper, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..data.holdout import read_trained_on, write_trained_on
from ..engines.readout_scorer import load_scorer
from ..engines.specs import RewardSpec
from ..errors import Failure
from ..evaluation.accuracy import tied_share
from ..runs.declaration import input_path, parameter
from ..runs.folder import read_rows
from ..runs.progress import Report
from ..runs.shards import Items, Made
from ..schema import SCHEMA_VERSION, Scored
from ..scoring.scored_answer import ScoredAnswer
from .sharded import Sharded, work_on_candidates
from .shared_options import ReadsCandidates, RunsEngine, named_models, spec_of

RESPONSES_PER_SHARD = 2048


@dataclass(frozen=True, kw_only=True)
class Score(RunsEngine, ReadsCandidates, Sharded, kind="score"):
    """Score responses step by step with a process reward model. The same command resumes a killed run.

    Responses that cannot be scored (empty, or too long from the first step on) are listed in rejected.jsonl.
    """

    derived = ("named_models",)

    model: str = input_path(
        "Reward model: a folder, a Hub id, a YAML file that declares it, or its name on the servers."
    )
    aggregation: str | None = parameter("min, mean, last, ...; default: the model's own.", None)
    separator: str | None = parameter("Where steps end; default: the model's own.", None, escapes=True)
    checkpoint: str | None = parameter("The reward model's folder or id, where servers know it by another name.", None)
    dtype: str = parameter("auto, float32, bfloat16, ...", "float32")

    @cached_property
    def spec(self) -> RewardSpec:
        """The reward model and its engine."""
        spec: RewardSpec = spec_of(RewardSpec, self, self.model, checkpoint=self.checkpoint)
        return spec

    def inputs(self) -> dict[str, str]:
        return super().inputs() | {"model": self.spec.identity()}

    def recorded(self) -> dict[str, Any]:
        return super().recorded() | ({"named_models": self.named_models} if self.named_models else {})

    @cached_property
    def named_models(self) -> dict[str, dict[str, str]]:
        """What the model's declaration names."""
        return named_models(self.spec.source, self.revision)

    def work(self, folder: Path) -> Mapping[str, Any]:
        checkpoint = self.checkpoint or (None if self.servers else self.model)
        if checkpoint and (trained_on := read_trained_on(checkpoint, self.revision)):
            write_trained_on(folder, trained_on)
        candidates = self.candidate_source(rewards=False)
        described = work_on_candidates("score", candidates, RESPONSES_PER_SHARD, self._compute, _count)

        def counts(totals: Mapping[str, Any]) -> dict[str, Any]:
            mean = round(totals["sum"] / totals["rows"], 4)
            rows = ((row["prompt_id"], row["score"], "".join(row["steps"])) for row in read_rows(folder, Scored))
            kept = {name: totals[name] for name in ("truncated", "rejected")}
            return {"mean_score": mean, "tied_best_share": round(tied_share(rows), 4), **kept}

        return self.make_dataset(
            folder, described, Scored, "scores", counts, strict=self.strict, unusable=candidates.failures()
        )

    def _compute(self, shards: Iterable[tuple[int, Items]], report: Report) -> Iterator[tuple[int, list[Made]]]:
        with closing(load_scorer(self.spec, self.separator, self.aggregation)) as scorer:
            for index, rows in shards:
                yield index, [_made(*one) for one in zip(rows, scorer.score_rows(rows, report), strict=True)]


def _count(rows: Items) -> dict[str, Any]:
    return {
        "rows": len(rows),
        "sum": math.fsum(row["score"] for row in rows),
        "truncated": sum(row["truncated"] for row in rows),
    }


def _made(row: Mapping[str, Any], scored: ScoredAnswer | Failure) -> Made:
    if isinstance(scored, Failure):
        return Made([], scored)
    return Made(
        [
            Scored(
                schema_version=SCHEMA_VERSION,
                prompt_id=row["prompt_id"],
                source=row["source"],
                sample_index=row["sample_index"],
                steps=scored.steps,
                step_rewards=scored.step_rewards,
                score=scored.score,
                aggregation=scored.aggregation,
                truncated=scored.truncated,
                unit=scored.unit,
            )
        ]
    )
