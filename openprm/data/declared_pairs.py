"""Outcome pairs from a preference dataset of the paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ..errors import Failure
from ..runs.folder import batched
from ..schema import Pair
from .paper_datasets import PairSource
from .prompts import source_rows
from .readers import convert_rows
from .text_readers import Row


def read_declared_pairs(
    source: PairSource, path: str | None = None, counts: Counter[str] | None = None
) -> Iterator[Pair | Failure]:
    """The outcome pairs of a source, and a Failure for each row that is damaged or has no partner.

    path: a file, or a folder laid out as the source is on the Hub, to read instead of the Hub. counts: filled with the
    number of "ties". Raises InputError, with the first item, if the Hub or the path does not give the source's rows.
    """
    counts = Counter() if counts is None else counts

    def group(numbered: Row) -> object:
        row = numbered[1]
        return object() if source.by is None or isinstance(row, Failure) else row.get(source.by)

    def grouped(rows: Iterator[Row]) -> Iterator[tuple[int, Any]]:
        for _, together in groupby(rows, group):
            for (number, first), *others in batched(together, 2):
                yield number, first if isinstance(first, Failure) else [first, *(row for _, row in others)]

    def pairs(number: int, rows: Any) -> Iterator[Pair]:
        pair = source.pair(rows, source.name)
        if pair is None:
            counts["ties"] += 1
        else:
            yield pair

    for file, rows in source_rows(source, path):
        yield from convert_rows(grouped(rows), file, pairs)
