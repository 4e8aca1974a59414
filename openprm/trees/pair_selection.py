"""Which of all pairs stay: one of several duplicates, no contradictions, and a number of outcome pairs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from ..schema import Pair
from ..text import comparable
from .pairs import OUTCOME, texts
from .tree import tie_break


class Duplicates:
    """Finds duplicates and contradictions (a pair and its reverse), in two readings of the same pairs.

    First `add` every pair; then `keep` says of each whether it stays. One of several duplicates stays, by a hash of
    their other columns, and neither side of a contradiction. Holds two 16-byte digests per distinct pair.
    """

    def __init__(self) -> None:
        self._first: dict[bytes, bytes] = {}  # of equal pairs the one that stays, until it is kept
        self.duplicates = 0
        self.contradictions = 0

    def add(self, pair: Pair) -> None:
        digest, own = _digest(pair, *texts(pair)), _hash(pair)
        self._first[digest] = min(own, self._first.get(digest, own))

    def keep(self, pair: Pair) -> bool:
        chosen, rejected = texts(pair)
        digest = _digest(pair, chosen, rejected)
        if _digest(pair, rejected, chosen) in self._first:
            self.contradictions += 1
            return False
        if self._first[digest] != _hash(pair):
            self.duplicates += 1
            return False
        self._first[digest] = b""
        return True


class OutcomePairs:
    """Takes `n` outcome pairs of all trees, spread over prompts: the widest of each, the second widest of each, ...

    `most` is how many a tree has to give. It falls as trees are added, to one more than it takes, for duplicates.
    """

    def __init__(self, n: int, seed: int = 0) -> None:
        self.n = self.most = n
        self._seed = seed
        self._at: Counter[int] = Counter()  # how many trees have a pair of each rank

    def add(self, pairs: Iterable[Pair]) -> None:
        """Counts the outcome pairs that a tree gives."""
        self._at.update(range(sum(pair["level"] == OUTCOME for pair in pairs)))
        total = self._at.total()
        while total - self._at[self.most - 1] - self._at[self.most - 2] >= self.n:
            self.most -= 1
            total -= self._at.pop(self.most, 0)

    def chosen(self, pairs: Iterable[tuple[int, Pair]]) -> set[int]:
        """The numbers of the pairs to take; the last round, where not all find room, goes by a hash of the prompts."""
        by_prompt: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for number, pair in pairs:
            by_prompt[pair["prompt_id"]].append((-round(pair["gap"] or 0.0, 9), number))
        rounds = sorted(
            (rank, tie_break(self._seed, prompt_id, ""), number)
            for prompt_id, own in by_prompt.items()
            for rank, (_, number) in enumerate(sorted(own))
        )
        return {number for *_, number in rounds[: self.n]}


def _digest(pair: Pair, first: str, second: str) -> bytes:
    question = [(turn["role"], comparable(turn["content"])) for turn in pair["question"]]
    return _hash([question, comparable(first), comparable(second)])


def _hash(value: Any) -> bytes:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).digest()
