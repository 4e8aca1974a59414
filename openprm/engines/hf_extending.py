"""What transformers needs to go on with many rows together (see `continuing`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, StoppingCriteria
from transformers.cache_utils import DynamicLayer

from .continuing import Row


def in_batches(rows: Sequence[Row], size: int, max_length: int | None) -> list[list[int]]:
    """Indices of rows to generate together: at most `size`, of about the same length.

    All of a batch may grow by as much as the one with the most room, and none beyond `max_length`: the finished ones
    are filled up, and a position that the model has not would be an error there too.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(rows)), key=lambda index: len(rows[index].tokens)):
        longest = len(rows[index].tokens)
        last = batches[-1] if batches else []
        room = max(rows[one].room for one in [*last, index])
        if last and len(last) < size and (max_length is None or longest + room <= max_length):
            last.append(index)
        else:
            batches.append([index])
    return batches


class RowEnds(StoppingCriteria):
    """Ends each row where it says, and keeps what was generated for it until then in `new`."""

    def __init__(self, rows: Sequence[Row], end_ids: Sequence[int]) -> None:
        self.rows = rows
        self.end_ids = end_ids
        self.new: list[list[int]] = [[] for _ in rows]
        self.ended = [False] * len(rows)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        for index, token in enumerate(input_ids[:, -1].tolist()):
            if not self.ended[index]:
                row, new = self.rows[index], self.new[index]
                new.append(token)
                self.ended[index] = (
                    token in self.end_ids
                    or len(new) == row.room
                    or (row.is_complete is not None and row.is_complete(new))
                )
        return torch.tensor(self.ended, device=input_ids.device)


def is_plain(cache: Any) -> bool:
    """Whether a cache holds the keys and values of every token, and nothing else: then it can be taken apart."""
    return isinstance(cache, DynamicCache) and all(type(layer) is DynamicLayer for layer in cache.layers)
