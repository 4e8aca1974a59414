"""A program that makes a dataset, is killed at many moments, and resumed.

    python -m tests.killed STAGE INPUT FOLDER EVERY

STAGE is `trees` or `shards` (those of tests/runs/test_shards.py). It runs in forked processes, each killed at another
moment, EVERY apart: before a step in the file system, or in the middle of a `write_text`. Another then runs the stage
to its end, and the result is compared with that of a process that was not killed. Prints a line for each moment: how
many shards it had finished, and how many were computed after it.
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
from .runs.test_shards import stage as make_shards

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


def make(stage: str, given: str, out: Path) -> None:
    tree_stage.PROMPTS_PER_SHARD = 3
    tree_stage._FLUSH = 1000
    if stage == "shards":
        make_shards(out)
    else:
        Trees(candidates=given).run(out)


def killed_at(moment: int, near: Path) -> None:
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


def forked(action: Callable[[], None]) -> int:
    """How a process that does this ended: 0, or the signal it was killed by."""
    child = os.fork()
    if not child:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def resume(stage: str, given: str, out: Path, log: Path) -> None:
    """Runs the stage, with a character in `log` for each shard it computes."""
    write = Shards.write

    def noted(*arguments: Any) -> None:
        with log.open("a") as file:
            file.write(".")
        write(*arguments)

    Shards.write = noted  # type: ignore[method-assign, assignment]
    make(stage, given, out)


def moments(stage: str, given: str, folder: Path, every: int) -> Iterator[str]:
    whole, out, log = folder / "whole", folder / "killed" / "out", folder / "log"
    assert forked(lambda: make(stage, given, whole)) == 0
    for moment in count(0, every):
        shutil.rmtree(out.parent, ignore_errors=True)
        out.parent.mkdir()

        def victim(moment: int = moment) -> None:
            killed_at(moment, out.parent)
            make(stage, given, out)

        ended = forked(victim)
        if ended == 0:
            return
        assert ended == signal.SIGKILL, f"moment {moment}: ended with {ended}"
        if out.exists():
            shutil.rmtree(out / ".work", ignore_errors=True)
            assert content(out) == content(whole), f"moment {moment}: half a result under the final name"
        done = len(list(out.parent.glob(".out.partial/.work/*.parquet")))
        log.write_text("")
        assert forked(lambda: resume(stage, given, out, log)) == 0, f"moment {moment}: cannot be resumed"
        assert content(out) == content(whole), f"moment {moment}: another result"
        left = {path.name for path in out.parent.iterdir()} - {"out", ".out.lock"}
        assert not left, f"moment {moment}: leaves {left}"
        yield json.dumps([done, len(log.read_text())])


if __name__ == "__main__":
    for line in moments(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])):
        print(line)
