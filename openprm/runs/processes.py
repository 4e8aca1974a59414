"""Worker processes."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any

from ..errors import InputError


def in_processes(function: Callable[[Any], Any], items: Iterable[Any], num_proc: int) -> Iterator[Any]:
    """`function` of each item, in order, by `num_proc` processes; few items are read ahead."""
    if num_proc == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Any]] = deque()
    # spawn: forking a process that has threads (pyarrow's, torch's) can hang it
    pool = ProcessPoolExecutor(num_proc, get_context("spawn"), initializer=_end_with_parent)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * num_proc:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process was killed, as happens where memory runs out; what is finished is kept: run the same "
            "command again, with fewer processes"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Ends this worker when the stage's process is killed: it must not write into the files of the next run."""

    def watch(parent: Any) -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, args=[parent_process()], daemon=True).start()
