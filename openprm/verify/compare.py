"""Differences between two datasets: the first one, or all of them, counted by kind.

`first_difference` is for datasets that should be equal, row by row; `compare_datasets` for two versions of one
dataset, whose rows are matched by the prompt, response or pair that they hold.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..hub.publication import RECORDS, open_publication, part_rows
from ..runs.folder import is_folder, read_manifest, read_rows, row_digest
from ..schema import Answer, Candidate, Pair, Prompt, Scored, Tree

Row = Mapping[str, Any]

EXAMPLES = 5  # shown of each kind of change

_RECORD_OF_STAGE: dict[str, type] = {
    "prompts": Prompt,
    "import": Candidate,
    "sample": Candidate,
    "reward": Candidate,
    "search": Answer,
    "trees": Tree,
    "pairs": Pair,
    "preferences": Pair,
    "score": Scored,
}
_UNITS: dict[type, str] = {
    Prompt: "prompts",
    Candidate: "responses",
    Answer: "answers",
    Tree: "trees",
    Pair: "pairs",
    Scored: "scores",
}
#: The columns that identify a row.
_KEYS: dict[type, tuple[str, ...]] = {
    Prompt: ("prompt_id",),
    Candidate: ("prompt_id", "sample_index"),
    Answer: ("prompt_id", "sample_index"),
    Tree: ("prompt_id",),
    Pair: ("prompt_id", "level", "context", "chosen", "rejected_context", "rejected"),
    Scored: ("prompt_id", "sample_index"),
}


class _Absent:
    """In place of a value that one side lacks."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()


@dataclass(frozen=True)
class Difference:
    """The first place where two datasets differ. `row` counts from 1; `field` is a path such as `nodes[3].value`."""

    row: int
    prompt_id: str | None
    field: str
    one: Any
    other: Any

    def __str__(self) -> str:
        where = f"row {self.row}" + (f", prompt {self.prompt_id!r}" if self.prompt_id is not None else "")
        if not self.field:
            return f"{where}: only one of the two has this row"
        return f"{where}, {self.field}: {short(self.one)}, not {short(self.other)}"


def first_difference(one: Iterable[Row], other: Iterable[Row], tolerance: float = 0.0) -> Difference | None:
    """The first difference of two datasets, row by row and field by field; None where they are equal.

    tolerance: numbers that differ by no more are equal.
    """
    for number, (a, b) in enumerate(zip_longest(one, other, fillvalue=ABSENT), 1):
        if isinstance(a, Mapping) and isinstance(b, Mapping) and row_digest(a) == row_digest(b):
            continue
        if (found := _first(a, b, "", tolerance)) is not None:
            row: Any = b if a is ABSENT else a
            return Difference(number, row.get("prompt_id"), *found)
    return None


def _first(one: Any, other: Any, path: str, tolerance: float = 0.0) -> tuple[str, Any, Any] | None:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = {**one, **other}
        parts = [
            (f"{path}.{name}" if path else name, one.get(name, ABSENT), other.get(name, ABSENT)) for name in names
        ]
    elif isinstance(one, list) and isinstance(other, list):
        pairs = zip_longest(one, other, fillvalue=ABSENT)
        parts = [(f"{path}[{index}]", *pair) for index, pair in enumerate(pairs)]
    else:
        return None if _equal(one, other, tolerance) else (path, one, other)
    return next((found for name, a, b in parts if (found := _first(a, b, name, tolerance)) is not None), None)


