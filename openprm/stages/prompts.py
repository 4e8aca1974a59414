"""The stages that a run begins with: prompts, and outcome pairs of declared sources.

Where the data is from and its license stand in the manifest, under `origins`.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..data.columns import RowError
from ..data.paper_datasets import PairSource, pair_source
from ..data.prompts import DeclaredPrompts, PromptFile, source_inputs, source_parameters, source_rows
from ..errors import InputError, Rejection, Row
from ..runs.dataset import Rejections, finish_dataset, most_common, strictly, write_shards
from ..runs.folder import REJECTED
from ..runs.manifest import run_stage
from ..runs.progress import shown
from ..schema import Pair, Prompt
from ..trees.statistics import PairStatistics
from .datasets import write_unique

PROMPTS_PER_SHARD = 20_000


def make_prompts(
    source: PromptFile | DeclaredPrompts,
    out: str | Path,
    *,
    limit: int | None = None,
    seed: int = 0,
    strict: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: prompts, each question once, in the source's order. Returns the manifest.

    limit, seed: only so many, drawn at random (all, where there are fewer). Which ones depends on the seed and the
    ids alone, not on the order; a smaller limit gives a part of what a larger one gives. The counts give the paper's
    number of prompts beside the number here.
    """
    if limit is not None and limit < 1:
        raise InputError(f"the limit is {limit}; take at least one prompt, or leave it out")

    def work(folder: Path) -> dict[str, Any]:
        rejections = Rejections(folder / REJECTED, strict)
        counts: Counter[str] = Counter()
        found = rejections.filter(shown(source.read(counts), "prompts", "prompts"))
        kept = found if limit is None else draw(found, limit, seed, folder / ".prompts.jsonl", counts)

        def rows() -> Iterator[Prompt]:
            for prompt in kept:
                counts["prompts"] += 1
                counts["with_reference"] += prompt["reference"] is not None
                yield prompt

        shards = write_shards(folder, rows(), Prompt, PROMPTS_PER_SHARD)
        told = {
            **{name: counts[name] for name in ("prompts", "drawn_from", "with_reference", "duplicates", "skipped")},
            "in_the_paper": source.paper_rows,
            "rejected": dict(rejections.counts),
        }
        return {**finish_dataset(folder, Prompt, "prompts", shards, told), "origins": source.origins()}

    drawn = {} if limit is None else {"limit": limit, "seed": seed}
    manifest = run_stage(
        out, "prompts", {**source.parameters(), **drawn}, source.inputs(), work, force=force, replace_finished=True
    )
    return strictly(manifest, out) if strict else manifest


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


def make_source_pairs(
    name: str, out: str | Path, *, path: str | None = None, strict: bool = False, force: bool = False
) -> dict[str, Any]:
    """Stage: the outcome pairs of a declared source (see `openprm.data.paper_datasets`). Returns the manifest.

    path: a file, or a folder laid out as the source is on the Hub, to read instead of the Hub. The counts give the
    paper's number of pairs beside the number here.
    """
    source = pair_source(name)

    def work(folder: Path) -> dict[str, Any]:
        rejections = Rejections(folder / REJECTED, strict)
        read: Counter[str] = Counter()
        statistics = PairStatistics()
        pairs = rejections.filter(read_source_pairs(source, path, read))
        shards = write_unique(folder, shown(pairs, "pairs", "pairs"), statistics)
        if not statistics.pairs:
            raise InputError(f"{name}: no pair could be used; " + most_common(rejections.counts))
        told = {
            **statistics.summary(),
            "ties": read["ties"],
            "in_the_paper": source.paper_rows,
            "rejected": dict(rejections.counts),
        }
        return {**finish_dataset(folder, Pair, "pairs", shards, told), "origins": [source.origin()]}

    manifest = run_stage(
        out, "pairs", source_parameters(source, path), source_inputs(path), work, force=force, replace_finished=True
    )
    return strictly(manifest, out) if strict else manifest


def read_source_pairs(
    source: PairSource, path: str | None = None, counts: Counter[str] | None = None
) -> Iterator[Pair | Rejection]:
    """The outcome pairs of a source, and the rows that are damaged or have no partner.

    path: see `make_source_pairs`. counts: a counter to fill, of preferences that are "ties". Raises InputError, with
    the first item, where the Hub or the path does not give the source's rows.
    """
    counts = Counter() if counts is None else counts
    for file, rows in source_rows(source, path):
        for item in _grouped(rows, source.by):
            if isinstance(item, Rejection):
                yield item
                continue
            try:
                pair = source.pair([row for _, row in item], source.name)
            except RowError as error:
                yield Rejection(file, item[0][0], error.reason, error.remedy)
                continue
            if pair is None:
                counts["ties"] += 1
            else:
                yield pair


def _grouped(rows: Iterator[Row | Rejection], by: str | None) -> Iterator[list[Row] | Rejection]:
    """Two rows in a row with the same value in column `by`, or one alone."""
    held: list[Row] = []
    for item in rows:
        if isinstance(item, Rejection):
            yield item
        elif by is None:
            yield [item]
        elif held and held[0][1].get(by) == item[1].get(by):
            yield [held.pop(), item]
        else:
            if held:
                yield [held.pop()]
            held.append(item)
    if held:
        yield held
