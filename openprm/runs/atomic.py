"""Files and folders that appear whole or not at all, whenever the process is killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what then becomes the file `path`."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Writes a file."""
    with whole_file(path) as partial:
        partial.write_text(text, "utf-8")


def put_in_place(partial: Path, out: Path) -> None:
    """Renames a folder that is complete, in place of what is there.

    Its files get the permissions that the umask gives; some libraries write theirs for the owner alone.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    for path in partial.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~umask)
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(partial, out)
    shutil.rmtree(old, ignore_errors=True)
