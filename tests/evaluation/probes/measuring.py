"""Items and what stub scorers give to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from openprm.evaluation.benchmarks.items import Item, Measured, Response, Rewarded
from openprm.evaluation.bootstrap import Statistic
from openprm.evaluation.probes import PROBES
from openprm.evaluation.probes.base import Views
from openprm.scoring.steps import split


def item(*texts: str, name: str = "", **facts: Any) -> Item:
    """An item with these responses; of a pair, the chosen one first."""
    name = name or "\0".join(texts)
    return Item(name, [{"role": "user", "content": name}], tuple(map(Response, texts)), name, facts)


def measured(items: Sequence[Item], score: Callable[[str], float], aggregation: str = "last") -> Measured:
    """What `score` gives to each prefix; an empty response and NaN are refused, as by models."""

    def rewarded(response: Response) -> Rewarded:
        steps = response.steps or tuple(split(response.text, "sentence"))
        if not response.text.strip():
            return Rewarded()
        rewards = tuple(map(score, accumulate(steps)))
        return Rewarded(steps, rewards) if np.isfinite(rewards).all() else Rewarded()

    return Measured(items, [[rewarded(one) for one in item.responses] for item in items], aggregation)


def seen(probe: str, items: Sequence[Item], score: Callable[[str], float], aggregation: str = "last") -> Views:
    views: Mapping[str, Sequence[Item]] = {"": items, **PROBES[probe].views(items)}
    return {view: measured(some, score, aggregation) for view, some in views.items()}


def values(statistics: Sequence[Statistic], items: int) -> dict[Any, tuple[float, int]]:
    """The value and the count of each statistic, by its name, or its name and subset."""
    weights = np.ones((1, items))
    return {(one.name, one.subset) if one.subset else one.name: (one.of(weights)[0], one.n) for one in statistics}
