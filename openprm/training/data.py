"""Pairs and points as token ids and in batches, for training. Those that cannot be used are listed.

A point is a single sequence with a probability as its target. It is trained on as a pair whose rejected side is not
there and has the reward 0: cross-entropy of a reward r with a target y is the Bradley-Terry loss of r and 0, where the
chosen side is the better one with probability y.
"""

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
from ..schema import POINT, TRAINED, Message
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


class _Point(TypedDict):
    """The keys of a `labels.conversions.Point`."""

    prompt_id: str
    source: str
    question: list[Message]
    context: str
    step: str
    target: Annotated[FiniteFloat, Field(ge=0, le=1)]


_PAIR, _POINT = TypeAdapter(_Pair), TypeAdapter(_Point)
#: What a batch says of its items for the loss, each float32 [B].
TERMS = ("weights", "margins", "targets", "points")


@dataclass(frozen=True)
class EncodedPair:
    """A pair or point as token ids (int32 arrays: lists of Python integers would take ten times the memory).

    rejected: None of a point. target: the probability that the chosen side is the better one, or that a point is right
    """

    row: int
    prompt_id: str
    source: str
    level: str
    gap: float | None
    question: int  # a hash of its words
    chosen: np.ndarray
    rejected: np.ndarray | None
    weight: float = 1.0  # its own, beside that of its level and source
    target: float = 1.0

    @property
    def sides(self) -> list[np.ndarray]:
        """One or two."""
        return [self.chosen] if self.rejected is None else [self.chosen, self.rejected]

    @property
    def length(self) -> int:
        """Tokens of all sides."""
        return sum(map(len, self.sides))


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
    """The pairs and points as tokens, and those left out. `max_length` is that of one side, question included.

    Raises ValueError for a row that is neither (with its number), and if no row is left.
    """

    def side(question: list[Message], before: str, text: str) -> list[int]:
        steps = [before, text] if before.strip() else [before + text]  # so that the context is compared, too
        return next(settings.sequences(tokenizer, question, steps, known=len(steps) - 1))

    pairs: list[EncodedPair] = []
    left_out: list[LeftOut] = []
    index = -1
    for index, row in enumerate(rows):
        is_point = "target" in row
        try:
            remedy = "see openprm.schema.Pair"
            given: Any = checked(_POINT, row, "", remedy) if is_point else checked(_PAIR, row, "", remedy)
        except Failure as error:
            raise ValueError(f"row {index} of the {split} pairs: {error}") from error
        question = given["question"]
        if is_point:
            names = given["prompt_id"], given["source"], POINT
            texts = [(given["context"], given["step"])]
        else:
            names = given["prompt_id"], given["source"], given["level"]
            texts = [*zip(contexts(given), (given["chosen"], given["rejected"]), strict=True)]
        try:
            sides = [side(question, before, text) for before, text in texts]
        except ScoringError as error:
            left_out.append(LeftOut(split, index, *names, "unreadable", detail=str(error)))
            continue
        first, *second = lengths = [*map(len, sides)]
        overlong = max(lengths) > settings.max_length
        if overlong or (not is_point and sides[0] == sides[1]):
            left_out.append(LeftOut(split, index, *names, "overlong" if overlong else "identical", first, sum(second)))
            continue
        chosen, rejected = [*(np.array(tokens, dtype=np.int32) for tokens in sides), None][:2]
        assert chosen is not None
        asked = hash(question_words(question))
        terms = {"weight": given.get("weight", 1.0), "target": given.get("target", 1.0)}
        pairs.append(EncodedPair(index, *names, given.get("gap"), asked, chosen, rejected, **terms))
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
    """Encoded pairs and points with the weight, margin and target that each has in the loss.

    Item `len(self)` is padding: the shortest one, with weight 0.
    """

    def __init__(self, pairs: list[EncodedPair], weights: list[float], margins: list[float], targets: list[float]):
        self.pairs, self.weights, self.margins, self.targets = pairs, weights, margins, targets
        self.shortest = min(range(len(pairs)), key=lambda index: pairs[index].length)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[EncodedPair, float, float, float]:
        if index == len(self):
            return self.pairs[self.shortest], 0.0, 0.0, 1.0
        return self.pairs[index], self.weights[index], self.margins[index], self.targets[index]


@dataclass(frozen=True)
class Sequences:
    """Token ids of a batch: items computed together, side (of a pair chosen and rejected, of a point one), token.

    This is a class because Trainer and accelerate would walk through every integer of nested lists.
    """

    groups: list[list[list[int]]]


def collate_pairs(
    items: Sequence[tuple[EncodedPair, float, float, float]], sources: Sequence[str]
) -> dict[str, Sequences | Tensor]:
    """Items of a `PairDataset` as a batch of B pairs and points.

    sequences: their token ids
    weights, margins, targets, points (1 for a point, else 0): float32 [B]
    ids: int64 [B, 2], positions in `TRAINED` and in `sources`
    """
    pairs, weights, margins, targets = zip(*items, strict=True)
    return {
        "sequences": Sequences([[side.tolist() for side in pair.sides] for pair in pairs]),
        "weights": torch.tensor(weights),
        "margins": torch.tensor(margins),
        "targets": torch.tensor(targets),
        "points": torch.tensor([float(pair.rejected is None) for pair in pairs]),
        "ids": torch.tensor([[TRAINED.index(pair.level), sources.index(pair.source)] for pair in pairs]),
    }
