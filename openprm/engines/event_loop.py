"""Asynchronous engines behind plain calls and `for` loops: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from ..schema import Message
from .base import Batch, PromptSamples

T = TypeVar("T")

_INTERVAL = 0.05  # seconds between two looks at whether there is capacity for another batch


class EventLoopThread:
    """An event loop that keeps running while the caller is busy, also where the caller has one, as in a notebook."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        return self._loop.is_closed()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work; cancels it where the caller is interrupted."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def answer(
        self,
        batches: Iterable[Batch],
        answer: Callable[[list[Message], int], Coroutine[Any, Any, PromptSamples]],
        has_capacity: Callable[[], bool],
    ) -> Generator[tuple[Batch, list[PromptSamples]], None, None]:
        """Each batch as soon as all its questions are answered, each by `answer` with its seed.

        The next batch is taken, in the caller's thread, while `has_capacity`, so that the longest answers of one
        batch do not leave an engine idle. The first exception ends the loop; a loop left early leaves nothing running.
        """

        async def work(batch: Batch) -> tuple[Batch, list[PromptSamples]]:
            pairs = zip(batch.questions, batch.seeds, strict=True)
            return batch, await gathered(answer(question, seed) for question, seed in pairs)

        async def is_free() -> bool:
            await asyncio.sleep(0)  # until everything submitted before has been counted
            return has_capacity()

        waiting = iter(batches)
        running: set[Future[tuple[Batch, list[PromptSamples]]]] = set()
        try:
            while True:
                while self.run(is_free()) and (batch := next(waiting, None)) is not None:
                    running.add(asyncio.run_coroutine_threadsafe(work(batch), self._loop))
                if not running:
                    return
                complete, running = wait(running, _INTERVAL, FIRST_COMPLETED)
                for future in complete:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()

    def close(self) -> None:
        """Cancels what still runs, and ends the thread. May be called twice."""
        if not self.closed:
            self.run(_cancel_all())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _cancel_all() -> None:
    running = asyncio.all_tasks() - {asyncio.current_task()}
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def gathered(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results in order. The first exception cancels the rest."""
    tasks = list(map(asyncio.ensure_future, work))
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
