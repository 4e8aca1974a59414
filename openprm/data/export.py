"""Rows of a dataset as a file for other programs: CSV or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runs.atomic import whole_file


def export_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Writes the rows, one at a time, to a file that appears when it is complete; returns how many there were.

    path: ends in .jsonl, or in .csv, where text stands as it is, null is empty and all else is JSON. `openprm import`
    reads candidates from both unchanged. Raises InputError for another suffix, or where there are no rows.
    """
    if path.suffix not in (".csv", ".jsonl") or path.is_dir():
        raise InputError(f"{path}: name a file that ends in .csv or .jsonl")
    rows = iter(rows)
    if (first := next(rows, None)) is None:
        raise InputError(f"there are no rows for {path}; check the folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file) if path.suffix == ".csv" else None
        if table:
            table.writerow(first)
        for row in chain([first], rows):
            if table:
                table.writerow(_cell(row.get(name)) for name in first)
            else:
                file.write(f"{_json(row)}\n")
            count += 1
    return count


def _cell(value: Any) -> str | None:
    return value if isinstance(value, str | None) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
