"""A small benchmark of pairs, and what is in the results of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SUMS = [(3, 4), (10, 7), (5, 5), (8, 1), (2, 9), (6, 6)]
PAIRS = [
    {
        "prompt": f"What is {a} + {b}?",
        "chosen": f"Add {a} and {b}.\nThe answer is {a + b}.",
        "rejected": f"Guess.\nThe answer is {a + b + 1}.",
        "subset": "odd" if (a + b) % 2 else "even",
    }
    for a, b in SUMS
]


def results(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_text())


def metric(result: Mapping[str, Any], model: str, name: str = "accuracy", subset: str = "") -> dict[str, Any]:
    [row] = [
        row
        for row in result["metrics"]
        if (row["part"], row["model"], row["metric"], row["subset"]) == ("", model, name, subset)
    ]
    return row
