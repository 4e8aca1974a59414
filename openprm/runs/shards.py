"""Long work in shards, each kept as soon as it is finished, so that a killed run loses little.

    .OUT.partial/.work/00012.parquet    one shard, complete or absent: its rows, in its metadata a note and row hashes
    .OUT.partial/.work/progress-....txt how far a run, or a part of it, is

A shard is a list of items (prompts, responses); what is made of an item is some rows, or a reason why there are none.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import Failure, InputError, first_line
from ..schema import features
from .dataset import ROWS_PER_FILE, Rejections, most_common
from .folder import row_digest, write_tables
from .manifest import WORK, Part, is_running, partial_folder
from .progress import Progress, Report, duration

Items = Sequence[Mapping[str, Any]]

_NOTE, _DIGESTS = b"openprm", b"openprm digests"


@dataclass(frozen=True)
class Made:
    """What was made of one item."""

    rows: Sequence[Mapping[str, Any]]
    failure: Failure | None = None


@dataclass(frozen=True)
class Note:
    """What is known of a shard without reading its rows: how many, of how many items, and what failed."""

    rows: int
    items: int
    failures: Sequence[Failure]
    counts: Mapping[str, Any]

    @property
    def done(self) -> int:
        """Items that need no retry."""
        return self.items - sum(failure.transient for failure in self.failures)


#: Takes shards as (index, items) and a callback for its progress; yields each index with what was made of every item,
#: in any order of shards. Called only where a shard is missing, so it may load a model first.
Compute = Callable[[Iterable[tuple[int, Items]], Report], Iterable[tuple[int, Sequence[Made]]]]
#: The counts of a shard's rows, by name.
Count = Callable[[Items], Mapping[str, Any]]


@dataclass(frozen=True)
class Work:
    """Work that is done in shards.

    name, unit, total, rows, rows_per_unit: see `Progress`; a unit is an item. source: what the items are read from.
    per_shard: items in each shard but the last. shards: all shards, in order; called once for each run. key:
    identifies an item, and the rows made of it.
    """

    name: str
    unit: str
    source: str
    total: int
    per_shard: int
    shards: Callable[[], Iterable[Items]]
    compute: Compute
    key: Callable[[Mapping[str, Any]], str]
    count: Count
    rows: str = ""
    rows_per_unit: int = 1

    def total_of(self, part: Part | None) -> int:
        """How many items a part of the run has."""
        if part is None:
            return self.total
        starts = enumerate(range(0, self.total, self.per_shard))
        return sum(min(self.per_shard, self.total - start) for index, start in starts if part.has(index))


class Shards:
    """The finished shards of a run, each holding rows of `record`."""

    def __init__(self, folder: Path, record: type) -> None:
        self.folder, self.record = folder / WORK, record

    def write(
        self, index: int, rows: Items, failures: Sequence[Failure], counts: Mapping[str, Any], items: int
    ) -> None:
        """Writes a shard, in place of what may be there. Raises InputError where it cannot be written."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        note = Note(len(rows), items, failures, counts)
        table = pa.Table.from_pylist(rows, schema=features(self.record).arrow_schema).replace_schema_metadata(
            {_NOTE: json.dumps(asdict(note)), _DIGESTS: b"".join(map(row_digest, rows))}
        )
        path = self._path(index)
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                pq.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())  # hours of work: not lost to a power cut
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise InputError(
                f"{path} cannot be written ({first_line(error)}); what is finished is kept: free some space, or get "
                "permission to write there, and run the same command again"
            ) from error

    def notes(self) -> dict[int, Note]:
        """The note of each finished shard, in order; damaged shards are left out."""
        there = sorted(int(path.stem) for path in self.folder.glob("[0-9]*.parquet"))
        return {index: note for index in there if (note := _read_note(self._path(index))) is not None}

    def read(self, index: int) -> tuple[Any, bytes]:
        """The rows of a finished shard as an Arrow table, and their digests."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._path(index)
        try:
            with path.open("rb") as file:
                table = pq.read_table(file)
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{path} is damaged ({first_line(error)}); remove it, and run the same command again"
            ) from error
        return table, table.schema.metadata[_DIGESTS]

    def discard(self) -> None:
        """Removes all shards, so that a run with other parameters may follow one that had no result."""
        for path in self.folder.glob("[0-9]*.parquet"):
            path.unlink()

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.parquet"


def _read_note(path: Path) -> Note | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = json.loads(pq.read_metadata(path).metadata[_NOTE])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None
    return Note(**{**found, "failures": [Failure(**failure) for failure in found["failures"]]})


def compute_missing(shards: Shards, work: Work, part: Part | None = None, *, strict: bool = False) -> None:
    """Computes the shards (of one part) that are missing, and retries failures that a retry may fix.

    Raises InputError at the first failure if `strict`.
    """
    notes = {index: note for index, note in shards.notes().items() if part is None or part.has(index)}
    taken: dict[int, tuple[Items, Items]] = {}

    def missing() -> Iterator[tuple[int, Items]]:
        for index, items in enumerate(work.shards()):
            if part is not None and not part.has(index):
                continue
            chosen = items
            if index in notes:
                retried = {failure.key for failure in notes[index].failures if failure.transient}
                chosen = [item for item in items if work.key(item) in retried]
            if chosen:
                taken[index] = items, chosen
                yield index, chosen

    with Progress(
        work.name,
        work.unit,
        work.total_of(part),
        sum(note.done for note in notes.values()),
        rows=work.rows,
        rows_per_unit=work.rows_per_unit,
        note=shards.folder / ("progress.txt" if part is None else f"progress-{part.name}.txt"),
    ) as progress:
        pending = missing()
        first = next(pending, None)
        if first is None:  # no model is loaded where nothing is missing
            return
        for index, results in work.compute(chain([first], pending), progress.report):
            items, chosen = taken.pop(index)
            made = [_named(one, work.key(item)) for item, one in zip(chosen, results, strict=True)]
            new = [row for one in made for row in one.rows]
            progress.finish(len(chosen) * work.rows_per_unit, work.count(new).get("tokens", 0))
            if strict and (failure := next((one.failure for one in made if one.failure), None)):
                raise InputError(f"{failure} (stopped by --strict)")
            if index in notes:
                kept = _kept(shards, index, notes[index], work) | dict(zip(map(work.key, chosen), made, strict=True))
                made = [kept.get(work.key(item), Made([])) for item in items]
            rows = [row for one in made for row in one.rows]
            failures = [one.failure for one in made if one.failure]
            shards.write(index, rows, failures, work.count(rows), len(items))


def _named(made: Made, key: str) -> Made:
    return replace(made, failure=made.failure.at(key)) if made.failure else made


def _kept(shards: Shards, index: int, note: Note, work: Work) -> dict[str, Made]:
    """What an earlier run made of the items of a shard."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in shards.read(index)[0].to_pylist():
        rows.setdefault(work.key(row), []).append(row)
    failures = {str(failure.key): failure for failure in note.failures}
    return {key: Made(rows.get(key, []), failures.get(key)) for key in {**rows, **failures}}


