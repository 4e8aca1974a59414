"""Rows of a dataset as a file for other programs: CSV or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runs.atomic import whole_file

_JSON = json.JSONEncoder(ensure_ascii=False, default=str)


def export_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Writes the rows, one at a time, to a file that appears when it is complete; returns how many there were.

    path: ends in .jsonl, or in .csv, where text stands as it is, null is empty and all else is JSON. `openprm import`
    reads candidates from both unchanged. Raises InputError for another suffix, or where there are no rows.
    """
    if path.suffix not in (".csv", ".jsonl") or path.is_dir():
        raise InputError(f"{path}: name a file that ends in .csv or .jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        for count, row in enumerate(rows, 1):
            if path.suffix == ".jsonl":
                file.write(f"{_JSON.encode(row)}\n")
                continue
            if count == 1:
                table.writerow(row)
            table.writerow(value if isinstance(value, str | None) else _JSON.encode(value) for value in row.values())
        if not count:
            raise InputError(f"there are no rows for {path}; check the folder")
    return count
