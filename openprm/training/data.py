"""Pairs as token ids and in batches, for training. Pairs that cannot be used are listed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
import torch
from pydantic import Field, FiniteFloat, TypeAdapter
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import TypedDict

from ..data.holdout import question_words
from ..data.values import checked
from ..errors import Failure
from ..schema import LEVELS, Message
from ..scoring.aggregation import ScoringError
from ..scoring.scored_answer import ScoringSettings
from ..trees.pairs import contexts


class _Pair(TypedDict):
    """The columns of a `schema.Pair` that training needs."""

    prompt_id: str
    source: str
    question: list[Message]
    context: str
    chosen: str
    rejected: str
    rejected_context: str | None
    level: Literal["process", "mixed", "outcome"]
    gap: Annotated[FiniteFloat, Field(ge=0)] | None
    weight: NotRequired[Annotated[FiniteFloat, Field(ge=0)]]


_PAIR = TypeAdapter(_Pair)


@dataclass(frozen=True)
class EncodedPair:
    """A pair as token ids (int32 arrays: lists of Python integers would take ten times the memory)."""

    row: int
    prompt_id: str
    source: str
    level: str
    gap: float | None
    question: int  # a hash of its words
    chosen: np.ndarray
    rejected: np.ndarray
    weight: float = 1.0  # its own, beside that of its level and source

    @property
    def length(self) -> int:
        """Tokens of both sides."""
        return len(self.chosen) + len(self.rejected)


@dataclass(frozen=True)
class LeftOut:
    """A pair that cannot be used, and why: `overlong`, `identical` (the template trims what differs) or `unreadable`.

    `detail` says why it cannot be read; then its tokens are not known.
    """

    split: str
    row: int
    prompt_id: str
    source: str
    level: str
    reason: str
    chosen_tokens: int | None = None
    rejected_tokens: int | None = None
    detail: str | None = None


def encode_pairs(
    rows: Iterable[Mapping[str, Any]], tokenizer: Any, settings: ScoringSettings, split: str
) -> tuple[list[EncodedPair], list[LeftOut]]:
    """The pairs as tokens, and those left out. `max_length` is that of one side, question included.

    Raises ValueError for a row that is not a pair (with its number), and if no row is left.
    """

    def side(pair: _Pair, before: str, text: str) -> list[int]:
        steps = [before, text] if before.strip() else [before + text]  # so that the context is compared, too
        return next(settings.sequences(tokenizer, pair["question"], steps, known=len(steps) - 1))

    pairs: list[EncodedPair] = []
    left_out: list[LeftOut] = []
    index = -1
    for index, row in enumerate(rows):
        try:
            pair = checked(_PAIR, row, "", "see openprm.schema.Pair")
        except Failure as error:
            raise ValueError(f"row {index} of the {split} pairs: {error}") from error
        names = (pair["prompt_id"], pair["source"], pair["level"])
        before = contexts(pair)
        try:
            chosen, rejected = side(pair, before[0], pair["chosen"]), side(pair, before[1], pair["rejected"])
        except ScoringError as error:
            left_out.append(LeftOut(split, index, *names, "unreadable", detail=str(error)))
            continue
        overlong = max(len(chosen), len(rejected)) > settings.max_length
        if overlong or chosen == rejected:
            reason = "overlong" if overlong else "identical"
            left_out.append(LeftOut(split, index, *names, reason, len(chosen), len(rejected)))
        else:
            asked = hash(question_words(pair["question"]))
            sides = [np.array(tokens, dtype=np.int32) for tokens in (chosen, rejected)]
            pairs.append(EncodedPair(index, *names, pair["gap"], asked, sides[0], sides[1], pair.get("weight", 1.0)))
    if not pairs:
        raise ValueError(
            f"all {index + 1} {split} pairs are left out: {count_left_out(left_out)} (max_length is "
            f"{settings.max_length}); row {left_out[0].row}: {left_out[0].detail or left_out[0].reason}"
            if left_out
            else f"there are no {split} pairs"
        )
    return pairs, left_out


def count_left_out(left_out: Iterable[LeftOut]) -> dict[str, dict[str, dict[str, int]]]:
    """Numbers by reason, source and level."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for pair in left_out:
        levels = counts.setdefault(pair.reason, {}).setdefault(pair.source, {})
        levels[pair.level] = levels.get(pair.level, 0) + 1
    return counts


def gap_scales(pairs: Iterable[EncodedPair]) -> dict[str, float]:
    """The root-mean-square gap of each source, in the units of its reward.

    Divided by it, gaps have no unit, so that one margin fits logits of a reward model and accuracies of golden
    answers. Sources without a known gap, or with gaps of zero only, have no scale.
    """
    squares: dict[str, list[float]] = {}
    for pair in pairs:
        if pair.gap is not None:
            squares.setdefault(pair.source, []).append(pair.gap**2)
    means = {source: math.sqrt(math.fsum(values) / len(values)) for source, values in sorted(squares.items())}
    return {source: mean for source, mean in means.items() if mean > 0}


class PairDataset(Dataset):
    """Encoded pairs with the weight and the margin that each has in the loss.

    Item `len(self)` is padding: the shortest pair, with weight 0.
    """

    def __init__(self, pairs: list[EncodedPair], weights: list[float], margins: list[float]):
        self.pairs, self.weights, self.margins = pairs, weights, margins
        self.shortest = min(range(len(pairs)), key=lambda index: pairs[index].length)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[EncodedPair, float, float]:
        if index == len(self):
            return self.pairs[self.shortest], 0.0, 0.0
        return self.pairs[index], self.weights[index], self.margins[index]


@dataclass(frozen=True)
class Sequences:
    """Token ids of a batch: pair or pairs computed together, side (chosen, rejected in turn), token.

    This is a class because Trainer and accelerate would walk through every integer of nested lists.
    """

    groups: list[list[list[int]]]


def collate_pairs(
    items: Sequence[tuple[EncodedPair, float, float]], sources: Sequence[str]
) -> dict[str, Sequences | Tensor]:
    """Items of a `PairDataset` as a batch of B pairs.

    sequences: their token ids
    weights, margins: float32 [B]
    ids: int64 [B, 2], positions in `LEVELS` and in `sources`
    """
    pairs, weights, margins = zip(*items, strict=True)
    return {
        "sequences": Sequences([[pair.chosen.tolist(), pair.rejected.tolist()] for pair in pairs]),
        "weights": torch.tensor(weights),
        "margins": torch.tensor(margins),
        "ids": torch.tensor([[LEVELS.index(pair.level), sources.index(pair.source)] for pair in pairs]),
    }
