"""What the stages that write datasets have in common: rejected rows, shards, and the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import InputError, Rejection
from .dataset_card import SplitFiles, write_card
from .folder import DATA, REJECTED, digests_path, shard_path, take_digests, write_shard


class Rejections:
    """Collects the rows that cannot be used in a new file; with `strict` raises at the first."""

    def __init__(self, path: Path, strict: bool):
        self.path = path
        self.strict = strict
        self.counts: Counter[str] = Counter()
        path.unlink(missing_ok=True)

    def add(self, rejection: Rejection) -> None:
        if self.strict:
            raise InputError(f"{rejection} (stopped by --strict)")
        self.counts[rejection.reason] += 1
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rejection.to_dict(), ensure_ascii=False) + "\n")

    def filter(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items that are not rejections."""
        for item in items:
            if isinstance(item, Rejection):
                self.add(item)
            else:
                yield item

    def absorb(self, path: Path) -> None:
        """Adds what another such file lists, if there is one."""
        if path.exists():
            with path.open(encoding="utf-8") as lines:  # not splitlines(): JSON leaves other line ends in a text
                for line in lines:
                    self.add(Rejection(**json.loads(line)))


def write_shards(folder: Path, rows: Iterator[Any], record: type, per_shard: int) -> int:
    """Writes all rows in shards of `per_shard`, streaming; returns the number of shards."""
    index = 0
    for first in rows:
        write_shard(folder, index, chain([first], islice(rows, per_shard - 1)), record)
        index += 1
    return index


def finish_dataset(folder: Path, record: type, title: str, shards: int, counts: dict[str, Any]) -> dict[str, Any]:
    """Hash and card of a dataset whose shards are written; returns what the manifest says of it."""
    rows, row_hash = take_digests(folder)
    if not rows:
        raise InputError(f"no {title} were left to write; " + most_common(Counter(counts.get("rejected", {}))))
    size = sum(shard_path(folder, index).stat().st_size for index in range(shards))
    splits = {"train": SplitFiles(f"{DATA}/train-*.parquet", rows, size)}
    write_card(folder, record, title, {"default": splits}, counts)
    return {"rows": rows, "row_hash": row_hash, "counts": counts}


def clear(folder: Path) -> None:
    """Removes what a killed run left, for a stage that is quicker to repeat than to resume."""
    for path in [*(folder / DATA).glob("*"), folder / REJECTED]:
        path.unlink(missing_ok=True)
    if (folder / DATA).exists():
        (folder / DATA).rmdir()


def strictly(manifest: dict[str, Any], out: str | Path) -> dict[str, Any]:
    """The manifest, unless an earlier run without `strict` made the folder and rejected a row."""
    listed = Path(out) / REJECTED
    if listed.exists():
        with listed.open(encoding="utf-8") as lines:
            raise InputError(f"{Rejection(**json.loads(next(lines)))} (stopped by --strict; {out} was made without)")
    return manifest


def most_common(rejected: Counter[str]) -> str:
    """Why most rows were rejected, for an error that says nothing was left."""
    if not rejected:
        return "the input is empty"
    reason, count = rejected.most_common(1)[0]
    return f"{sum(rejected.values())} rows were rejected, {count} of them for: {reason}"


def progress(rows: Iterable[Any], what: str) -> Iterator[Any]:
    """The rows, with a bar where somebody watches."""
    return iter(tqdm(rows, what, unit=" rows", disable=None))


def is_finished(folder: Path, index: int) -> bool:
    """Whether a killed run left this shard whole: with its digests, which are used up as the last thing."""
    return shard_path(folder, index).exists() and digests_path(folder, index).exists()
