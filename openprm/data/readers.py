"""Rows from a user's file or dataset, one at a time, each with its number.

A row that cannot be read is a `Failure`, and the next one is read; a file that cannot be read is an `InputError`. In
memory is one batch of rows (of a folder or Hub dataset of Parquet files, a row group; of a JSON list, the file).
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import Failure, InputError, first_line
from ..runs.folder import Location, download, load_from_hub, locate, read_rows, without_pattern
from .columns import require_column
from .text_readers import Row, csv_file, damage, json_file, json_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from .paper_datasets import Source

_BATCH_BYTES = 16 << 20
_BATCH_ROWS = 1024
_ROWS_SEEN_FOR_COLUMNS = 100

T = TypeVar("T")


def numbered_rows(path: str, split: str | None = None, name: str | None = None) -> Iterator[Row]:
    """The rows of `path`, each with its number from 1. A row that cannot be read is a `Failure` instead of its values.

    The number is that of the line in JSONL and CSV (the header is line 1; of a CSV row over several lines the first),
    of the element in a JSON list, and of the row in Parquet and in a dataset's split.

    path: a file (.jsonl, .ndjson, .json, .csv, each also with .gz, or .parquet), a stage's folder, another folder that
      `datasets` can open (`save_to_disk` or data files; it is read without the cache), or a Hub id. See
      `openprm.runs.folder.locate`.
    split: may be left out if there is only one.
    name: of the file in failures; else its path.

    Raises InputError, at once or with the first row: missing or empty file, unknown format or split, no rows, not
    UTF-8 text, no header, a Parquet file cut in half. After damage within the file, the last row is a Failure.
    """
    path = os.fspath(path)
    location = locate(path)
    if location.kind == "file":
        rows = _file_rows(path, split)
    elif location.kind == "stage":
        rows = enumerate(read_rows(path, split=split), 1)
    else:
        rows = _dataset_rows(path, location, split)
    return _checked(path, rows, name or path)


def with_columns(rows: Iterator[Row]) -> tuple[list[str], Iterator[Row]]:
    """The columns of the first rows (in JSON, rows may differ), and all rows."""
    first: list[Row] = []
    names: dict[str, None] = {}
    for number, row in rows:
        first.append((number, row))
        names.update(dict.fromkeys(() if isinstance(row, Failure) else row))
        if names and len(first) >= _ROWS_SEEN_FOR_COLUMNS:
            break
    return list(names), chain(first, rows)


def convert_rows(
    rows: Iterator[Row],
    name: str,
    convert: Callable[[int, dict[str, Any]], Iterable[T | Failure]],
    counts: Counter[str] | None = None,
) -> Iterator[T | Failure]:
    """What `convert(number, row)` makes of each row, or the Failure that it raises, with the row as its key.

    name: of the file, for the keys of failures. counts: filled with the number of "rows" read.
    """
    for number, row in rows:
        if counts is not None:
            counts["rows"] += 1
        if isinstance(row, Failure):
            yield row
            continue
        try:
            yield from convert(number, row)
        except Failure as failure:
            yield failure.at(row_key(name, number))


def row_key(name: str, number: int) -> str:
    """The name of a row in messages."""
    return f"{name}, row {number}"


def dataset_name(path: str) -> str:
    """The short name of a file or dataset: answers for data/answers.jsonl.gz, data for org/data@revision:config."""
    try:
        location = locate(path)
    except InputError:  # reading it says what is wrong
        name = path
    else:
        name = location.hub.repository if location.hub else location.path
    name = os.path.basename(os.path.normpath(name))
    return name.removesuffix(".gz").removesuffix(_suffix(name) or "")


def source_rows(source: Source, path: str | None) -> Iterator[tuple[str, Iterator[Row]]]:
    """The rows of each config of a source, and a name for them that is the same on every machine.

    path: a file, or a folder laid out as the source is on the Hub, to read instead of the Hub. Raises InputError if
    that does not give the source's rows.
    """
    place = str(download(source.hub, "dataset", source.revision)) if path is None else path
    is_file = os.path.isfile(place)
    for config in ("",) if is_file else source.configs or ("",):
        suffix = f":{config}" if config else ""
        name = (source.hub if path is None else path) + suffix
        names, rows = with_columns(numbered_rows(place + suffix, None if is_file else source.split, name))
        for column in source.columns if names else ():
            require_column(name, f"{source.name}'s rows", column, names)
        yield name, rows


def _suffix(path: str) -> str | None:
    lower = path.lower()
    return next((suffix for suffix in _READERS if lower.removesuffix(".gz").endswith(suffix)), None)


def _file_rows(path: str, split: str | None) -> Iterator[Row]:
    suffix = _suffix(path)
    if suffix is None or (suffix == ".parquet" and path.lower().endswith(".gz")):
        raise InputError(f"{path}: unknown format; use a file that ends in {', '.join(_READERS)}")
    if split is not None:
        raise InputError(f"{path}: a file has no split {split!r}; leave the split out, or filter the rows by a column")
    if not os.path.getsize(path):
        raise InputError(f"{path}: the file is empty; check how it was written")
    return _READERS[suffix](path)


def _checked(path: str, rows: Iterator[Row], name: str) -> Iterator[Row]:
    """Raises if there are no rows; makes damage after some rows the last Failure; gives failures their keys."""
    last = 0
    try:
        for last, row in rows:
            yield last, row.at(row_key(name, last)) if isinstance(row, Failure) else row
    except (EOFError, OSError, zlib.error) as error:
        if not last:
            raise InputError(f"{path}: cannot be read: {first_line(error)}; write or copy it again") from error
        yield last + 1, damage(error).at(row_key(name, last + 1))
    if not last:
        raise InputError(f"{path}: there are no rows; check how it was written")


def _parquet(path: str) -> Iterator[Row]:
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
            for group in range(file.num_row_groups):  # one by one: no batch mixes intact and damaged groups
                for batch in file.iter_batches(batch_size, row_groups=[group]):
                    yield from _arrow_rows(read, batch)
                    read += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise OSError(f"rows {read + 1} to {total} are damaged: {first_line(error)}") from error


def _arrow_rows(before: int, table: pa.Table | pa.RecordBatch) -> Iterator[Row]:
    try:
        yield from enumerate(table.to_pylist(), before + 1)
    except ValueError as error:  # such as text that is not UTF-8: Arrow does not check
        if table.num_rows > 1:
            for index in range(table.num_rows):
                yield from _arrow_rows(before + index, table.slice(index, 1))
        else:
            reason = f"cannot be read: {first_line(error)}"
            yield before + 1, Failure(reason, "store text as UTF-8 and values that Python can hold")


def _dataset_rows(path: str, location: Location, split: str | None) -> Iterator[Row]:
    read = 0
    try:
        import datasets

        with without_pattern(location.path) as folder:
            if location.hub is not None:
                data: Any = load_from_hub(location.hub, split)
            elif any(os.path.exists(os.path.join(folder, name)) for name in ("state.json", "dataset_dict.json")):
                data = datasets.load_from_disk(folder)
            else:  # streaming: the cache knows a local folder by its base name, so it could give another folder's rows
                data = datasets.load_dataset(folder, location.config, streaming=True)
            if isinstance(data, dict):  # a DatasetDict
                if split not in data and (split is not None or len(data) > 1):
                    raise ValueError(f"its splits are {', '.join(map(str, data))}")
                data = data[split or next(iter(data))]
            # as Arrow tables: images and audio are not decoded, and nothing is converted twice
            for table in data.with_format("arrow").iter(batch_size=_BATCH_ROWS):
                yield from _arrow_rows(read, table)
                read += table.num_rows
    except Exception as error:  # `datasets` and what it opens raise anything
        if not read:
            raise InputError(
                f"{path}: `datasets` cannot read it: {first_line(error)}; check the name, config and split"
            ) from error
        yield read + 1, damage(error)


_READERS: dict[str, Callable[[str], Iterator[Row]]] = {
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": json_file,
    ".csv": csv_file,
    ".parquet": _parquet,
}