def write_dataset(
    folder: Path,
    shards: Shards,
    rejections: Rejections,
    source: str,
    *,
    per_file: int = ROWS_PER_FILE,
    allow_failures: bool = False,
) -> tuple[bytes, list[Note]]:
    """Writes the rows of all shards as a dataset; returns the digests of all rows, and the shards' notes.

    Each file has about `per_file` rows. Failures are listed in `rejections`. Raises InputError where a retry may fix
    some, unless `allow_failures`, and where nothing could be made of `source`.
    """
    notes = shards.notes()
    failures = [failure for note in notes.values() for failure in note.failures]
    transient = [failure for failure in failures if failure.transient]
    if transient and not allow_failures:
        raise InputError(
            f"{len(transient)} failed that a retry may fix, the first: {transient[0]}. What is finished is "
            "kept: run the same command again (without --shard) to retry only those, or finish without them with "
            "--allow-failures"
        )
    for failure in failures:
        rejections.add(failure)
    if not any(note.rows for note in notes.values()):
        shards.discard()
        raise InputError(f"{source}: there is no result to write; " + most_common(rejections.counts))
    files: dict[int, list[int]] = {}
    rows = 0
    for index, note in notes.items():
        files.setdefault(rows // per_file, []).append(index)
        rows += note.rows
    digests = (
        write_tables(folder, number, map(shards.read, indexes), shards.record)
        for number, indexes in enumerate(files.values())
    )
    return b"".join(digests), list(notes.values())


def added(notes: Iterable[Note]) -> dict[str, Any]:
    """The counts of all shards together: numbers are added, counts by name too."""
    total: dict[str, Any] = {}
    for note in notes:
        for name, value in note.counts.items():
            if isinstance(value, Mapping):
                total[name] = dict(Counter(total.get(name, {})) + Counter(value))
            else:
                total[name] = total.get(name, 0) + value
    return total


def status(out: str | Path) -> list[str] | None:
    """How far the unfinished run that makes `out` is, in lines; None where there is none."""
    folder = partial_folder(Path(out)) / WORK
    if not folder.is_dir():
        return None
    notes = [note for path in sorted(folder.glob("[0-9]*.parquet")) if (note := _read_note(path))]
    lines = []
    for path in sorted(folder.glob("progress*.txt")):
        age = duration(time.time() - path.stat().st_mtime)
        lines.append(f"{path.read_text('utf-8')} ({age} ago)")
    failed = Counter(failure.reason for note in notes for failure in note.failures)
    lines += [f"{count:8}  {reason}" for reason, count in failed.most_common(5)]
    state = "running" if is_running(Path(out)) else "not running; the same command resumes it"
    return [*lines, f"{len(notes)} shards finished in {folder}; {state}"]


def prompt_key(row: Mapping[str, Any]) -> str:
    """Identifies a prompt: the key of work on prompts."""
    return f"prompt {row['prompt_id']!r}"


def response_key(row: Mapping[str, Any]) -> str:
    """Identifies a response: the key of work on candidates."""
    return f"{prompt_key(row)}, sample {row['sample_index']}"
