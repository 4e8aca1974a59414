"""The stage that brings responses that exist already into the unified format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runs.dataset import Rejections, finish_dataset, write_shards
from ..runs.declaration import parameter
from ..runs.folder import REJECTED
from ..runs.progress import shown
from ..schema import Candidate
from .shared_options import ReadsCandidates


@dataclass(frozen=True, kw_only=True)
class ImportCandidates(ReadsCandidates, kind="import"):
    """Bring sampled responses into the unified format, one row a response."""

    no_reward: bool = parameter("The responses have no rewards yet.", False)

    def work(self, folder: Path) -> Mapping[str, Any]:
        rejections = Rejections(folder / REJECTED, self.strict)
        counts: Counter[str] = Counter()
        prompts: set[str] = set()
        marks: Counter[str] = Counter()
        source = self.candidate_source(rewards=not self.no_reward)

        def rows() -> Iterator[Candidate]:
            for row in shown(rejections.filter(source.read(counts)), "import"):
                prompts.add(row["prompt_id"])
                marks.update(row["marks"])
                yield row

        digests = write_shards(folder, rows(), Candidate)
        result = {"prompts": len(prompts), "marks": dict(marks), "skipped": counts["skipped"]}
        return finish_dataset(
            folder, Candidate, "candidates", digests, {**result, "rejected": dict(rejections.counts)}
        )
