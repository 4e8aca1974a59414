"""What benchmarks are made of: items with responses, and the rewards that a model gives to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import Failure
from ...schema import Message
from ...scoring.aggregation import aggregate, score_unit


@dataclass(frozen=True)
class Response:
    """A text to be rewarded, with its `steps` where the benchmark says them; else each model splits it as its own.

    The joined steps are the text.
    """

    text: str
    steps: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Item:
    """One question of a benchmark with the responses that are compared.

    id: unique within the benchmark. prompt: what resampling keeps together, such as the problem that several items are
    about. facts: what the benchmark's arithmetic needs of it (labels, subset, golden rewards).
    """

    id: str
    question: Sequence[Message]
    responses: tuple[Response, ...]
    prompt: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def distinct(items: Iterable[Item | Failure], where: str) -> Iterator[Item | Failure]:
    """The items, with a Failure for each whose id another one has. where: what is read, for the failures' keys."""
    seen: set[str] = set()
    for item in items:
        if isinstance(item, Item) and item.id in seen:
            key = f"{where}, {item.id}"
            yield Failure("another row has the same id", "give each row an id of its own, or name no column", key=key)
        else:
            seen.update([item.id] if isinstance(item, Item) else [])
            yield item


@dataclass(frozen=True)
class Rewarded:
    """What a model gave to one response: its steps, and a reward for each; None for those that did not fit.

    A response that could not be rewarded at all has neither.
    """

    steps: tuple[str, ...] = ()
    rewards: tuple[float | None, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all of it was rewarded."""
        return bool(self.rewards) and None not in self.rewards

    def score(self, aggregation: str) -> float:
        """The rewards as one score; -inf for a response that was not wholly rewarded, as in a search."""
        return (
            aggregate([one for one in self.rewards if one is not None], aggregation) if self.whole else -float("inf")
        )


@dataclass(frozen=True)
class Measured:
    """The items of a benchmark with what one model gave to their responses, in the same order.

    aggregation: how step rewards become a score. unit: of the rewards (`openprm.scoring.units`). Raises ValueError
    for an aggregation that takes rewards of another unit.
    """

    items: Sequence[Item]
    rewarded: Sequence[Sequence[Rewarded]]
    aggregation: str = "last"
    unit: str = "strength"

    def __post_init__(self) -> None:
        score_unit(self.aggregation, self.unit)
        for item, rewarded in zip(self.items, self.rewarded, strict=True):
            if len(item.responses) != len(rewarded):
                raise ValueError(f"item {item.id!r} has {len(item.responses)} responses, {len(rewarded)} rewarded")

    def scores(self) -> list[list[float]]:
        """The score of each response of each item."""
        return [[one.score(self.aggregation) for one in rewarded] for rewarded in self.rewarded]
