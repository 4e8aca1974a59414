"""What step labels are like, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .step_labels import NO_ERROR


def label_counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Numbers of responses, steps and labels, and of what they say.

    `judgements` is the sum of the support; `soft` labels are neither 0 nor 1; responses whose labels are all 0 or all
    1 (`all_zero`, `all_one`) teach little, as where a policy never or always solves a prompt.
    """
    counts: Counter[str] = Counter()
    for row in rows:
        known = [label for label in row["labels"] if label is not None]
        counts["responses"] += 1
        counts["steps"] += len(row["steps"])
        counts["labels"] += len(known)
        counts["judgements"] += sum(n or 0 for n in row["support"])
        counts["zero"] += known.count(0.0)
        counts["one"] += known.count(1.0)
        counts["soft"] += len(known) - known.count(0.0) - known.count(1.0)
        counts["all_zero"] += not any(known)
        counts["all_one"] += all(label == 1 for label in known)
        counts["first_error_known"] += row["first_error"] is not None
        counts["without_error"] += row["first_error"] == NO_ERROR
        counts["corrections"] += row["correction"] is not None
    return dict(counts)
