"""Rows of step labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openprm.labels.step_labels import CORRECT, step_labels
from openprm.schema import StepLabels


def labelled(labels: Sequence[float | None], sample: int = 0, prompt: str = "p", **columns: Any) -> StepLabels:
    """A response with so many steps."""
    steps = columns.pop("steps", None) or [f"{sample} step {index}.\n" for index in range(len(labels))]
    row = {
        "prompt_id": prompt,
        "source": "test",
        "question": [{"role": "user", "content": f"Question {prompt}?"}],
        "reference": None,
        "sample_index": sample,
    }
    return step_labels(row, steps, labels, **{"kind": CORRECT, "by": "test", **columns})
