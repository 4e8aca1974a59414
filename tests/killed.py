"""A program that builds trees, is killed at many moments, and resumed.

    python -m tests.killed CANDIDATES FOLDER EVERY

The stage runs in forked processes, each killed at another moment, EVERY apart: before a step in the file system, or
in the middle of a `write_text`. Another process then runs it to its end, and the result is compared with that of a
process that was not killed. Prints a line for each moment: how many shards were finished, and how many were computed
after it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import datasets  # noqa: F401  (before forking: each process would spend a second on it)
import jinja2  # noqa: F401
import pyarrow.parquet  # noqa: F401
from huggingface_hub import DatasetCardData, HfApi  # noqa: F401

from openprm.runs.shards import Shards
from openprm.stages import trees as tree_stage
from openprm.stages.trees import Trees

from .answers import content

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


def kill_at(moment: int, near: Path) -> None:
    """From now on this process counts what it does to files below `near`, and dies at that moment."""
    moments = count()
    whole = Path.write_text

    def due() -> bool:
        return next(moments) == moment

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and str(near) in str(arguments[0]) and due():
            die()

    def write_half(path: Path, text: str, *arguments: Any) -> int:
        if due():
            whole(path, text[: len(text) // 2], *arguments)
            die()
        return whole(path, text, *arguments)

    sys.addaudithook(watch)
    Path.write_text = write_half  # type: ignore[method-assign, assignment]


def log_shards(log: Path) -> None:
    """From now on this process adds a character to `log` for each shard it computes."""
    write = Shards.write

    def logged(*arguments: Any) -> None:
        with log.open("a") as file:
            file.write(".")
        write(*arguments)

    Shards.write = logged  # type: ignore[method-assign, assignment]


def ended(stage: Trees, out: Path, prepare: Callable[..., None], *arguments: Any) -> int:
    """How a forked process that runs the stage ended: 0, or the signal it was killed by."""
    child = os.fork()
    if not child:
        code = 1
        try:
            prepare(*arguments)
            stage.run(out)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def moments(stage: Trees, folder: Path, every: int) -> Iterator[str]:
    whole, out, log = folder / "whole", folder / "killed" / "out", folder / "log"
    assert ended(stage, whole, int) == 0
    for moment in count(0, every):
        shutil.rmtree(out.parent, ignore_errors=True)
        out.parent.mkdir()
        how = ended(stage, out, kill_at, moment, out.parent)
        if how == 0:
            return
        assert how == signal.SIGKILL, f"moment {moment}: ended with {how}"
        if out.exists():
            shutil.rmtree(out / ".work", ignore_errors=True)
            assert content(out) == content(whole), f"moment {moment}: half a result under the final name"
        done = len(list(out.parent.glob(".out.partial/.work/*.parquet")))
        log.write_text("")
        assert ended(stage, out, log_shards, log) == 0, f"moment {moment}: cannot be resumed"
        assert content(out) == content(whole), f"moment {moment}: another result"
        left = {path.name for path in out.parent.iterdir()} - {"out", ".out.lock"}
        assert not left, f"moment {moment}: leaves {left}"
        yield json.dumps([done, len(log.read_text())])


if __name__ == "__main__":
    tree_stage.PROMPTS_PER_SHARD, tree_stage._FLUSH = 3, 1000
    for line in moments(Trees(candidates=sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])):
        print(line)
