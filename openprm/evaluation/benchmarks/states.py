"""Benchmarks of alternatives for the next step at one state, with human ratings (PRM800K; paper, section 4.3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ...data.values import to_steps, to_text
from ...errors import Failure
from ..bootstrap import Statistic, share
from ..thresholds import Score, balanced_accuracy
from .items import Item, Measured
from .labelled_steps import LabelledSteps, rewards_of

_COLUMNS = {"question": "instruction", "steps": "responses", "next": "next_response", "rating": "rating"}
_NEUTRAL = {"right": 1.0, "wrong": 0.0, "drop": None}


class States(LabelledSteps, kind="states"):
    """Rows with a question, the steps so far, one that may follow, and its rating 1, 0 or -1 (Lightman et al., 2023).

    Only the reward of the last step counts. Accuracy: of two steps with different ratings at one state the better one
    has the higher reward; a tie is a loss. AUC and balanced accuracy: right steps (1) against wrong ones (-1) of all
    states. neutral: what steps rated 0 are for these two: right, wrong or left out (drop).
    """

    scores: ClassVar[Mapping[str, Score]] = {"balanced accuracy": balanced_accuracy}
    columns: dict[str, str] = Field(_COLUMNS)
    neutral: Literal["right", "wrong", "drop"] = "right"

    def items(self, number: int, row: Mapping[str, Any]) -> Sequence[Item]:
        before, step = row.get(self.columns["steps"]), row.get(self.columns["next"])
        steps = to_steps({"steps": [*before, step] if isinstance(before, list) else before}, "steps")
        rating = to_text(row, self.columns["rating"])
        if rating not in ("1", "0", "-1"):
            what = "has no rating" if rating is None else f"is rated {rating}"
            raise Failure(f"the step {what}", "rate it 1, 0 or -1, or leave the row out")
        label = _NEUTRAL[self.neutral] if rating == "0" else float(rating == "1")
        return [self.item(number, row, steps, [*[None] * len(before or ()), label], rating=int(rating))]

    def statistics(self, measured: Measured) -> list[Statistic]:
        rewards = [rewards_of(item, one)[-1] for item, (one,) in zip(measured.items, measured.rewarded, strict=True)]
        counts: dict[str, np.ndarray] = {}
        for better, worse in (pair for some in _states(measured.items) for pair in permutations(some, 2)):
            high, low = (measured.items[one].facts["rating"] for one in (better, worse))
            if high > low:
                won = rewards[better] > rewards[worse]  # not where one of them is missing
                for subset in ("", f"{high} against {low}"):
                    counts.setdefault(subset, np.zeros((len(rewards), 2)))[better] += (won, 1)
        compared = [Statistic("accuracy", *share(*some.T), subset) for subset, some in counts.items()]
        return [*compared, *super().statistics(measured)]

    def details(self, views: Mapping[str, Measured]) -> dict[str, Any]:
        """With how many states there are, and at how many all steps have one rating, so that none are compared."""
        items = views[""].items
        ratings = [len({items[one].facts["rating"] for one in some}) for some in _states(items)]
        return super().details(views) | {"states": len(ratings), "not compared": ratings.count(1)}


def _states(items: Sequence[Item]) -> Sequence[list[int]]:
    """The indices of the items at each state."""
    found: dict[Any, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        found[item.prompt, (item.responses[0].steps or ())[:-1]].append(index)
    return list(found.values())
