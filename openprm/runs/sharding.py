"""Does long work shard by shard, together with other processes on the same store (see `openprm.runs.store`).

A shard is a list of items (prompts, candidates); what is made of an item is some rows, or a reason why there are none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, Rejection
from .dataset import Rejections
from .progress import ProgressLine, status
from .store import Share, Store, Unfinished

_POLL = 1.0  # seconds between looks at what others have finished

Items = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Made:
    """What was made of one item."""

    rows: Sequence[Mapping[str, Any]]
    unfinished: Unfinished | None = None


@dataclass(frozen=True)
class Work:
    """Work that is done in shards.

    `shards` gives all shards anew each time, in order; `compute` takes some of them, as (index, items), and gives each
    back with what was made of every item, in any order of shards; `key` tells the items and the rows made of them
    apart; `count` says what a finished shard counts, by name, `unit` first.
    """

    name: str
    unit: str
    total: int | None
    shards: Callable[[], Iterable[Items]]
    compute: Callable[[Iterable[tuple[int, Items]]], Iterable[tuple[int, Sequence[Made]]]]
    key: Callable[[Mapping[str, Any]], str]
    count: Callable[[Items, Sequence[Mapping[str, Any]]], Mapping[str, int]]


def work_through(work: Work, store: Store, share: Share | None = None, *, quiet: bool = False) -> bool:
    """Does what is missing; where others are at it, waits for them (with a `share`, does only that, and waits not).

    What an earlier run left unfinished though another try may help is tried once more. Returns whether all shards are
    there. Shows its progress, unless `quiet`.
    """
    line = ProgressLine(work.name, quiet)
    store.describe(work.name, work.unit, work.total)
    again = {
        index: note.finished
        for index, note in store.notes().items()
        if any(part.transient for part in note.unfinished) and (share is None or share.has(index))
    }
    while True:
        passed = _Pass(work, store, share, again)
        try:
            for index, made in work.compute(passed.taken()):
                again.pop(index, None)
                passed.write(index, made)
                line.show(lambda: status(store.notes().values(), work.unit, work.total))
        finally:
            store.release_all()
        if share is None:
            _wait_for_others(store, passed.seen)
        missing = passed.seen - store.notes().keys()
        if not missing or share is not None:
            line.show(lambda: status(store.notes().values(), work.unit, work.total), last=True)
            return not missing


def _wait_for_others(store: Store, shards: set[int]) -> None:
    """Returns when all shards are there, or one that is not has been left by the process that was making it."""
    while missing := shards - store.notes().keys():
        if any(store.is_free(index) for index in missing):
            return
        time.sleep(_POLL)


class _Pass:
    """One time through all shards."""

    def __init__(self, work: Work, store: Store, share: Share | None, again: Mapping[int, float]) -> None:
        self.work, self.store, self.share, self.again = work, store, share, again
        self.seen: set[int] = set()
        self._items: dict[int, Items] = {}

    def taken(self) -> Iterator[tuple[int, Items]]:
        """The shards that are this process's to make, each with the items that there is nothing of yet."""
        there = self.store.notes().keys()
        for index, items in enumerate(self.work.shards()):
            self.seen.add(index)
            if (self.share and not self.share.has(index)) or (index in there and index not in self.again):
                continue
            if not self.store.take(index):
                continue
            note = self.store.note(index)
            if note is not None and note.finished != self.again.get(index):  # another process was faster
                self.store.release(index)
                continue
            self._items[index] = items
            if note is not None:
                unfinished = {part.key for part in note.unfinished}
                items = [item for item in items if self.work.key(item) in unfinished]
            yield index, items

    def write(self, index: int, made: Sequence[Made]) -> None:
        """Keeps a shard, together with what an earlier run made of its other items."""
        items, key = self._items.pop(index), self.work.key
        rows: dict[str, list[Mapping[str, Any]]] = {}
        unfinished: dict[str, Unfinished] = {}
        if note := self.store.note(index):
            for row in self.store.rows(index):
                rows.setdefault(key(row), []).append(row)
            unfinished = {part.key: part for part in note.unfinished}
            done = [item for item in items if key(item) in unfinished]
        else:
            done = list(items)
        for item, result in zip(done, made, strict=True):
            rows[key(item)] = list(result.rows)
            unfinished.pop(key(item), None)
            if result.unfinished:
                unfinished[key(item)] = result.unfinished
        kept = [row for item in items for row in rows.get(key(item), ())]
        self.store.write(index, kept, list(unfinished.values()), self.work.count(items, kept))


def prompt_key(row: Mapping[str, Any]) -> str:
    """What tells prompts apart: the key of work on prompts."""
    return f"prompt {row['prompt_id']!r}"


def response_key(row: Mapping[str, Any]) -> str:
    """What tells responses apart: the key of work on candidates."""
    return f"{prompt_key(row)}, sample {row['sample_index']}"


def check_finished(store: Store, out: str | Path, *, allow_failures: bool) -> None:
    """Raises InputError where another try may finish more, unless that is allowed."""
    left = [part for note in store.notes().values() for part in note.unfinished if part.transient]
    if left and not allow_failures:
        raise InputError(
            f"{out} is not finished: {len(left)} failed that another try may finish, the first: {left[0].key}: "
            f"{left[0].reason}. What is finished is kept: run the same command again (without --shard) to try those "
            "only, or finish without them with --allow-failures"
        )


def list_unfinished(store: Store, rejections: Rejections, file: str) -> None:
    """Enters what there is no result of among the rejected."""
    for note in store.notes().values():
        for part in note.unfinished:
            rejections.add(Rejection(file, None, part.reason, f"{part.key}: {part.remedy}"))


def rows_in_order(store: Store) -> Iterator[dict[str, Any]]:
    """The rows of all shards."""
    for index in store.notes():
        yield from store.rows(index)
