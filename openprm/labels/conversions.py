"""What is made of step labels: hard labels, agreement of two sources, points and pairs. Pure functions."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypedDict

from ..errors import Failure
from ..schema import SCHEMA_VERSION, Message, Pair, StepLabels, Support
from .step_labels import CORRECT, NO_ERROR, first_error


def harden(row: StepLabels, threshold: float = 0.0) -> StepLabels:
    """Labels 1 and 0, of kind `correct`: right is what is above the threshold.

    Of values from rollouts the threshold 0 says: right is a step from which any rollout ended well (Math-Shepherd).
    Lessons of PRMs (Zhang et al., 2025) tried thresholds from 0 to 7/8 and found 0 best.
    """
    labels = [None if label is None else float(label > threshold) for label in row["labels"]]
    error = first_error(labels)
    if error is None and row["first_error"] is not None:
        error = row["first_error"]
    return {**row, "labels": labels, "first_error": error, "kind": CORRECT}


def cut(row: StepLabels) -> StepLabels:
    """Without the labels after the first error: whether what follows a wrong step is right is ill defined."""
    error = row["first_error"]
    if error is None or error == NO_ERROR:
        return row
    keep = error + 1
    unknown: list[None] = [None] * (len(row["steps"]) - keep)
    return {**row, "labels": [*row["labels"][:keep], *unknown], "support": [*row["support"][:keep], *unknown]}


def consensus(one: StepLabels, other: StepLabels) -> StepLabels | None:
    """The labels of `one` where both sources name the same first error (or none), else None (Zhang et al., 2025).

    Raises Failure where they are of different steps, or one does not say its first error.
    """
    if one["steps"] != other["steps"]:
        raise Failure("the two sources have different steps", "split both responses at the same separator")
    if one["first_error"] is None or other["first_error"] is None:
        raise Failure("a source does not know the first error", "harden its values, or label all steps")
    if one["first_error"] != other["first_error"]:
        return None
    correction = one["correction"] if one["correction"] is not None else other["correction"]
    return {**one, "correction": correction, "by": f"{one['by']} and {other['by']}"}


class Point(TypedDict):
    """A beginning of a response, `context` and `step`, and the probability that it is right, or ends right."""

    prompt_id: str
    source: str
    question: list[Message]
    context: str
    step: str
    target: float


def to_points(row: StepLabels) -> list[Point]:
    """One for each step with a label."""
    return [
        Point(
            prompt_id=row["prompt_id"],
            source=row["source"],
            question=row["question"],
            context="".join(row["steps"][:index]),
            step=row["steps"][index],
            target=label,
        )
        for index, label in enumerate(row["labels"])
        if label is not None
    ]


@dataclass(frozen=True)
class _Labelled:
    before: str
    step: str
    label: float
    support: int
    whole: bool


def pairs_by_depth(rows: Sequence[StepLabels], min_gap: float, select: str = "max") -> list[Pair]:
    """Pairs of the steps of one prompt that stand at the same depth, each side behind its own prefix.

    min_gap: least difference of two labels, above 0. select: "max", the widest gap of each depth (ties: the first
    rows), or "all". This is our reading of the paper's Table 8, which does not say how valued prefixes became pairs.
    """
    at: dict[int, dict[str, _Labelled]] = defaultdict(dict)
    for row in rows:
        steps, last = row["steps"], len(row["steps"]) - 1
        for depth, (label, support) in enumerate(zip(row["labels"], row["support"], strict=True)):
            if label is not None:
                before = "".join(steps[:depth])
                one = _Labelled(before, steps[depth], label, support or 1, depth == last)
                at[depth].setdefault(before + steps[depth], one)  # the same beginning of two responses counts once
    pairs = []
    for depth, found in sorted(at.items()):
        couples = [
            (one, other) if one.label > other.label else (other, one)
            for one, other in combinations(found.values(), 2)
            if abs(one.label - other.label) >= min_gap > 0
        ]
        if select == "max":
            couples = sorted(couples, key=lambda couple: couple[1].label - couple[0].label)[:1]
        pairs += [_pair(rows[0], chosen, rejected, depth + 1) for chosen, rejected in couples]
    return pairs


def pair_at_error(row: StepLabels) -> Pair | None:
    """The correction against the first wrong step, behind the steps before it (Step-DPO; Lai et al., 2024).

    None without an error or a correction, or where they are the same text.
    """
    error = row["first_error"]
    if error is None or error == NO_ERROR or row["correction"] is None:
        return None
    before, wrong = "".join(row["steps"][:error]), row["steps"][error]
    if row["correction"].strip() == wrong.strip():
        return None
    whole = error == len(row["steps"]) - 1
    support = row["support"][error] or 1
    right = _Labelled(before, row["correction"], 1.0, 1, whole=False)
    return _pair(row, right, _Labelled(before, wrong, 0.0, support, whole), error + 1)


def _pair(row: Mapping[str, Any], chosen: _Labelled, rejected: _Labelled, depth: int) -> Pair:
    wholes = chosen.whole + rejected.whole
    return Pair(
        schema_version=SCHEMA_VERSION,
        prompt_id=row["prompt_id"],
        source=row["source"],
        question=[Message(role=turn["role"], content=turn["content"]) for turn in row["question"]],
        context=chosen.before,
        chosen=chosen.step,
        rejected=rejected.step,
        rejected_context=None if rejected.before == chosen.before else rejected.before,
        level=("process", "mixed", "outcome")[wholes],
        gap=chosen.label - rejected.label,
        depth=depth,
        support=Support(chosen=chosen.support, rejected=rejected.support),
        weight=1.0,
    )


def to_trl(row: StepLabels) -> dict[str, Any]:
    """TRL's stepwise supervision: prompt, completions, labels. Steps after the last label are left out.

    Raises Failure for soft labels, which TRL would floor to 0, and for an unlabelled step before a labelled one.
    """
    known = max(index for index, label in enumerate(row["labels"]) if label is not None) + 1
    labels = row["labels"][:known]
    if None in labels:
        raise Failure(
            f"step {labels.index(None)} has no label, but a later one has", "TRL takes a label for each step"
        )
    if soft := [label for label in labels if label not in (0.0, 1.0)]:
        raise Failure(f"a label is {soft[0]}, and TRL takes 0 and 1 alone", "harden the labels first")
    question = row["question"]
    prompt = question[0]["content"] if len(question) == 1 else "\n\n".join(turn["content"] for turn in question)
    return {"prompt": prompt, "completions": row["steps"][:known], "labels": [label == 1.0 for label in labels]}


def matched(one: Iterable[StepLabels], other: Iterable[StepLabels]) -> Iterator[tuple[StepLabels, StepLabels | None]]:
    """Each row of `one` with that of the same response of `other`, or None."""
    of = {(row["prompt_id"], row["sample_index"]): row for row in other}
    for row in one:
        yield row, of.get((row["prompt_id"], row["sample_index"]))


def shuffled(rows: list[StepLabels], seed: int) -> list[StepLabels]:
    """The rows with all known labels in random order; first errors follow from them, and corrections are gone."""
    labels = [label for row in rows for label in row["labels"] if label is not None]
    random.Random(seed).shuffle(labels)
    remaining = iter(labels)
    found = []
    for row in rows:
        new = [None if label is None else next(remaining) for label in row["labels"]]
        error = first_error(new) if row["kind"] == CORRECT else None
        found.append(StepLabels(**{**row, "labels": new, "first_error": error, "correction": None}))
    return found
