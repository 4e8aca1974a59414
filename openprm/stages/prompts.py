"""The stage that makes prompts. Its manifest says where they are from and under which license (`origins`)."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..data.benchmark_prompts import DECLARED_PROMPTS
from ..data.paper_datasets import PromptSource, find_source
from ..data.prompts import PromptColumns, read_declared_prompts, read_prompts
from ..errors import Failure, InputError
from ..runs.dataset import Rejections, finish_dataset, write_shards
from ..runs.declaration import input_path, parameter
from ..runs.folder import REJECTED
from ..runs.progress import shown
from ..runs.provenance import inherited
from ..schema import Prompt
from .shared_options import ReadsRows, version_read


@dataclass(frozen=True, kw_only=True)
class Prompts(ReadsRows, kind="prompts"):
    """Bring questions into the unified format, each once: your own, or those of the paper."""

    prompts: str | None = input_path(
        "JSONL, CSV or Parquet file, a dataset, or a folder of prompts or candidates; with --declared a copy of that.",
        None,
        argument=True,
    )
    declared: str | None = parameter("Name of a dataset of the paper, such as scienceqa or math500.", None)
    question_column: str = parameter("Column of the question: text or chat messages.", "question")
    id_column: str | None = parameter("Column of the prompt id; default: a hash of the question.", None)
    reference_column: str | None = parameter("Column of the golden answer.", None)
    source_column: str | None = parameter("Column of each row's source.", None)
    options_column: str | None = parameter("Column with a list of answer options.", None)
    split: str | None = parameter("Split of a dataset (not of a file).", None)
    source: str | None = parameter("Name of the data's source; default: the file's name.", None)
    limit: int | None = parameter("Only so many prompts, drawn at random.", None, above=0)
    seed: int = parameter("Seed of that draw.", 0)
    derived = ("hub", "revision")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.declared is None and self.prompts is None:
            raise InputError("prompts need a file, a dataset or a folder, or the name of a --declared one")

    @cached_property
    def _declared(self) -> PromptSource | None:
        return find_source(DECLARED_PROMPTS, self.declared) if self.declared else None

    def recorded(self) -> dict[str, Any]:
        return super().recorded() | version_read(self._declared, self.prompts)

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Which prompts a limit keeps depends on the seed and the ids alone, not on the order; a smaller limit keeps a
        part of what a larger one keeps. The counts give the paper's number of prompts beside the number here.
        """
        rejections = Rejections(folder / REJECTED, self.strict)
        counts: Counter[str] = Counter()
        source = self._declared
        found = rejections.filter(shown(self._read(counts), "prompts", "prompts"))
        kept = found if self.limit is None else draw(found, self.limit, self.seed, folder / ".prompts.jsonl", counts)

        def rows() -> Iterator[Prompt]:
            for prompt in kept:
                counts["prompts"] += 1
                counts["with_reference"] += prompt["reference"] is not None
                yield prompt

        digests = write_shards(folder, rows(), Prompt)
        told = {
            **{name: counts[name] for name in ("prompts", "drawn_from", "with_reference", "duplicates", "skipped")},
            "in_the_paper": source.paper_rows if source else None,
            "rejected": dict(rejections.counts),
        }
        origins = [source.origin()] if source else inherited({"prompts": str(self.prompts)})
        return {**finish_dataset(folder, Prompt, "prompts", digests, told), "origins": origins}

    def _read(self, counts: Counter[str]) -> Iterator[Prompt | Failure]:
        if self._declared is not None:
            return read_declared_prompts(self._declared, self.prompts, counts)
        assert self.prompts is not None
        columns = PromptColumns(
            self.question_column, self.id_column, self.reference_column, self.source_column, self.options_column
        )
        return read_prompts(self.prompts, columns, split=self.split, source=self.source, counts=counts)


def draw(
    prompts: Iterable[Prompt], limit: int, seed: int, scratch: Path, counts: Counter[str] | None = None
) -> Iterator[Prompt]:
    """The `limit` prompts whose ids, hashed with the seed, come first; in their own order.

    They are held in the file `scratch`, of their texts none in memory. counts: a counter to fill, of "drawn_from".
    """
    counts = Counter() if counts is None else counts
    taken: list[tuple[int, str]] = []  # a heap with the last one on top
    with scratch.open("w", encoding="utf-8") as file:
        for prompt in prompts:
            counts["drawn_from"] += 1
            file.write(json.dumps(prompt, ensure_ascii=False) + "\n")
            rank = (-_rank(prompt["prompt_id"], seed), prompt["prompt_id"])
            if len(taken) < limit:
                heapq.heappush(taken, rank)
            else:
                heapq.heappushpop(taken, rank)
    ids = {prompt_id for _, prompt_id in taken}
    with scratch.open(encoding="utf-8") as file:
        for line in file:
            prompt = json.loads(line)
            if prompt["prompt_id"] in ids:
                yield prompt
    scratch.unlink()


def _rank(prompt_id: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"draw\0{seed}\0{prompt_id}".encode(), digest_size=8).digest(), "big")
