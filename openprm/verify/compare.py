"""Differences between two versions of a dataset: rows added, removed and changed, and the first few of them.

Rows are matched by the prompt, response or pair that they hold, whatever their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..hub.publication import RECORDS, open_publication, part_rows
from ..runs.folder import is_folder, read_rows, row_digest

Row = Mapping[str, Any]

_SHOWN = 5  # differences in a message
# the columns that identify a row, of those that it has
_KEY = ("prompt_id", "sample_index", "level", "context", "chosen", "rejected_context", "rejected")
_ABSENT = object()  # in place of a value that one side lacks


@dataclass
class Comparison:
    """How many rows are in both versions, or differ in some way; the first few differences as text."""

    matched: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    is_reordered: bool = False
    differences: list[str] = field(default_factory=list)

    @property
    def identical(self) -> bool:
        return not (self.added or self.removed or self.changed or self.is_reordered)

    def __str__(self) -> str:
        if self.identical:
            return f"identical, {self.matched} rows"
        counts = f"{self.added} added, {self.removed} removed, {self.changed} changed"
        if not self.differences:
            counts = "the same ones in another order"
        more = ["..."] if self.added + self.removed + self.changed > _SHOWN else []
        sizes = f"{self.matched + self.removed} rows before, {self.matched + self.added} after"
        return "\n  ".join([f"{sizes}: {counts}", *self.differences, *more])

    def _show(self, difference: str) -> None:
        if len(self.differences) < _SHOWN:
            self.differences.append(difference)


def compare_rows(before: Iterable[Row], after: Iterable[Row], tolerance: float = 0.0) -> Comparison:
    """Compares two versions of a dataset; each is read once, and only unmatched rows are held in memory.

    tolerance: numbers that differ by no more are equal. Raises InputError where the two hold different records.
    """
    found = Comparison()
    unmatched: tuple[dict[bytes, Row], dict[bytes, Row]] = ({}, {})
    for pair in zip_longest(_keyed(before), _keyed(after)):
        if pair[0] and pair[1] and pair[0][0] != pair[1][0]:
            if _key(pair[0][1]).keys() != _key(pair[1][1]).keys():
                raise InputError("the two hold different records; compare two datasets of the same kind")
            found.is_reordered = True
        for rows, entry in zip(unmatched, pair, strict=True):
            if entry is None:
                continue
            key, row = entry
            rows[key] = row
            if all(key in rows for rows in unmatched):
                found.matched += 1
                old, new = (rows.pop(key) for rows in unmatched)
                if row_digest(old) != row_digest(new) and (first := _first_difference(old, new, "", tolerance)):
                    found.changed += 1
                    found._show(f"{_name(new)}, {first}")
    found.removed, found.added = map(len, unmatched)
    for rows, kind in zip(unmatched, ("removed", "added"), strict=True):
        for row in rows.values():
            found._show(f"{_name(row)}: {kind}")
    return found


def _key(row: Row) -> dict[str, Any]:
    return {column: row[column] for column in _KEY if column in row}


def _keyed(rows: Iterable[Row]) -> Iterator[tuple[bytes, Row]]:
    """Each row with the digest of its key; rows with the same key are numbered."""
    seen: Counter[bytes] = Counter()
    for row in rows:
        key = row_digest(_key(row))
        seen[key] += 1
        yield key + seen[key].to_bytes(4, "big"), row


def _first_difference(one: Any, other: Any, path: str, tolerance: float) -> str | None:
    """The path and the two values of the first difference: `nodes[3].value: 0.5 -> 1.0`."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        dot = "." if path else ""
        parts = ((f"{path}{dot}{name}", one.get(name, _ABSENT), other.get(name, _ABSENT)) for name in {**one, **other})
    elif isinstance(one, list) and isinstance(other, list):
        items = zip_longest(one, other, fillvalue=_ABSENT)
        parts = ((f"{path}[{index}]", *pair) for index, pair in enumerate(items))
    else:
        return None if _equal(one, other, tolerance) else f"{path}: {_short(one)} -> {_short(other)}"
    return next((found for name, a, b in parts if (found := _first_difference(a, b, name, tolerance))), None)


def _equal(one: Any, other: Any, tolerance: float) -> bool:
    """Equality as the row hash has it: NaN equals itself; 1, 1.0 and True differ; so do a missing value and None."""
    if one is _ABSENT or other is _ABSENT:
        return one is other
    are_close = isinstance(one, float) and isinstance(other, float) and abs(one - other) <= tolerance
    # not for a tolerance of 0: 0.0 and -0.0 have different hashes
    return bool(tolerance and are_close) or row_digest({"value": one}) == row_digest({"value": other})


def _short(value: Any) -> str:
    """A value on one line."""
    text = "nothing" if value is _ABSENT else repr(value)
    return text if len(text) <= 60 else f"{text[:50]}...{text[-7:]}"


def _name(row: Row) -> str:
    prompt = f"prompt {row['prompt_id']!r}"
    if "chosen" in row:
        return f"{prompt}, {row['level']}: {_short(row['chosen'])} over {_short(row['rejected'])}"
    return f"{prompt}, sample {row['sample_index']}" if "sample_index" in row else prompt


def compare_datasets(before: str | Path, after: str | Path, split: str | None = None) -> dict[str, Comparison]:
    """Two versions of a dataset compared, by split.

    Each is a stage's folder or a publication: OWNER/NAME[@REVISION] or a local folder. Without `split`, all splits
    that either has; a stage's folder is compared as the split asked for, else as `train`. Raises InputError where one
    is not a dataset, they are of different kinds, or there is no such split.
    """
    if split is None and (is_folder(before) or is_folder(after)):
        split = "train"
    one, other = _splits(before, split), _splits(after, split)
    return {part: compare_rows(one.get(part, ()), other.get(part, ())) for part in {**one, **other}}


def _splits(where: str | Path, split: str | None) -> dict[str, Iterable[Row]]:
    """The rows of each split, which are read as they are iterated."""
    if is_folder(where):
        return {split or "train": read_rows(where)}
    publication = open_publication(where)
    if publication.kind not in RECORDS:
        raise InputError(f"{where} is not a dataset but a {publication.kind}; give one of {', '.join(RECORDS)}")
    return {part: part_rows(publication, part) for part in ([split] if split else publication.parts)}