def _equal(one: Any, other: Any, tolerance: float) -> bool:
    """Equality as the row hash has it: NaN equals itself, and a missing value is not None."""
    if one is ABSENT or other is ABSENT:
        return one is other
    if (
        tolerance
        and isinstance(one, float)
        and isinstance(other, float)
        and math.isclose(one, other, abs_tol=tolerance, rel_tol=0)
    ):
        return True
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def short(value: Any) -> str:
    """A value on one line, for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}...{text[-7:]}"


@dataclass
class DatasetChanges:
    """How one version of a dataset differs from another: counts by kind of change, each with a few examples.

    unit: what a row is ("trees"). rows: their number before and after.
    """

    unit: str
    rows: tuple[int, int] = (0, 0)
    identical: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, example: str) -> None:
        self.counts[kind] += 1
        if len(shown := self.examples.setdefault(kind, [])) < EXAMPLES:
            shown.append(example)


def compare_rows(before: Iterable[Row], after: Iterable[Row], record: type) -> DatasetChanges:
    """The changes between two versions of a dataset of `record`s; each is read once.

    Only rows without their counterpart so far are held in memory.
    """
    changes = DatasetChanges(_UNITS[record])
    hashes, counts = (hashlib.sha256(), hashlib.sha256()), [0, 0]
    unmatched: tuple[dict[bytes, Row], dict[bytes, Row]] = ({}, {})
    for pair in zip_longest(_keyed(before, record), _keyed(after, record)):
        for side, entry in enumerate(pair):
            if entry is None:
                continue
            key, row = entry
            hashes[side].update(row_digest(row))
            counts[side] += 1
            unmatched[side][key] = row
            if key in unmatched[1 - side]:
                _add_changes(unmatched[0].pop(key), unmatched[1].pop(key), record, changes)
    for side, kind in enumerate(("removed", "added")):
        for row in unmatched[side].values():
            changes.add(f"{changes.unit} {kind}", _name(row, record))
    changes.rows = (counts[0], counts[1])
    changes.identical = hashes[0].digest() == hashes[1].digest()
    return changes


def _keyed(rows: Iterable[Row], record: type) -> Iterator[tuple[bytes, Row]]:
    """Each row with the digest of its key columns; rows with the same key are numbered."""
    seen: Counter[bytes] = Counter()
    for row in rows:
        key = row_digest({name: row[name] for name in _KEYS[record]})
        seen[key] += 1
        yield key + seen[key].to_bytes(4, "big"), row


def _add_changes(before: Row, after: Row, record: type, changes: DatasetChanges) -> None:
    for column in {**before, **after}:
        found = _first(before.get(column, ABSENT), after.get(column, ABSENT), column)
        if found is not None:
            path, old, new = found
            changes.add(f"{column} changed", f"{_name(after, record)}, {path}: {short(old)} -> {short(new)}")


def _name(row: Row, record: type) -> str:
    prompt = f"prompt {row['prompt_id']!r}"
    if record is Pair:
        return f"{prompt}, {row['level']}: {short(row['chosen'])} over {short(row['rejected'])}"
    return f"{prompt}, sample {row['sample_index']}" if "sample_index" in row else prompt


def compare_datasets(before: str | Path, after: str | Path, split: str | None = None) -> dict[str, DatasetChanges]:
    """The changes between two versions of a dataset, by split.

    Each is a stage's folder or a publication: OWNER/NAME[@REVISION] or a local folder. Without `split`, all splits
    that either has; a stage's folder is compared as the split asked for, else as `train`. Raises InputError where one
    is not a dataset, they are of different kinds, or there is no such split.
    """
    if split is None and (is_folder(before) or is_folder(after)):
        split = "train"
    (record, one), (record_after, other) = _open(before, split), _open(after, split)
    if record is not record_after:
        raise InputError(
            f"{before} holds {_UNITS[record]}, {after} {_UNITS[record_after]}; compare two of the same kind"
        )
    return {part: compare_rows(one.get(part, tuple)(), other.get(part, tuple)(), record) for part in {**one, **other}}


def _open(where: str | Path, split: str | None) -> tuple[type, dict[str, Callable[[], Iterable[Row]]]]:
    if is_folder(where):
        stage = read_manifest(where)["stage"]
        if stage not in _RECORD_OF_STAGE:
            known = ", ".join(_RECORD_OF_STAGE)
            raise InputError(f"{where} is not a dataset but the result of {stage!r}; give one of {known}")
        record = _RECORD_OF_STAGE[stage]
        return record, {split or "train": lambda: read_rows(where, record)}
    publication = open_publication(where)
    if publication.kind not in RECORDS:
        raise InputError(f"{where} is not a dataset but a {publication.kind}; give one of {', '.join(RECORDS)}")
    if split is not None and split not in publication.parts:
        raise InputError(f"{where} has no split {split!r}; there are {', '.join(publication.parts)}")
    parts = [*publication.parts] if split is None else [split]
    return RECORDS[publication.kind], {part: partial(part_rows, publication, part) for part in parts}


def change_lines(changes: Mapping[str, DatasetChanges]) -> Iterator[str]:
    """The changes by split, as lines of text."""
    for split, found in changes.items():
        if found.identical:
            yield f"{split}: identical, {found.rows[1]} {found.unit}"
            continue
        yield f"{split}: {found.rows[0]} {found.unit} before, {found.rows[1]} after"
        if not found.counts:
            yield "  the same rows in another order"
        for kind, count in found.counts.items():
            yield f"  {kind}: {count}"
            yield from (f"    {example}" for example in found.examples[kind])
            if count > EXAMPLES:
                yield "    ..."
