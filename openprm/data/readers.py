"""Rows from a user's file or dataset, one at a time, each with its position.

A row that cannot be read is a `Rejection` and reading goes on; a file that cannot be read is an
`InputError`. Memory is bounded by a batch of rows (in a folder or Hub dataset of Parquet files, by a row
group), whatever the size of the file.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import InputError, Rejection, Row, damage, first_line
from ..hub_id import HubId
from .text_readers import csv_file, json_file, json_lines

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["InputError", "Rejection", "Row", "read_rows"]

_BATCH_BYTES = 16 << 20
_BATCH_ROWS = 1024


def read_rows(path: str, split: str | None = None) -> Iterator[Row | Rejection]:
    """The rows of `path`, each with its position (see `Rejection.row`).

    `path` is a file (.jsonl, .ndjson, .json, .csv, each also with .gz, or .parquet), a folder that
    `datasets` can open (`save_to_disk` or data files; it is read in place, past the cache), or a Hub id.
    A folder or id may be followed by `:config`, an id by `@revision` before it; `split` may be left out where there
    is only one.

    Raises InputError, at once or with the first row: missing or empty file, unknown format or split,
    no rows, not UTF-8 text, no header, a Parquet file cut in half. Damage met after some rows ends the
    reading with one Rejection that says so.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        return _checked(path, _dataset(path, split))
    reader = _reader(path)
    if reader is None:
        raise InputError(f"{path}: unknown format; use a file that ends in {', '.join(_READERS)}")
    if split is not None:
        raise InputError(f"{path}: a file has no split {split!r}; leave the split out, or filter the rows by a column")
    if not os.path.getsize(path):
        raise InputError(f"{path}: the file is empty; check how it was written")
    return _checked(path, reader(path))


def _reader(path: str) -> Callable[[str], Iterator[Row | Rejection]] | None:
    lower = path.lower()
    for suffix, reader in _READERS.items():
        if lower.endswith(suffix) or (reader is not _parquet and lower.endswith(f"{suffix}.gz")):
            return reader
    return None


def _checked(path: str, rows: Iterator[Row | Rejection]) -> Iterator[Row | Rejection]:
    """Raise where there are no rows at all; turn damage met on the way into a last Rejection."""
    last = 0
    try:
        for item in rows:
            last = (item.row or last) if isinstance(item, Rejection) else item[0]
            yield item
    except (EOFError, OSError, zlib.error) as error:
        if not last:
            raise InputError(f"{path}: cannot be read: {first_line(error)}; write or copy it again") from error
        yield damage(path, last + 1, error)
    if not last:
        raise InputError(f"{path}: there are no rows; check how it was written")


def _parquet(path: str) -> Iterator[Row | Rejection]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: not a complete Parquet file: {first_line(error)}; write or copy it again"
        ) from error
    with file:
        total, read = file.metadata.num_rows, 0
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
        batch_size = max(1, min(_BATCH_ROWS, _BATCH_BYTES * total // max(size, 1)))
        try:
            for group in range(file.num_row_groups):  # one by one: no batch mixes sound and damaged groups
                for batch in file.iter_batches(batch_size, row_groups=[group]):
                    yield from _arrow_rows(path, read, batch)
                    read += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise OSError(f"rows {read + 1} to {total} are damaged: {first_line(error)}") from error


def _arrow_rows(path: str, before: int, table: pa.Table | pa.RecordBatch) -> Iterator[Row | Rejection]:
    try:
        rows = table.to_pylist()
    except ValueError as error:  # such as text that is not UTF-8: Arrow does not check
        if table.num_rows > 1:
            for index in range(table.num_rows):
                yield from _arrow_rows(path, before + index, table.slice(index, 1))
        else:
            reason = f"cannot be read: {first_line(error)}"
            yield Rejection(path, before + 1, reason, "store text as UTF-8 and values that Python can hold")
    else:
        yield from enumerate(rows, before + 1)


def _dataset(path: str, split: str | None) -> Iterator[Row | Rejection]:
    folder, _, config = (path, "", "") if os.path.isdir(path) else path.partition(":")
    hub = None if os.path.isdir(folder) or _reader(path) else HubId.parse(path)
    if hub is None and not os.path.isdir(folder):
        raise InputError(f"{path}: there is no such file or folder; check the path")
    read = 0
    try:
        data = _load_folder(folder, config or None) if hub is None else _load_hub(hub, split)
        if isinstance(data, dict):  # a DatasetDict
            if split not in data and (split is not None or len(data) > 1):
                raise ValueError(f"its splits are {', '.join(map(str, data))}")
            data = data[split or next(iter(data))]
        # As Arrow tables: images and audio are not decoded, and nothing is converted twice.
        for table in data.with_format("arrow").iter(batch_size=_BATCH_ROWS):
            yield from _arrow_rows(path, read, table)
            read += table.num_rows
    except Exception as error:  # `datasets` and what it opens raise anything
        if not read:
            raise InputError(
                f"{path}: `datasets` cannot read it: {first_line(error)}; check the name, config and split"
            ) from error
        yield damage(path, read + 1, error)


def _load_hub(hub: HubId, split: str | None) -> Any:
    import datasets

    return datasets.load_dataset(hub.repository, hub.config, split=split, revision=hub.revision)


def _load_folder(name: str, config: str | None) -> Any:
    import datasets

    if any(os.path.exists(os.path.join(name, mark)) for mark in ("state.json", "dataset_dict.json")):
        return datasets.load_from_disk(name)
    # Streaming, as the cache of a local folder goes by its base name: another folder's rows could come back.
    return datasets.load_dataset(os.path.abspath(name), config, streaming=True)


_READERS = {
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": json_file,
    ".csv": csv_file,
    ".parquet": _parquet,
}
