"""Outcome pairs of a preference dataset that the paper names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from ..errors import Failure
from ..runs.folder import batched
from ..schema import Pair
from .paper_datasets import PairSource
from .prompts import source_rows
from .readers import row_key
from .text_readers import Row


def read_declared_pairs(
    source: PairSource, path: str | None = None, counts: Counter[str] | None = None
) -> Iterator[Pair | Failure]:
    """The outcome pairs of a source, and a Failure for each row that is damaged or has no partner.

    path: a file, or a folder laid out as the source is on the Hub, to read instead of the Hub. counts: a counter to
    fill, of preferences that are "ties". Raises InputError, with the first item, if the Hub or the path does not give
    the source's rows.
    """
    counts = Counter() if counts is None else counts

    def group(numbered: Row) -> object:
        row = numbered[1]
        return object() if source.by is None or isinstance(row, Failure) else row.get(source.by)

    for file, rows in source_rows(source, path):
        for _, together in groupby(rows, group):
            for numbered in batched(together, 2):
                number, first = numbered[0]
                if isinstance(first, Failure):
                    yield first
                    continue
                try:
                    pair = source.pair([row for _, row in numbered], source.name)
                except Failure as failure:
                    yield failure.at(row_key(file, number))
                    continue
                if pair is None:
                    counts["ties"] += 1
                else:
                    yield pair
