"""Small files of sampled answers, and how to look at what a stage made of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openprm.runs.folder import read_manifest, read_rows


def answers(prompts: int, responses: int = 4, seed: int = 0) -> list[dict[str, Any]]:
    """Rows with question, response and reward, in which some steps are alike; prompts are interleaved."""
    draw = random.Random(seed)
    return [
        {
            "question": f"What is {prompt} + {prompt}?",
            "response": f"Let us add {prompt}.\n" * draw.randint(0, 1)
            + "".join(f"Step {draw.randint(0, 3)} of the long sum.\n" for _ in range(draw.randint(1, 3)))
            + f"It is {2 * prompt + draw.randint(0, 1)}",
            "reward": round(draw.gauss(0, 1), 3),
        }
        for _ in range(responses)
        for prompt in range(prompts)
    ]


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def rejected(folder: Path) -> list[dict[str, Any]]:
    path = folder / "rejected.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]] if path.exists() else []


def content(folder: Path) -> tuple[Any, ...]:
    """All that must be the same however a folder came to be: hash, rows, rejected rows, and which files there are."""
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return read_manifest(folder), list(read_rows(folder)), rejected(folder), files


def times(folder: Path) -> dict[str, int]:
    """When each file was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}
