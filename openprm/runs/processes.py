"""Worker processes."""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process
from typing import Any


def end_with_parent() -> None:
    """Ends this worker when the stage's process is killed: it must not write into the files of the next run."""

    def watch(parent: Any) -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, args=[parent_process()], daemon=True).start()
