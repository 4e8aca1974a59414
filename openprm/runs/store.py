"""What a long run has finished so far, shard by shard, shared by all processes that work on it.

    FOLDER/.store/00012.parquet     one shard: complete or absent
    FOLDER/.store/00012.lock        held by the process that makes it; free again when that process dies
    FOLDER/.workers/HOST-PID-....lock   held by each process at work

A shard is one file: its rows, and in the file's metadata a note of what failed, what was counted and when. It appears
under its name only when complete. Locks are those of the file system. Where they do not reach from one machine to
another, as on some network file systems, give each a part of its own (`Share`), and let one of them finish.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import InputError, first_line
from ..schema import features

STORE = ".store"
WORKERS = ".workers"

_NOTE = b"openprm"
_RUN = "run.json"


@dataclass(frozen=True)
class Unfinished:
    """One part of a shard (a prompt, a candidate) that there is no result of. `transient`: trying again may help."""

    key: str
    reason: str
    remedy: str
    transient: bool


@dataclass(frozen=True)
class Note:
    """What is known of a shard without reading its rows. Times are in seconds since the epoch."""

    unfinished: Sequence[Unfinished]
    counts: Mapping[str, int]
    started: float
    finished: float


@dataclass(frozen=True)
class Share:
    """The part `index` (from 1) of `of` equal parts of a run, by shards."""

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of:
            raise ValueError(f"shard {self.index}/{self.of} is none of 1/{self.of} to {self.of}/{self.of}")

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Share:
        """`"2/8"`: the second of eight parts."""
        index, slash, of = text.partition("/")
        if not (slash and index.isdecimal() and of.isdecimal()):
            raise ValueError(f"{text!r} is not I/N, such as 1/4 for the first of four parts")
        return cls(int(index), int(of))

    def has(self, shard: int) -> bool:
        return shard % self.of == self.index - 1


class Store:
    """The shards of one run below `folder`, each holding rows of `record`."""

    def __init__(self, folder: Path, record: type) -> None:
        self.folder = folder / STORE
        self.schema = features(record).arrow_schema
        self._notes: dict[int, Note] = {}
        self._held: dict[int, tuple[FileLock, float]] = {}
        self.folder.mkdir(exist_ok=True)

    def describe(self, name: str, unit: str, total: int | None) -> None:
        """Notes for those who look on what is done here, and of how many units."""
        path = self.folder / _RUN
        partial = path.with_name(f"{_RUN}.{me()}.partial")
        partial.write_text(json.dumps({"name": name, "unit": unit, "total": total}), "utf-8")
        os.replace(partial, path)

    def notes(self) -> dict[int, Note]:
        """The note of each shard there is. One that is damaged is none: it is made anew."""
        there = sorted(int(path.stem) for path in self.folder.glob("[0-9]*.parquet"))
        return {index: note for index in there if (note := self.note(index)) is not None}

    def note(self, index: int) -> Note | None:
        """The note of one shard, as this process has last read it; None where it is absent or damaged."""
        if index not in self._notes:
            note = _read_note(self._path(index))
            if note is None:
                return None
            self._notes[index] = note
        return self._notes[index]

    def take(self, index: int) -> bool:
        """Holds shard `index` for this process, to be written; False where another process is making it.

        Raises FileNotFoundError where the store is gone: another process has finished the run.
        """
        lock = FileLock(self.folder / f"{index:05d}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        if not (self.folder / _RUN).exists():  # a lock makes the folder that it lies in
            lock.release()
            Path(lock.lock_file).unlink()
            with suppress(OSError):  # not empty
                self.folder.rmdir()
                self.folder.parent.rmdir()
            raise FileNotFoundError(f"{self.folder} is gone")
        self._held[index] = (lock, time.time())
        self._notes.pop(index, None)  # another process may have written it again
        return True

    def is_free(self, index: int) -> bool:
        """Whether no other process is making a shard. Raises FileNotFoundError as `take`."""
        if not self.take(index):
            return False
        self.release(index)
        return True

    def write(
        self, index: int, rows: Iterable[Any], unfinished: Sequence[Unfinished], counts: Mapping[str, int]
    ) -> None:
        """Writes shard `index`, which `take` holds, in place of what may be there, and lets go of it.

        Raises InputError where it cannot be written (what was finished before stays), FileNotFoundError as `take`.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        _, started = self._held[index]
        note = Note(unfinished, counts, started, time.time())
        table = pa.Table.from_pylist(list(rows), schema=self.schema)
        table = table.replace_schema_metadata({_NOTE: json.dumps(asdict(note)).encode()})
        partial = self.folder / f"{index:05d}.{me()}.partial"
        try:
            with partial.open("wb") as file:
                pq.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())  # hours of work: not lost to a power cut
            os.replace(partial, self._path(index))
        except FileNotFoundError:
            raise  # the store is gone, see `take`
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise InputError(
                f"{self._path(index)} cannot be written ({first_line(error)}); what was finished before is kept: "
                "see to it that there is room and leave to write, and run the same command again"
            ) from error
        self._notes[index] = note
        self.release(index)

    def release(self, index: int) -> None:
        """Lets go of a shard that `take` holds."""
        lock, _ = self._held.pop(index)
        lock.release()

    def release_all(self) -> None:
        for index in list(self._held):
            self.release(index)

    def discard(self) -> None:
        """Removes all shards: where they hold no result, the next run should not have to respect them."""
        for path in shard_files(self.folder.parent):
            path.unlink()

    def rows(self, index: int) -> list[dict[str, Any]]:
        """The rows of a finished shard."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._path(index)
        try:
            with path.open("rb") as file:
                return pq.read_table(file).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{path} is damaged ({first_line(error)}); remove it, and run the same command again"
            ) from error

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.parquet"


def shard_files(folder: Path) -> list[Path]:
    """The finished shards below `folder`."""
    return sorted((folder / STORE).glob("[0-9]*.parquet"))


def _read_note(path: Path) -> Note | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = json.loads(pq.read_metadata(path).metadata[_NOTE])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None
    unfinished = [Unfinished(**entry) for entry in found.pop("unfinished")]
    return Note(unfinished=unfinished, **found)


@contextmanager
def working(folder: Path) -> Iterator[None]:
    """Lists this process (each of its threads apart) among those at work on `folder`."""
    (folder / WORKERS).mkdir(exist_ok=True)
    with FileLock(folder / WORKERS / f"{me()}-{threading.get_ident()}.lock", thread_local=False):
        yield


def workers(folder: Path) -> list[str]:
    """The processes at work on `folder`, as HOST-PID."""
    return [path.stem for path in sorted((folder / WORKERS).glob("*.lock")) if _is_held(path)]


def look(folder: Path) -> tuple[dict[str, Any], list[Note]] | None:
    """What is done in a folder (name, unit, total) and the notes of its shards, from outside; None before a start."""
    try:
        run = json.loads((folder / STORE / _RUN).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    notes = [_read_note(path) for path in shard_files(folder)]
    return run, [note for note in notes if note is not None]


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def me() -> str:
    """This process, as others see it."""
    return f"{socket.gethostname()}-{os.getpid()}"
