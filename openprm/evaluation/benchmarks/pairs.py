"""Benchmarks of preference pairs: the chosen response should have the higher reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from ...data.values import question_id, to_question, to_response
from ..bootstrap import Statistic, mean
from .declaration import Benchmark
from .items import Item, Measured, Response

_COLUMNS = {"question": "prompt", "chosen": "chosen", "rejected": "rejected"}


class Pairs(Benchmark, kind="pairs"):
    """Rows with a question, a chosen and a rejected response. A tie is a loss, as in RewardBench."""

    columns: dict[str, str] = Field(_COLUMNS)

    def items(self, number: int, row: Mapping[str, Any]) -> Sequence[Item]:
        question = to_question(row, self.columns["question"])
        columns = [self.columns[side] for side in ("chosen", "rejected")]
        sides = [Response(to_response(row.get(column), column)) for column in columns]
        subset = row.get(self.columns.get("subset", ""), "")
        return [Item(f"row {number}", question, tuple(sides), question_id(question), {"subset": str(subset)})]

    def statistics(self, measured: Measured) -> list[Statistic]:
        wins = np.array([float(chosen > max(others)) for chosen, *others in measured.scores()])
        subsets = [item.facts["subset"] for item in measured.items]
        of, n = mean(wins)
        found = [Statistic("accuracy", of, n)]
        for subset in sorted(set(subsets) - {""}):
            of, n = mean(np.where([one == subset for one in subsets], wins, np.nan))
            found.append(Statistic("accuracy", of, n, subset))
        return found
