"""Locks of folders: one process at a time makes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import InputError, first_line

_WAIT = 10.0  # seconds; parts hold the lock only while they start


@contextmanager
def locked(out: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds the lock file beside `out`. Raises InputError where another process does (with `wait`, after 10 s)."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock_path(out).touch()  # of a file that cannot be made, FileLock says that it is held
    except (OSError, ValueError) as error:
        raise InputError(f"{out} cannot be made ({first_line(error)}); choose another --out") from error
    try:
        with FileLock(lock_path(out), timeout=_WAIT if wait else 0):
            yield
    except Timeout:
        raise InputError(f"another process is making {out}; wait for it, or choose another folder") from None


def lock_path(out: Path) -> Path:
    return out.with_name(f".{out.name}.lock")


def is_held(lock: Path) -> bool:
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
