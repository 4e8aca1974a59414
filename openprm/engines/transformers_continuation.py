"""How transformers continues many rows together (see `base.ContinuationEngine`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from transformers import StoppingCriteria

from .base import ContinuationRequest, Report


@dataclass
class Continuation:
    """A row, and what was generated for it so far."""

    row: ContinuationRequest
    new: list[int] = field(default_factory=list)
    ended: bool = False

    @property
    def rest(self) -> ContinuationRequest:
        """The request for the rest."""
        return replace(self.row, tokens=[*self.row.tokens, *self.new], budget=self.row.budget - len(self.new))


def in_batches(rows: Sequence[ContinuationRequest], size: int, max_length: int | None) -> list[tuple[list[int], int]]:
    """Batches of at most `size` rows of about the same length: their indices, and by how many tokens they may grow.

    The longest of a batch must not grow beyond `max_length`, even when it has ended: it is padded until all have, and
    a position that the model does not have would be an error there too. Where others have a larger budget, another
    call continues them. Each call reads its rows again, so a batch grows by at least half of any row's budget.
    """
    batches: list[tuple[list[int], int]] = []
    batch: list[int] = []
    most = 0
    for index in sorted(range(len(rows)), key=lambda index: len(rows[index].tokens)):
        row = rows[index]
        most = max(most, row.budget)
        budget = most if max_length is None else min(most, max_length - len(row.tokens))
        if batch and len(batch) < size and 2 * budget >= most:
            batch.append(index)
            batches[-1] = batch, budget
        else:
            batch, most = [index], row.budget
            batches.append((batch, most))
    return batches


class RowEnds(StoppingCriteria):
    """Ends each row where it says, and keeps what was generated for it until then."""

    def __init__(self, rows: Sequence[Continuation], end_ids: Sequence[int], report: Report) -> None:
        self.rows = rows
        self.end_ids = end_ids
        self.report = report

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        before = sum(not one.ended for one in self.rows)
        for one, token in zip(self.rows, input_ids[:, -1].tolist(), strict=True):
            if not one.ended:
                one.new.append(token)
                enough = one.row.is_complete
                one.ended = token in self.end_ids or len(one.new) == one.row.budget or bool(enough and enough(one.new))
        self.report(before - sum(not one.ended for one in self.rows), before)
        return torch.tensor([one.ended for one in self.rows], device=input_ids.device)
