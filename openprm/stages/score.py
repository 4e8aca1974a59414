"""The stage that scores responses step by step with a process reward model (paper, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..engines.specs import RewardSpec
from ..engines.step_scorer import StepScorer
from ..errors import Failure
from ..runs.dataset import Rejections, finish_dataset
from ..runs.declaration import input_path, parameter
from ..runs.folder import REJECTED
from ..runs.progress import Report
from ..runs.shards import Made, Shards, Work, added, compute_missing, response_key, write_dataset
from ..schema import SCHEMA_VERSION, Candidate, Scored
from ..scoring.scored_answer import ScoredAnswer
from .shared_options import ReadsCandidates, RunsEngine, Sharded, spec_of

RESPONSES_PER_SHARD = 2048


@dataclass(frozen=True, kw_only=True)
class Score(RunsEngine, ReadsCandidates, Sharded, kind="score"):
    """Score responses step by step with a process reward model. The same command resumes a killed run.

    Responses that cannot be scored (empty, or too long from the first step on) are listed in rejected.jsonl.
    """

    model: str = input_path("Reward model: a folder, a Hub id, or its name on the servers.")
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

    def work(self, folder: Path) -> Mapping[str, Any]:
        candidates = self.candidate_source(rewards=False)
        stored = Shards(folder, Scored)
        described = Work(
            name="score",
            unit="responses",
            total=candidates.count(),
            per_shard=RESPONSES_PER_SHARD,
            shards=lambda: candidates.shards(RESPONSES_PER_SHARD),
            compute=self._compute,
            key=response_key,
            count=lambda rows: {
                "sum": math.fsum(row["score"] for row in rows),
                "truncated": sum(row["truncated"] for row in rows),
            },
        )
        compute_missing(stored, described, self.part, strict=self.strict)
        if self.part:
            return {}
        rejections = Rejections(folder / REJECTED, self.strict)
        for _ in rejections.filter(candidates.read()):
            pass
        digests, notes = write_dataset(
            folder,
            stored,
            rejections,
            candidates.path,
            per_file=RESPONSES_PER_SHARD,
            allow_failures=self.allow_failures,
        )
        totals = added(notes)
        counts = {
            "mean_score": round(totals["sum"] / max(sum(note.rows for note in notes), 1), 4),
            "truncated": totals["truncated"],
            "rejected": dict(rejections.counts),
        }
        return finish_dataset(folder, Scored, "scores", digests, counts)

    def _compute(self, taken: Iterable[tuple[int, Sequence[Any]]], report: Report) -> Iterator[tuple[int, list[Made]]]:
        scorer: StepScorer | None = None
        try:
            for index, rows in taken:
                scorer = scorer or StepScorer.load(self.spec, self.separator, self.aggregation)
                yield index, _score(scorer, rows, report)
        finally:
            if scorer is not None:
                scorer.close()


def _score(scorer: StepScorer, rows: Sequence[Candidate], report: Report) -> list[Made]:
    return [_made(row, scored) for row, scored in zip(rows, scorer.score_rows(rows, report), strict=True)]


def _made(row: Candidate, scored: ScoredAnswer | Failure) -> Made:
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
                step_rewards=scored.rewards,
                score=scored.score,
                aggregation=scored.aggregation,
                truncated=scored.truncated,
            )
        ]
    )
