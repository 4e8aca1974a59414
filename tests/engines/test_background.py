"""Asynchronous work behind a plain loop: order, room, errors, and no thread left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from openprm.engines.background import in_batches


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def broken() -> AsyncIterator[None]:
    raise OSError("cannot be opened")
    yield


async def slowly(item: int) -> int:
    await asyncio.sleep(0.001 * (7 - item % 7))  # the last come first
    return item * item


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_results_stand_in_the_order_of_the_items():
    batches = [list(range(start, start + size)) for start, size in ((0, 5), (5, 0), (5, 3), (8, 9))]
    found = {tuple(batch): results for batch, results in in_batches(batches, list, slowly, nothing(), room=4)}
    assert found == {tuple(batch): [item * item for item in batch] for batch in batches}
    assert "openprm-requests" not in names()


def test_batches_are_taken_when_there_is_room():
    taken: list[int] = []

    def batches():
        for index in range(5):
            taken.append(index)
            yield [index]

    loop = in_batches(batches(), list, slowly, nothing(), room=2)
    next(loop)
    assert taken == [0, 1]
    loop.close()
    assert "openprm-requests" not in names()


def test_an_error_ends_the_loop():
    async def fails(item: int) -> int:
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 1"):
        list(in_batches([[1], [2]], list, fails, nothing(), room=1))
    assert "openprm-requests" not in names()


def test_a_resource_that_does_not_open_is_the_callers_matter():
    with pytest.raises(OSError, match="cannot be opened"):
        list(in_batches([[1]], list, slowly, broken(), room=1))
