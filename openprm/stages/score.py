"""The stage that scores responses step by step with a process reward model (paper, section 3.3)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..data.candidate_source import CandidateSource
from ..engines.specs import RewardSpec
from ..engines.step_scorer import ScoredAnswer, StepScorer
from ..errors import Failure, InputError
from ..runs.dataset import Rejections, finish_dataset, most_common, strictly, write_shards
from ..runs.folder import REJECTED
from ..runs.sharding import Made, Work, list_unfinished, response_key, rows_in_order, work_through
from ..runs.shared_stage import run_shared_stage
from ..runs.store import Store, Unfinished
from ..schema import SCHEMA_VERSION, Candidate, Scored

RESPONSES_PER_SHARD = 2048


def score_candidates(
    candidates: CandidateSource,
    model: str | Path | RewardSpec,
    out: str | Path,
    *,
    aggregation: str | None = None,
    separator: str | None = None,
    strict: bool = False,
    force: bool = False,
    replace_finished: bool = False,
) -> dict[str, Any]:
    """Stage: every response scored step by step. A killed run keeps its finished shards. Returns the manifest.

    Several processes may run this at once, with the same arguments. Responses that cannot be scored (empty, or too
    long from the first step on) are listed in `rejected.jsonl`. `model` is a folder or a Hub id, which transformers
    loads in float32, or a `RewardSpec` that says another engine. What another run has finished in `out` is kept: that
    raises InputError, unless `force` or `replace_finished`.
    """
    spec = model if isinstance(model, RewardSpec) else RewardSpec(str(model))

    def compute(taken: Iterable[tuple[int, Sequence[Any]]]) -> Iterator[tuple[int, list[Made]]]:
        scorer: StepScorer | None = None
        try:
            for index, rows in taken:
                scorer = scorer or StepScorer.load(spec, separator, aggregation)
                made = _score(scorer, rows)
                problem = next((one.unfinished for one in made if one.unfinished), None)
                if strict and problem:
                    raise InputError(
                        f"{candidates.path}, {problem.key}: {problem.reason}; {problem.remedy} (stopped by --strict)"
                    )
                yield index, made
        finally:
            if scorer is not None:
                scorer.close()

    def work(folder: Path) -> bool:
        described = Work(
            name="scoring",
            unit="responses",
            total=candidates.count(),
            shards=lambda: candidates.shards(RESPONSES_PER_SHARD),
            compute=compute,
            key=response_key,
            count=lambda items, rows: {"responses": len(items)},
        )
        return work_through(described, Store(folder, Scored))

    def finish(shared: Path, folder: Path) -> dict[str, Any]:
        store = Store(shared, Scored)
        rejections = Rejections(folder / REJECTED, strict)
        for _ in rejections.filter(candidates.read()):
            pass
        list_unfinished(store, rejections, candidates.path)
        scores: list[float] = []
        truncated: Counter[bool] = Counter()

        def scored() -> Iterator[dict[str, Any]]:
            for row in rows_in_order(store):
                scores.append(row["score"])
                truncated[row["truncated"]] += 1
                yield row

        written = write_shards(folder, scored(), Scored, RESPONSES_PER_SHARD)
        if not scores:
            store.discard()
            raise InputError(f"{candidates.path}: no response could be scored; " + most_common(rejections.counts))
        counts = {
            "mean_score": round(math.fsum(scores) / len(scores), 4),
            "truncated": truncated[True],
            "rejected": dict(rejections.counts),
        }
        return finish_dataset(folder, Scored, "scores", written, counts)

    parameters = {**candidates.parameters(), "aggregation": aggregation, "separator": separator}
    if (engine := spec.parameters()) != RewardSpec(spec.model).parameters():
        parameters["engine"] = engine
    inputs = {**candidates.inputs(), "model": spec.identity()}
    manifest = run_shared_stage(
        out, "scores", parameters, inputs, work, finish, force=force, replace_finished=replace_finished
    )
    assert manifest is not None  # there are no shares of this stage
    return strictly(manifest, out) if strict else manifest


def _score(scorer: StepScorer, rows: Sequence[Candidate]) -> list[Made]:
    return [_made(row, scored) for row, scored in zip(rows, scorer.score_rows(rows), strict=True)]


def _made(row: Candidate, scored: ScoredAnswer | Failure) -> Made:
    if isinstance(scored, Failure):
        return Made([], Unfinished(response_key(row), scored.reason, scored.remedy, scored.transient))
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
