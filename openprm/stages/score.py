"""The stage that scores responses step by step with a process reward model (paper, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..data.candidate_source import CandidateSource
from ..engines.specs import RewardSpec
from ..engines.step_scorer import ScoredAnswer, StepScorer
from ..errors import Failure
from ..runs.dataset import Rejections, finish_dataset, strictly
from ..runs.folder import REJECTED
from ..runs.manifest import Part, run_stage
from ..runs.progress import Report
from ..runs.shards import Made, Shards, Work, added, compute_missing, response_key, write_dataset
from ..schema import SCHEMA_VERSION, Candidate, Scored

RESPONSES_PER_SHARD = 2048


def score_candidates(
    candidates: CandidateSource,
    model: str | Path | RewardSpec,
    out: str | Path,
    *,
    aggregation: str | None = None,
    separator: str | None = None,
    part: Part | None = None,
    strict: bool = False,
    force: bool = False,
    replace_finished: bool = False,
) -> dict[str, Any]:
    """Stage: every response scored step by step. Returns the manifest, an empty one for a `part` of the run.

    Responses that cannot be scored (empty, or too long from the first step on) are listed in `rejected.jsonl`. `model`
    is a folder or a Hub id, which transformers loads in float32, or a `RewardSpec` that says another engine.
    """
    spec = model if isinstance(model, RewardSpec) else RewardSpec(str(model))

    def compute(taken: Iterable[tuple[int, Sequence[Any]]], report: Report) -> Iterator[tuple[int, list[Made]]]:
        scorer: StepScorer | None = None
        try:
            for index, rows in taken:
                scorer = scorer or StepScorer.load(spec, separator, aggregation)
                yield index, _score(scorer, rows, report)
        finally:
            if scorer is not None:
                scorer.close()

    def work(folder: Path) -> dict[str, Any]:
        stored = Shards(folder, Scored)
        described = Work(
            name="score",
            unit="responses",
            total=candidates.count(),
            per_shard=RESPONSES_PER_SHARD,
            shards=lambda: candidates.shards(RESPONSES_PER_SHARD),
            compute=compute,
            key=response_key,
            count=lambda rows: {
                "sum": math.fsum(row["score"] for row in rows),
                "truncated": sum(row["truncated"] for row in rows),
            },
        )
        compute_missing(stored, described, part, strict=strict)
        if part:
            return {}
        rejections = Rejections(folder / REJECTED, strict)
        for _ in rejections.filter(candidates.read()):
            pass
        files, notes = write_dataset(
            folder, stored, rejections, candidates.path, per_file=RESPONSES_PER_SHARD, allow_failures=True
        )
        totals = added(notes)
        counts = {
            "mean_score": round(totals["sum"] / max(sum(note.rows for note in notes), 1), 4),
            "truncated": totals["truncated"],
            "rejected": dict(rejections.counts),
        }
        return finish_dataset(folder, Scored, "scores", files, counts)

    parameters = {**candidates.parameters(), "aggregation": aggregation, "separator": separator}
    if (engine := spec.parameters()) != RewardSpec(spec.model).parameters():
        parameters["engine"] = engine
    inputs = {**candidates.inputs(), "model": spec.identity()}
    manifest = run_stage(
        out, "scores", parameters, inputs, work, force=force, replace_finished=replace_finished, part=part
    )
    return strictly(manifest, out) if strict else manifest


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
