"""What runs inside vLLM's workers: a watch that ends them together with the process that samples.

vLLM ends its processes when its engine is closed. A process that is killed closes nothing: its engine would live on
and hold its memory.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

#: Environment variable by which workers, however they are started, know the process they work for.
OWNER = "OPENPRM_ENGINE_OWNER"


def own() -> None:
    """Engines made from now on end with this process."""
    os.environ[OWNER] = f"{os.getpid()}@{socket.gethostname()}"


class EndWithOwner:
    """vLLM puts this class behind its worker's other bases (`worker_extension_cls`) and then makes the worker, so the
    watch starts before the model is loaded. (Without workers, vLLM's engine ends by itself after five minutes.)
    """

    def __new__(cls, *arguments: Any, **options: Any) -> EndWithOwner:
        # a worker of Ray's does not get the variable; Ray itself ends what a lost driver has started
        pid, _, host = os.environ.get(OWNER, "").partition("@")
        if host == socket.gethostname() and sys.platform == "linux":
            threading.Thread(target=_end_with, args=[int(pid)], daemon=True).start()
        return super().__new__(cls)


def _end_with(owner: int) -> None:
    """Ends this worker, and the engine's process, where that is not the worker's own.

    vLLM's engine ends when it sees that a worker is gone; but that takes seconds, and sometimes it hangs instead.
    """
    engine = multiprocessing.parent_process()  # the owner, where the engine has the worker in its own process
    with suppress(ProcessLookupError):  # it has ended already
        # until it ends, even if its exit status has not been asked for yet
        select.select([os.pidfd_open(owner)], [], [])
    parent = os.getppid()
    if engine is not None and engine.pid == parent != owner:
        os.kill(parent, signal.SIGKILL)
    os._exit(1)
