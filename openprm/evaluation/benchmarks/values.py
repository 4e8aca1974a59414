"""Benchmarks of the chance of a right end from each step of a response on (labels of kind `value`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, TypeAdapter

from ...data.values import checked, to_steps
from ...errors import Failure
from ...scoring.units import LOG_ODDS
from ..bootstrap import Statistic, share
from ..thresholds import Score
from .items import Item, Measured
from .labelled_steps import LabelledSteps, rewards_of

_VALUES = TypeAdapter(list[Annotated[float, Field(ge=0, le=1)] | None])


class StepValues(LabelledSteps, kind="step-values"):
    """Rows with a response's steps and the value of each, from 0 to 1, or null.

    Concordance: of two steps of one response with different values, the one with the higher value has the higher
    reward; a tie counts half. Error: the mean distance of the sigmoid of a reward in log-odds from the value.
    """

    headline: str = "concordance"
    scores: ClassVar[Mapping[str, Score]] = {}  # no thresholds
    columns: dict[str, str] = Field({"question": "question", "steps": "steps", "values": "values"})

    def items(self, number: int, row: Mapping[str, Any]) -> Sequence[Item]:
        steps, column = to_steps(row, self.columns["steps"]), self.columns["values"]
        values = checked(_VALUES, row.get(column), column, "make it a list of numbers from 0 to 1, or null")
        if len(values) != len(steps):
            raise Failure(f"there are {len(steps)} steps, but {len(values)} {column!r}", "give one to each")
        return [self.item(number, row, steps, values)]

    def statistics(self, measured: Measured) -> list[Statistic]:
        won = np.zeros((len(measured.items), 2))
        distance = np.zeros((len(measured.items), 2))
        for index, (item, (one,)) in enumerate(zip(measured.items, measured.rewarded, strict=True)):
            known = [
                (value, reward)
                for value, reward in zip(item.facts["labels"], rewards_of(item, one), strict=True)
                if value is not None
            ]
            for (value, reward), (other, beside) in combinations(known, 2):
                if value != other:
                    agreement = np.sign((value - other) * (reward - beside))  # not a number where one is missing
                    won[index] += (0.0 if np.isnan(agreement) else (1 + agreement) / 2, 1)
            chances = [(value, (1 + np.tanh(reward / 2)) / 2) for value, reward in known if not np.isnan(reward)]
            distance[index] = (sum(abs(value - chance) for value, chance in chances), len(chances))
        found = [Statistic(self.headline, *share(*won.T))]
        return [*found, Statistic("error", *share(*distance.T))] if measured.unit == LOG_ODDS else found

    def arithmetic(self, items: Sequence[Item]) -> str:
        return "over pairs of steps of one response whose values differ"

    def details(self, views: Mapping[str, Measured]) -> dict[str, Any]:
        return {}
