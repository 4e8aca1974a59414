"""Benchmarks of finding the first wrong step of a response (ProcessBench)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, TypeAdapter

from ...data.values import checked, to_steps
from ...errors import Failure
from ...labels.step_labels import NO_ERROR, labels_until
from ..bootstrap import Statistic, mean
from ..thresholds import Judged, Score, harmonic_mean, right_accuracy, wrong_accuracy
from .items import Item, Measured
from .labelled_steps import LabelledSteps, rewards_of

_LABEL = TypeAdapter(Annotated[int, Field(ge=NO_ERROR)])


class FirstError(LabelledSteps, kind="first-error"):
    """Rows with a response's steps and the index of the first wrong one, from 0, or -1 (Zheng et al., 2024).

    The first step whose reward is below the threshold is said to be wrong. F1 is the harmonic mean of two accuracies:
    on responses with a wrong step, where exactly the first must be found, and on those without. Localization needs no
    threshold: how often the first wrong step has a lower reward than all before it, so that some threshold finds it.
    """

    headline: str = "F1"
    scores: ClassVar[Mapping[str, Score]] = {
        "F1": harmonic_mean,
        "accuracy on correct": right_accuracy,
        "accuracy on erroneous": wrong_accuracy,
    }
    columns: dict[str, str] = Field({"question": "problem", "steps": "steps", "label": "label"})

    def items(self, number: int, row: Mapping[str, Any]) -> Sequence[Item]:
        steps, column = to_steps(row, self.columns["steps"]), self.columns["label"]
        remedy = f"make it the index of the first wrong step, from 0, or {NO_ERROR} where none is wrong"
        error = checked(_LABEL, row.get(column), column, remedy, strict=False)
        if error >= len(steps):
            raise Failure(f"{column!r} is {error}, but there are {len(steps)} steps", remedy)
        return [self.item(number, row, steps, labels_until(error, len(steps)), error=error)]

    def judged(self, measured: Measured) -> Judged:
        """The responses; one that was not wholly rewarded is never judged rightly."""
        units = []
        for index, (item, (one,)) in enumerate(zip(measured.items, measured.rewarded, strict=True)):
            rewards, error = rewards_of(item, one), item.facts["error"]
            correct = error == NO_ERROR
            low = -np.inf if correct else rewards[error]
            high = min(rewards if correct else rewards[:error], default=np.inf)
            units.append((low if one.whole else np.nan, high, correct, index))
        return Judged.of(units)

    def statistics(self, measured: Measured) -> list[Statistic]:
        judged = self.judged(measured)
        found = np.where(judged.right, np.nan, judged.low < judged.high)
        located = self.over_subsets(measured.items, "localization", lambda kept: mean(np.where(kept, found, np.nan)))
        return [*super().statistics(measured), *located]
