"""Rows that transformers' `generate` writes together: their batches, what is drawn for each, and where each ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, LogitsProcessor, StoppingCriteria, TopPLogitsWarper

from ..errors import InputError
from .base import ContinuationRequest, Report, Sampling


@dataclass
class Continuation:
    """A row, and what was generated for it so far."""

    row: ContinuationRequest
    new: list[int] = field(default_factory=list)
    ended: bool = False

    @property
    def tokens(self) -> list[int]:
        """The row with what was generated."""
        return [*self.row.tokens, *self.new]

    @property
    def rest(self) -> ContinuationRequest:
        """The request for the rest."""
        return replace(self.row, tokens=self.tokens, budget=self.row.budget - len(self.new))


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


def keep_beginnings(cache: DynamicCache, rows: Sequence[int], ends: Sequence[int], sizes: Sequence[int]) -> None:
    """For each row of the cache named in `rows`, leaves the `sizes` tokens up to column `ends` (excluded), padded on
    the left to the longest.
    """
    longest = max(sizes)
    row = torch.tensor(rows)[:, None]
    columns = (torch.arange(longest) + torch.tensor(ends)[:, None] - longest).clamp(min=0)
    layers: Any = cache.layers  # of keys and values
    for layer in layers:
        layer.keys, layer.values = (
            whole[row.to(whole.device), :, columns.to(whole.device)].transpose(1, 2)
            for whole in (layer.keys, layer.values)
        )


class Draw(LogitsProcessor):
    """Draws each row's next token and leaves no other, so that `generate` takes it.

    A token of a row is where a random number falls in the cumulative distribution: the number of the row's own stream
    at the token's place, whatever is drawn beside it. At temperature 0 the most probable one is drawn.

    Raises InputError where the logits are no numbers.
    """

    def __init__(self, rows: Sequence[Continuation], budget: int, sampling: Sampling) -> None:
        self.sampling = sampling
        self.warp = TopPLogitsWarper(sampling.top_p) if sampling.top_p < 1 else None
        numbers = np.ones((budget, len(rows)))  # a row that has ended draws anything
        for column, one in enumerate(rows if sampling.temperature else ()):
            stream = np.random.default_rng(one.row.seed).random(one.row.budget)[len(one.new) :][:budget]
            numbers[: len(stream), column] -= stream
        self.numbers = iter(torch.from_numpy(numbers))  # each above 0, at most 1

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.sampling.temperature:
            scores = scores / self.sampling.temperature
            scores = self.warp(input_ids, scores) if self.warp else scores
            sums = scores.softmax(-1).cumsum(-1, dtype=torch.float64)
            numbers = next(self.numbers).to(sums.device)
            drawn = torch.searchsorted(sums, numbers[:, None] * sums[:, -1:])
            broken = sums[:, -1].isnan()
        else:
            drawn = scores.argmax(-1, keepdim=True)  # of a number and nan it is nan
            broken = scores.gather(-1, drawn).isnan()
        if broken.any():
            raise InputError("the model's logits are not finite numbers; load it in float32 or bfloat16 (--dtype)")
        return torch.full_like(scores, -torch.inf).scatter_(-1, drawn, 0.0)


class RowEnds(StoppingCriteria):
    """Ends each row where it says, and keeps what was generated for it until then.

    With `leave` all rows are ended for now once half of them are, so that those can leave.
    """

    def __init__(self, rows: Sequence[Continuation], end_ids: Sequence[int], report: Report, leave: bool) -> None:
        self.rows = rows
        self.end_ids = end_ids
        self.report = report
        self.most = len(rows) // 2 if leave else 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        before = sum(not one.ended for one in self.rows)
        for one, token in zip(self.rows, input_ids[:, -1].tolist(), strict=True):
            if not one.ended:
                one.new.append(token)
                enough = one.row.is_complete
                one.ended = token in self.end_ids or len(one.new) == one.row.budget or bool(enough and enough(one.new))
        after = sum(not one.ended for one in self.rows)
        self.report(before - after, before)
        return torch.tensor([one.ended or after <= self.most for one in self.rows], device=input_ids.device)
