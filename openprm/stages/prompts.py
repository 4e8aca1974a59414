"""The stage that makes prompts. Its manifest says where they are from and under which license (`origins`)."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.paper_datasets import PROMPT_SOURCES, PairSource, PromptSource, Source, find_source
from ..data.prompts import PromptColumns, read_declared_prompts, read_prompts, source_rows
from ..data.readers import row_key
from ..data.text_readers import Row
from ..errors import Failure, InputError
from ..runs.dataset import Rejections, finish_dataset, write_shards
from ..runs.declaration import input_path, parameter
from ..runs.folder import REJECTED
from ..runs.progress import shown
from ..runs.provenance import inherited
from ..schema import Pair, Prompt
from .shared_options import ReadsRows


@dataclass(frozen=True, kw_only=True)
class Prompts(ReadsRows, kind="prompts"):
    """Bring questions into the unified format, each once: your own, or those of the paper."""

    prompts: str | None = input_path(
        "JSONL, CSV or Parquet file, a dataset, or a folder of prompts or candidates; with --declared a copy of that.",
        None,
        argument=True,
    )
    declared: str | None = parameter("A dataset of the paper: ultrafeedback, scienceqa or math.", None)
    question_column: str = parameter("Column of the question: text or chat messages.", "question")
    id_column: str | None = parameter("Column of the prompt id; default: a hash of the question.", None)
    reference_column: str | None = parameter("Column of the golden answer.", None)
    source_column: str | None = parameter("Column of each row's source.", None)
    options_column: str | None = parameter("Column with a list of answer options.", None)
    split: str | None = parameter("Split of a dataset (not of a file).", None)
    source: str | None = parameter("Name of the data's source; default: the file's name.", None)
    limit: int | None = parameter("Only so many prompts, drawn at random.", None)
    seed: int = parameter("Seed of that draw.", 0)
    derived = ("hub", "revision")

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InputError(f"the limit is {self.limit}; take at least one prompt, or leave it out")
        if self.declared is None and self.prompts is None:
            raise InputError("prompts need a file, a dataset or a folder, or the name of a --declared one")

    def recorded(self) -> dict[str, Any]:
        if self.declared is None:
            return super().recorded()
        return super().recorded() | source_version(find_source(PROMPT_SOURCES, self.declared), self.prompts)

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Which prompts a limit keeps depends on the seed and the ids alone, not on the order; a smaller limit keeps a
        part of what a larger one keeps. The counts give the paper's number of prompts beside the number here.
        """
        rejections = Rejections(folder / REJECTED, self.strict)
        counts: Counter[str] = Counter()
        source = find_source(PROMPT_SOURCES, self.declared) if self.declared else None
        found = rejections.filter(shown(self._read(source, counts), "prompts", "prompts"))
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

    def _read(self, source: PromptSource | None, counts: Counter[str]) -> Iterator[Prompt | Failure]:
        if source is not None:
            return read_declared_prompts(source, self.prompts, counts)
        assert self.prompts is not None
        columns = PromptColumns(
            self.question_column, self.id_column, self.reference_column, self.source_column, self.options_column
        )
        return read_prompts(self.prompts, columns, split=self.split, source=self.source, counts=counts)


def source_version(source: Source, path: str | None) -> dict[str, str]:
    """Which version of a declared dataset is read: a commit on the Hub, unless it is read from `path`."""
    return {"hub": source.hub, "revision": source.revision} if path is None else {}


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


def read_source_pairs(
    source: PairSource, path: str | None = None, counts: Counter[str] | None = None
) -> Iterator[Pair | Failure]:
    """The outcome pairs of a source, and the rows that are damaged or have no partner.

    path: a file, or a folder laid out as the source is on the Hub, to read instead of the Hub. counts: a counter to
    fill, of preferences that are "ties". Raises InputError, with the first item, where the Hub or the path does not
    give the source's rows.
    """
    counts = Counter() if counts is None else counts
    for file, rows in source_rows(source, path):
        for item in _grouped(rows, source.by):
            if isinstance(item, Failure):
                yield item
                continue
            number, group = item
            try:
                pair = source.pair(group, source.name)
            except Failure as failure:
                yield failure.at(row_key(file, number))
                continue
            if pair is None:
                counts["ties"] += 1
            else:
                yield pair


def _grouped(rows: Iterator[Row], by: str | None) -> Iterator[tuple[int, list[dict[str, Any]]] | Failure]:
    """The number of the first, and two rows in a row with the same value in column `by`, or one alone."""
    held: tuple[int, list[dict[str, Any]]] | None = None
    for number, row in rows:
        if isinstance(row, Failure):
            yield row
        elif by is None:
            yield number, [row]
        elif held and held[1][0].get(by) == row.get(by):
            yield held[0], [*held[1], row]
            held = None
        else:
            if held:
                yield held
            held = number, [row]
    if held:
        yield held
