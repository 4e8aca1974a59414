"""Writes the results of an evaluation on benchmarks, and what people read of them, into its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .tables import document

RESULTS = "results.json"
TABLES = "tables.md"
PAGE = "report.html"


def write_report(results: Mapping[str, Any], folder: Path, command: str) -> None:
    """Writes `RESULTS`, `TABLES` and `PAGE`; `command` is what makes them again."""
    results = finite(results)
    (folder / RESULTS).write_text(json.dumps(results, indent=2, allow_nan=False) + "\n", "utf-8")
    (folder / TABLES).write_text(document(results), "utf-8")


def finite(value: Any) -> Any:
    """The same for JSON: a number that is not there (NaN, or an infinite one) is None."""
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
