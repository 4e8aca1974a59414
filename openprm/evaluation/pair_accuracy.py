"""How well a reward model tells better from worse: preference pairs, and the first wrong step. Pure Python."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan
from statistics import fmean

from ..labels.step_labels import NO_ERROR
from ..scoring.units import DEFAULT_UNIT, LOG_ODDS


def pair_accuracy(chosen_rewards: Sequence[float], rejected_rewards: Sequence[float]) -> float:
    """The share of pairs whose chosen side has the higher reward; a tie is a loss, as in RewardBench.

    Raises ValueError where there are no pairs, the lengths differ, or a reward is NaN.
    """
    if len(chosen_rewards) != len(rejected_rewards):
        raise ValueError(f"{len(chosen_rewards)} chosen and {len(rejected_rewards)} rejected rewards are not pairs")
    if not len(chosen_rewards):
        raise ValueError("no pairs to compare")
    if any(map(isnan, chosen_rewards)) or any(map(isnan, rejected_rewards)):
        raise ValueError("a reward is NaN")
    return fmean(float(a > b) for a, b in zip(chosen_rewards, rejected_rewards, strict=True))


def first_error(step_rewards: Sequence[float], threshold: float | None = None, unit: str = DEFAULT_UNIT) -> int:
    """The index (from 0) of the first step whose reward is below `threshold`, or `NO_ERROR`.

    The threshold is in the rewards' own `unit`: choose it on other answers than those that are measured. Where it is
    left out it is 0 for log-odds, which are then even; rewards of other units have no such zero. Raises ValueError
    for these, and where a reward is NaN.
    """
    if threshold is None and unit != LOG_ODDS:
        raise ValueError(f"rewards of the unit {unit!r} have no zero: choose a threshold on other answers")
    threshold = threshold or 0.0
    if any(map(isnan, step_rewards)):
        raise ValueError("a reward is NaN")
    return next((index for index, reward in enumerate(step_rewards) if reward < threshold), NO_ERROR)


def first_error_f1(predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
    """ProcessBench's F1 (Zheng et al., 2024) of predicted first wrong steps, each an index from 0 or `NO_ERROR`.

    `erroneous` is the share of answers with a wrong step where exactly the first one is found, `correct` the share of
    answers without one where none is, and `f1` the harmonic mean of the two, each 0 to 1.

    Raises ValueError where the lengths differ, an index is below `NO_ERROR`, or there are not both answers with and
    answers without a wrong step among the references: the F1 needs the accuracy on either.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions and {len(references)} references are not of one set")
    if min([*predictions, *references], default=NO_ERROR) < NO_ERROR:
        raise ValueError(f"a step's index is from 0 on, or {NO_ERROR} where no step is wrong")
    found: dict[bool, list[bool]] = {True: [], False: []}
    for predicted, reference in zip(predictions, references, strict=True):
        found[reference == NO_ERROR].append(predicted == reference)
    if not found[True] or not found[False]:
        missing = "without" if found[False] else "with"
        raise ValueError(f"there is no answer {missing} a wrong step among the references; F1 needs both kinds")
    erroneous, correct = fmean(found[False]), fmean(found[True])
    total = erroneous + correct
    return {"f1": 2 * erroneous * correct / total if total else 0.0, "erroneous": erroneous, "correct": correct}


def better_over_worse(scores: Sequence[float], correct: Sequence[float]) -> float:
    """Of the pairs among one prompt's candidates where one is more correct, the share whose better one has the higher
    score; a tie is a loss. NaN where there are no such pairs."""
    n = range(len(correct))
    pairs = [(scores[i], scores[j]) for i in n for j in n if correct[i] > correct[j]]
    return pair_accuracy(*zip(*pairs, strict=True)) if pairs else nan
