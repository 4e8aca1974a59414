"""Stages whose work several processes share, on one machine or one file system: see `openprm.runs.store`.

.OUT.partial            the work: what it is to make (`.stage.json`), the store, who is at it
.OUT.HOST-PID.finish    the result, while one process writes it; renamed OUT when it is whole
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..errors import InputError
from .folder import MANIFEST, is_folder, read_manifest
from .manifest import (
    LOG,
    MARK,
    describe_stage,
    finished_stage,
    hash_json,
    locked,
    log_event,
    partial_folder,
    put_in_place,
    write_manifest,
    write_whole,
)
from .provenance import inherited
from .store import me, shard_files, workers, working

POLL = 1.0  # seconds between looks at those still at work


def run_shared_stage(
    out: str | Path,
    name: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, str | Path],
    work: Callable[[Path], bool],
    finish: Callable[[Path, Path], Mapping[str, Any]],
    *,
    force: bool = False,
    replace_finished: bool = True,
) -> dict[str, Any] | None:
    """Like `openprm.runs.manifest.run_stage`, for long work that several processes may share.

    `work(shared)` does this process's part in the folder that all share, and returns whether all there is to do is
    done, by whomever. Then one process, when no other is at work any more, calls `finish(shared, folder)`, which
    writes the result into `folder` and returns what the manifest says of it. Returns the manifest, or None where
    others have work left to do.

    What is unfinished is never thrown away for other parameters: that raises InputError, unless `force`; what is
    finished is, with `replace_finished`. The key of the work does not hold this package's version: an upgrade must not
    cost what took days.
    """
    out = Path(out)
    described = describe_stage(out, name, parameters, inputs)
    key = hash_json(described)
    described["fingerprint"] = key
    shared = partial_folder(out)
    with ExitStack() as at_work:
        with locked(out, wait=True):
            if (there := finished_stage(out, name, key)) and not force:
                _sweep(shared, key)
                return there
            if is_folder(out) and not (replace_finished or force):
                other = _difference(read_manifest(out), described)
                raise InputError(f"{out} is finished, by a run with {other}; choose another --out, or --force")
            run = _enter(shared, out, described, force)
            at_work.enter_context(working(shared))
        log_event(shared, event="start", stage=name, time=time.time())
        try:
            complete = work(shared)
        except FileNotFoundError:
            if unfinished(out) is not None:
                raise
            complete = True  # another process has finished the stage and removed the shared folder
    if not complete:
        return None
    while True:
        with locked(out, wait=True):
            mark = _read_mark(shared)
            if mark is None and (there := finished_stage(out, name, key)):
                return there
            if mark is None or mark["run"] != run:
                raise InputError(f"{out}: another run took the place of this one (--force); run it again")
            if not workers(shared):
                return _make(shared, out, {**described, "origins": inherited(inputs)}, finish)
        time.sleep(POLL)


def unfinished(out: str | Path) -> tuple[Path, dict[str, Any]] | None:
    """The folder in which a shared stage's unfinished work lies and what it is to make; None where there is none."""
    shared = partial_folder(Path(out))
    mark = _read_mark(shared)
    return None if mark is None else (shared, mark)


def _enter(shared: Path, out: Path, described: dict[str, Any], force: bool) -> str:
    """Makes the shared folder, or joins those at work in it; returns the id of the run."""
    there = _read_mark(shared)
    same = there is not None and there["fingerprint"] == described["fingerprint"]
    if shared.exists() and (force or not same):
        if busy := workers(shared):
            raise InputError(f"another run is making {out} ({', '.join(busy)}); wait for it, or choose another --out")
        if not force and shard_files(shared):
            other = "a damaged description" if there is None else _difference(there, described)
            raise InputError(
                f"{shared} holds unfinished work of a run with {other}: finish it with the same parameters, choose "
                "another --out, or throw it away with --force"
            )
        shutil.rmtree(shared)
    if not shared.exists():
        shared.mkdir(parents=True)
        there = {**described, "run": uuid4().hex}
        write_whole(shared / MARK, json.dumps(there))
    assert there is not None
    return there["run"]


def _make(
    shared: Path, out: Path, described: Mapping[str, Any], finish: Callable[[Path, Path], Mapping[str, Any]]
) -> dict[str, Any]:
    for left in out.parent.glob(f".{out.name}.*.finish"):  # of a process that was killed
        shutil.rmtree(left)
    folder = out.with_name(f".{out.name}.{me()}.finish")
    folder.mkdir()
    started = time.time()
    try:
        result = finish(shared, folder)
    except Exception:
        shutil.rmtree(folder)
        raise
    shutil.copyfile(shared / LOG, folder / LOG)
    log_event(folder, event="end", stage=described["stage"], time=time.time(), seconds=round(time.time() - started, 3))
    manifest = write_manifest(folder / MANIFEST, described, result)
    put_in_place(folder, out)
    shutil.rmtree(shared)
    return manifest


def _sweep(shared: Path, key: str) -> None:
    """Removes the work of a finished stage, which a process killed at its very end has left."""
    mark = _read_mark(shared)
    if mark is not None and mark["fingerprint"] == key and not workers(shared):
        shutil.rmtree(shared)


def _read_mark(shared: Path) -> dict[str, Any] | None:
    try:
        mark = json.loads((shared / MARK).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return mark if isinstance(mark, dict) and "run" in mark else None


def _difference(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What tells two descriptions apart, in words."""
    for kind in ("parameters", "inputs"):
        for key in {**there[kind], **wanted[kind]}:
            before, now = there[kind].get(key), wanted[kind].get(key)
            if before != now:
                shown = f"{before!r}, not {now!r}" if kind == "parameters" else "another content"
                return f"other {kind}: {key} was {shown}"
    return f"another stage ({there['stage']})"
