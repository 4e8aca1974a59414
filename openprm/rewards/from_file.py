"""Outcome rewards that a file gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..data.columns import require_column
from ..data.readers import convert_rows, numbered_rows, with_columns
from ..data.values import to_id, to_index, to_reward
from ..engines.base import Report, no_report
from ..errors import Failure, InputError
from ..schema import Candidate, plain_reward
from .base import RewardBatch, RewardedBatches, RewardResult


@dataclass(frozen=True)
class FileRewarder:
    """A `Rewarder` that looks rewards up in a file (see `openprm.data.readers.numbered_rows`), held in memory.

    Each row has a `prompt_id`, a `sample_index` and in `column` the reward. A candidate without a row is a failure of
    its own. Raises InputError, at the first batch, for a row that cannot be read or comes twice.
    """

    name: str
    path: str
    column: str

    def rewards(self, batches: Iterable[RewardBatch], report: Report = no_report) -> RewardedBatches:
        for batch in batches:
            yield batch, [self._result(candidate) for candidate in batch.candidates]

    def describe(self) -> dict[str, Any]:
        return {"kind": "given", "column": self.column}

    def close(self) -> None:
        """Nothing is open."""

    def _result(self, candidate: Candidate) -> RewardResult:
        value = self._table.get((candidate["prompt_id"], candidate["sample_index"]))
        if value is None:
            return RewardResult(None, failure=Failure(f"no reward in {self.path}", "add it there"))
        return RewardResult(plain_reward(self.name, value))

    @cached_property
    def _table(self) -> dict[tuple[str, int], float]:
        columns, rows = with_columns(numbered_rows(self.path))
        for what, name in (("the reward", self.column), ("the id", "prompt_id"), ("the index", "sample_index")):
            require_column(self.path, what, name, columns)
        table: dict[tuple[str, int], float] = {}

        def enter(_: int, row: dict[str, Any]) -> tuple[()]:
            key = to_id(row, "prompt_id"), to_index(row, "sample_index")
            if key in table:
                raise Failure(f"prompt {key[0]!r}, sample {key[1]} has a reward already", "leave one out")
            table[key] = to_reward(row.get(self.column), self.column)
            return ()

        for failure in convert_rows(rows, self.path, enter):
            raise InputError(str(failure))
        return table
