"""Stopping criteria for `generate` of transformers: one that counts tokens, one that looks for texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import StoppingCriteria

from .base import Report

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TokenCounter(StoppingCriteria):
    """Stops nothing: reports the tokens of every decoding step, and the rows that end with an end-of-turn token."""

    def __init__(self, end_ids: Sequence[int], rows: int, report: Report) -> None:
        self.end_ids = end_ids
        self.open = rows
        self.report = report

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        # rows that have ended are filled up with end tokens
        ended = torch.isin(input_ids[:, -1], torch.tensor(self.end_ids, device=input_ids.device))
        left = len(ended) - int(ended.sum())
        self.report(self.open - left, self.open)
        self.open = left
        return torch.zeros_like(ended)


class StopAtTexts(StoppingCriteria):
    """Ends the sequences whose last tokens hold one of the texts.

    transformers' own criterion takes the vocabulary apart, and fails on tokenizers that are not of its kinds.
    """

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, start: int) -> None:
        self.texts = texts
        self.tokenizer = tokenizer
        self.start = start
        # a character may take as many tokens as it has bytes, and the last token may hold more than the text
        self.tail = 4 * max(len(text) for text in texts) + 1

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        tails = input_ids[:, max(self.start, input_ids.shape[1] - self.tail) :]
        decoded = self.tokenizer.batch_decode(tails, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return torch.tensor([any(text in tail for text in self.texts) for tail in decoded], device=input_ids.device)
