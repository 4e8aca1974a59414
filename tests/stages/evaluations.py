"""Evaluations of candidates and scores that are written by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openprm.stages.choices import Choices


def evaluate_models(candidates: Path, scores: dict[str, Path], out: Path, **options: Any) -> Any:
    return Choices(candidates=str(candidates), scores=scores, **options).run(out)


def scored(row: dict[str, Any], rewards: Sequence[float | None], aggregation: str = "min") -> dict[str, Any]:
    return {
        "schema_version": 1,
        "prompt_id": row["prompt_id"],
        "source": row["source"],
        "sample_index": row["sample_index"],
        "steps": [row["response"], *[""] * (len(rewards) - 1)],
        "step_rewards": list(rewards),
        "score": 0.0,
        "aggregation": aggregation,
        "truncated": None in rewards,
    }


def by_method(manifest: dict[str, Any]) -> dict[str, float]:
    return {row["method"]: row["accuracy"] for row in manifest["metrics"]}


def results(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_text())
