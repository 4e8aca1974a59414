"""Stages whose work is done in shards, which are kept as soon as they are finished: see `openprm.runs.shards`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.candidates import CandidateSource
from ..errors import Failure, InputError
from ..runs.dataset import Rejections, finish_dataset
from ..runs.declaration import Stage, execution
from ..runs.folder import REJECTED, batched, read_rows
from ..runs.manifest import Part
from ..runs.shards import Compute, Count, Shards, Work, added, compute_missing, prompt_key, response_key, write_dataset
from ..schema import Prompt


@dataclass(frozen=True, kw_only=True)
class Sharded(Stage):
    """A stage whose work is cut into shards that are kept when it is killed, and may be split over processes."""

    shard: str | None = execution("I/N: compute only the Ith of N parts of the shards.", None)
    allow_failures: bool = execution("Finish although something failed that a retry may get.", False)

    @property
    def part(self) -> Part | None:
        return None if self.shard is None else Part.parse(self.shard)

    def make_dataset(
        self,
        folder: Path,
        work: Work,
        record: type,
        title: str,
        counts_of: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        *,
        strict: bool = False,
        unusable: Iterable[Failure] = (),
    ) -> dict[str, Any]:
        """Computes the missing shards of the stage's part; where that is all, writes them as a dataset of `record`s.

        unusable: items of the source that are in no shard, to be listed. counts_of: the counts of the manifest, from
        those of all shards together and "rejected". Returns what the manifest says.
        """
        stored = Shards(folder, record)
        compute_missing(stored, work, self.part, strict=strict)
        if self.part:
            return {}
        rejections = Rejections(folder / REJECTED, strict)
        for failure in unusable:
            rejections.add(failure)
        digests, notes = write_dataset(folder, stored, rejections, work.source, allow_failures=self.allow_failures)
        counts = counts_of({**added(notes), "rejected": dict(rejections.counts)})
        return finish_dataset(folder, record, title, digests, counts)


def work_on_prompts(name: str, prompts: str, per_shard: int, compute: Compute, count: Count, **progress: Any) -> Work:
    """Work on the prompts of a folder or dataset. Raises InputError where a prompt_id stands in several rows."""
    rows = list(read_rows(prompts, Prompt))
    repeated = [prompt_id for prompt_id, count in Counter(row["prompt_id"] for row in rows).items() if count > 1]
    if repeated:
        raise InputError(f"{prompts}: prompt_id {repeated[0]!r} stands in several rows; give each prompt one")
    return Work(
        name=name,
        unit="prompts",
        source=prompts,
        total=len(rows),
        per_shard=per_shard,
        shards=lambda: batched(rows, per_shard),
        compute=compute,
        key=prompt_key,
        count=count,
        **progress,
    )


def work_on_candidates(name: str, candidates: CandidateSource, per_shard: int, compute: Compute, count: Count) -> Work:
    """Work on the candidates that can be used."""
    return Work(
        name=name,
        unit="candidates",
        source=candidates.path,
        total=candidates.count(),
        per_shard=per_shard,
        shards=lambda: candidates.shards(per_shard),
        compute=compute,
        key=response_key,
        count=count,
    )
