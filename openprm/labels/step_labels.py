"""Rows of step labels: made, checked, and where their first error is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..errors import Failure
from ..schema import SCHEMA_VERSION, StepLabels

Kind = Literal["correct", "value"]
CORRECT: Kind = "correct"
VALUE: Kind = "value"
#: The `first_error` of a response without one.
NO_ERROR = -1


def step_labels(
    row: Mapping[str, Any],
    steps: Sequence[str],
    labels: Sequence[float | None],
    *,
    kind: Kind,
    by: str,
    support: Sequence[int | None] | None = None,
    first_error: int | None = None,
    correction: str | None = None,
) -> StepLabels:
    """Labels of the response in `row`, which has prompt_id, source, question, reference and sample_index.

    Raises Failure for labels that cannot be: see `check_labels`.
    """
    found = StepLabels(
        schema_version=SCHEMA_VERSION,
        prompt_id=row["prompt_id"],
        source=row["source"],
        question=row["question"],
        reference=row.get("reference"),
        sample_index=row["sample_index"],
        steps=list(steps),
        labels=list(labels),
        support=list(support) if support is not None else [None] * len(labels),
        first_error=first_error,
        correction=correction,
        kind=kind,
        by=by,
    )
    check_labels(found)
    return found


def check_labels(row: StepLabels) -> None:
    """Raises Failure where there are no steps, not as many labels as steps, none is known, one is outside [0, 1], or
    the first error is no step."""
    steps, labels = row["steps"], row["labels"]
    if not steps or not all(steps):
        raise Failure("the response has no steps, or an empty one", "leave it out, or give it all its steps")
    if not len(steps) == len(labels) == len(row["support"]):
        reason = f"there are {len(steps)} steps, {len(labels)} labels and {len(row['support'])} numbers of judgements"
        raise Failure(reason, "give one to each step, null where nobody looked")
    for index, label in enumerate(labels):
        if label is not None and not (math.isfinite(label) and 0 <= label <= 1):
            raise Failure(f"the label of step {index} is {label}", "labels are probabilities, from 0 to 1")
    if all(label is None for label in labels):
        raise Failure("no step has a label", "leave the response out, or have at least one step looked at")
    error = row["first_error"]
    if error is not None and not NO_ERROR <= error < len(steps):
        reason = f"the first wrong step is said to be {error}, but there are {len(steps)}"
        raise Failure(reason, f"give its index, from 0, or {NO_ERROR} where none is wrong")
    if row["kind"] == VALUE and error is not None:
        raise Failure("values have no first error", "harden them first: a low value is no wrong step yet")


def labels_until(error: int, n: int) -> list[float | None]:
    """Hard labels of n steps of which `error` is the first wrong one, or `NO_ERROR`; after it they are unknown."""
    right = n if error == NO_ERROR else error
    return [*[1.0] * right, 0.0, *[None] * n][:n]


def first_error(labels: Sequence[float | None], below: float = 0.5) -> int | None:
    """The index of the first label under `below`, `NO_ERROR` where none is, None where an earlier one is unknown."""
    for index, label in enumerate(labels):
        if label is None:
            return None
        if label < below:
            return index
    return NO_ERROR
