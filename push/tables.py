"""Numbers of manifests as the tables and headers of cards have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_POWERS = ("1", "10", "100", *(f"{number}{unit}" for unit in "KMBT" for number in (1, 10, 100)))  # of ten


def compared(by_split: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Names of values (nested ones after a colon, underscores as spaces) with the value of each split, None where it
    has none. What is empty or none in all is left out.
    """
    flat = [dict(_flat(values)) for values in by_split.values()]
    names = dict.fromkeys(name for values in flat for name in values)
    return {name: [values.get(name) for values in flat] for name in names}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = prefix + name.replace("\n", "\\n").replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}: ")
        elif value is not None and value != []:
            yield path, value


def size_category(rows: int) -> str:
    """The Hub's category of a dataset's size.

    >>> size_category(999), size_category(1000), size_category(36_800)
    ('n<1K', '1K<n<10K', '10K<n<100K')
    """
    if rows < 1000:
        return "n<1K"
    power = len(str(rows)) - 1
    return f"{_POWERS[power]}<n<{_POWERS[power + 1]}"
