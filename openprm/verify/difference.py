"""The first difference of two datasets that should be equal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any


class _Nothing:
    """Where one side has no value at all."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()

Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """The first place where two datasets differ. `row` counts from 1; `field` is a path such as nodes[3].value."""

    row: int
    prompt_id: str | None
    field: str
    published: Any
    rebuilt: Any

    def __str__(self) -> str:
        where = f"row {self.row}" + (f", prompt {self.prompt_id!r}" if self.prompt_id is not None else "")
        if not self.field:
            return f"{where}: there is {'more' if self.rebuilt is NOTHING else 'less'} published than rebuilt"
        return f"{where}, {self.field}: published {short(self.published)}, rebuilt {short(self.rebuilt)}"


def first_difference(published: Rows, rebuilt: Rows) -> Difference | None:
    """The first difference of two datasets, row by row and field by field; None where they are equal."""
    for number, (one, other) in enumerate(zip_longest(published, rebuilt, fillvalue=NOTHING), 1):
        row = other if one is NOTHING else one
        assert isinstance(row, Mapping)
        found = _first(one, other, "")
        if found is not None:
            return Difference(number, row.get("prompt_id"), *found)
    return None


def _first(one: Any, other: Any, path: str) -> tuple[str, Any, Any] | None:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = list({**one, **other})
        parts = [
            (f"{path}.{name}" if path else name, one.get(name, NOTHING), other.get(name, NOTHING)) for name in names
        ]
    elif isinstance(one, list) and isinstance(other, list):
        pairs = zip_longest(one, other, fillvalue=NOTHING)
        parts = [(f"{path}[{index}]", *pair) for index, pair in enumerate(pairs)]
    else:
        return None if equal(one, other) else (path, one, other)
    return next((found for name, a, b in parts if (found := _first(a, b, name)) is not None), None)


def equal(one: Any, other: Any) -> bool:
    """As the canonical hash sees it: NaN is equal to itself, and no value to none."""
    if one is NOTHING or other is NOTHING:
        return one is other
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def short(value: Any) -> str:
    """A value on one line, for people."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}...{text[-7:]}"
