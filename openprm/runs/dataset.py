"""What all stages that write datasets share: the list of rejected rows, the shards, hash and card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..errors import Failure, InputError
from .dataset_card import SplitFiles, write_card
from .folder import DATA, REJECTED, count_and_hash, write_shard

ROWS_PER_FILE = 20_000


class Rejections:
    """Lists what cannot be used, and why, in a new file; with `strict` raises InputError at the first.

    counts: how many by reason.
    """

    def __init__(self, path: Path, strict: bool = False):
        self.path = path
        self.strict = strict
        self.counts: Counter[str] = Counter()
        path.unlink(missing_ok=True)

    def add(self, failure: Failure) -> None:
        if self.strict:
            raise InputError(f"{failure} (stopped by --strict)")
        self.counts[failure.reason] += 1
        entry = {"key": failure.key, "reason": failure.reason, "remedy": failure.remedy}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def filter(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items that are not failures; those are added."""
        for item in items:
            if isinstance(item, Failure):
                self.add(item)
            else:
                yield item


def read_rejected(folder: str | Path) -> Iterator[Failure]:
    """What a stage listed as unusable in its folder."""
    path = Path(folder) / REJECTED
    if path.exists():
        with path.open(encoding="utf-8") as lines:  # not splitlines(): JSON leaves other line ends in a text
            for line in lines:
                yield Failure(**json.loads(line))


def write_shards(folder: Path, rows: Iterator[Any], record: type) -> bytes:
    """Writes all rows in files of `ROWS_PER_FILE`, streaming; returns their digests."""
    return b"".join(
        write_shard(folder, index, chain([first], islice(rows, ROWS_PER_FILE - 1)), record)
        for index, first in enumerate(rows)
    )


def finish_dataset(folder: Path, record: type, title: str, digests: bytes, counts: dict[str, Any]) -> dict[str, Any]:
    """Writes the card of a dataset whose shards are written, with these digests of all rows.

    Returns what the manifest says of it. Raises InputError where there are no rows.
    """
    rows, row_hash = count_and_hash(digests)
    if not rows:
        raise InputError(f"no {title} were left to write; " + most_common(Counter(counts.get("rejected", {}))))
    size = sum(path.stat().st_size for path in (folder / DATA).glob("train-*.parquet"))
    splits = {"train": SplitFiles(f"{DATA}/train-*.parquet", rows, size)}
    write_card(folder, record, title, {"default": splits}, counts)
    return {"rows": rows, "row_hash": row_hash, "counts": counts}


def most_common(rejected: Counter[str]) -> str:
    """Why most rows were rejected, for an error that says nothing was left."""
    if not rejected:
        return "the input is empty"
    reason, count = rejected.most_common(1)[0]
    return f"{sum(rejected.values())} rows were rejected, {count} of them for: {reason}"
