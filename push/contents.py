"""What there is to read in a file that is about to be published: pieces of bytes, and where each stands."""

from __future__ import annotations

import codecs
import json
import mmap
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

_PARQUET_BATCH = 32 * 2**20
_PNG = b"\x89PNG\r\n\x1a\n"
_PICTURE_TEXT = 16 * 2**20
_SENTENCEPIECE = (".model", ".spm")


class Sealed(Exception):
    """A file that cannot be looked into; says why."""


class Piece(NamedTuple):
    """A buffer of values that lie side by side, the i-th at ends[i] to ends[i + 1].

    `about` says what they are, `where` turns an offset in the buffer into a place in the file. `own`: whether they are
    the project's words, however the file is called.
    """

    about: str
    where: Callable[[int], str]
    buffer: Any
    ends: Sequence[int]
    own: bool


def pieces(path: Path, own: bool) -> Iterator[Piece]:
    """What there is to read in a file. Raises Sealed, and pyarrow's errors for Parquet that cannot be read.

    `own`: whether the project wrote it. A buffer may be read until the next piece is asked for.
    """
    kinds = {".parquet": _parquet, ".safetensors": _safetensors, ".png": _png}
    if not path.stat().st_size:
        return iter(())
    return kinds[path.suffix](path) if path.suffix in kinds else _plain(path, own)


def _named(about: str, content: bytes) -> Piece:
    return Piece(about, lambda _: about, content, (0, len(content)), True)


def _plain(path: Path, own: bool) -> Iterator[Piece]:
    """Text, and what sentencepiece writes: messages of protocol buffers, which begin with a first piece."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # not closed while somebody looks at it
    binary = path.suffix in _SENTENCEPIECE and content[:1] == b"\n"
    if not binary and not _is_text(content):
        raise Sealed("it is no UTF-8 text")
    seen = [0, 1]  # an offset, and its line: offsets come in order

    def line(offset: int) -> str:
        seen[:] = offset, seen[1] + content[seen[0] : offset].count(b"\n")
        return f"line {seen[1]}"

    yield Piece("", (lambda offset: f"byte {offset}") if binary else line, content, (0, len(content)), own)


def _is_text(content: mmap.mmap) -> bool:
    """UTF-16 has zeros, or is no UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), 2**20):
            decoder.decode(content[start : start + 2**20])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return content.find(b"\0") < 0


def _safetensors(path: Path) -> Iterator[Piece]:
    """The header; what follows are tensors up to the end of the file."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        content = file.read(size) if size < path.stat().st_size else b""
    try:
        header = json.loads(content)
        tensors = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, AttributeError, TypeError, LookupError):
        raise Sealed("it has no header of safetensors") from None
    if 8 + size + max(tensors, default=0) != path.stat().st_size:
        raise Sealed("it does not end where its tensors do")
    yield _named("header", content)


def _png(path: Path) -> Iterator[Piece]:
    """All but the pixels: texts, compressed or not, a colour profile, what a camera tells."""
    content = path.read_bytes()
    if not content.startswith(_PNG):
        raise Sealed("it is no PNG")
    kind, start = b"", len(_PNG)
    while start + 12 <= len(content):
        size, kind = int.from_bytes(content[start : start + 4], "big"), content[start + 4 : start + 8]
        data, start = content[start + 8 : start + 8 + size], start + 12 + size
        if kind not in (b"IDAT", b"fdAT"):
            yield _named(f"chunk {kind.decode('latin-1')}", _unpacked(kind, data))
    if kind != b"IEND" or start != len(content):
        raise Sealed("it does not end where its picture does")


def _unpacked(kind: bytes, data: bytes) -> bytes:
    """A chunk's data, with what is compressed in it decompressed."""
    if kind in (b"zTXt", b"iCCP"):  # name, 0, method
        name, _, packed = data.partition(b"\0")
        return name + b"\0" + _inflated(packed[1:])
    if kind == b"iTXt":  # name, 0, whether compressed, method, language, 0, translated name, 0
        name, _, rest = data.partition(b"\0")
        parts = rest[2:].split(b"\0", 2)
        if len(parts) < 3:
            raise Sealed("a text of its own is broken")
        text = _inflated(parts[2]) if rest[0] else parts[2]
        return b"\0".join([name, *parts[:2], text])
    return data


def _inflated(packed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(packed, _PICTURE_TEXT)
    except zlib.error:
        raise Sealed("a compressed text of its own is broken") from None
    if not inflater.eof or inflater.unused_data:
        raise Sealed("a compressed text of its own is too long, or broken")
    return content


def _parquet(path: Path) -> Iterator[Piece]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        for key, value in (schema.metadata or {}).items():
            yield _named(f"metadata {_shown(key)}", key + b"\0" + value)
        for field in schema:
            yield from _field(field, field.name)
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
        rows = max(1, _PARQUET_BATCH * file.metadata.num_rows // max(size, 1))
        before = 0
        for batch in file.iter_batches(rows):
            for column, values, row in _texts(batch):
                if (piece := _column(column, values, row, before)) is not None:
                    yield piece
            before += batch.num_rows


def _shown(text: bytes) -> str:
    return text.decode(errors="replace")


def _field(field: pa.Field, name: str) -> Iterator[Piece]:
    """The names of a column and of all in it, and what is noted of them."""
    yield _named(f"column {name}", field.name.encode())
    for key, value in (field.metadata or {}).items():
        yield _named(f"metadata {_shown(key)} of {name}", key + b"\0" + value)
    for index in range(field.type.num_fields):
        inner = field.type.field(index)
        yield from _field(inner, f"{name}.{inner.name}")


def _column(column: str, values: pa.Array, row: Callable[[int], int], before: int) -> Piece | None:
    """Of a large_binary array; `before` is the number of rows before its batch."""
    import numpy as np

    _, offsets, data = values.buffers()
    if data is None or not len(values):
        return None
    ends = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    used = data.slice(int(ends[0]), int(ends[-1] - ends[0]))
    ends = ends - ends[0]

    def where(offset: int) -> str:
        return f"row {before + row(bisect_right(ends, offset) - 1) + 1}, column {column}"

    return Piece(f"values of {column}", where, used, ends, False)


def _texts(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array, Callable[[int], int]]]:
    """Each column of text, nested ones too, as large_binary, and a function from its indices to rows."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        yield from _leaves(name, column, lambda index: index)


def _leaves(
    name: str, values: pa.Array, row: Callable[[int], int]
) -> Iterator[tuple[str, pa.Array, Callable[[int], int]]]:
    import pyarrow as pa
    import pyarrow.types as types

    kind = values.type
    if isinstance(values, pa.ExtensionArray):
        yield from _leaves(name, values.storage, row)
    elif types.is_dictionary(kind):
        yield from _leaves(name, values.dictionary_decode(), row)
    elif types.is_struct(kind):
        for index, part in enumerate(values.flatten()):
            yield from _leaves(f"{name}.{kind.field(index).name}", part, row)
    elif types.is_map(kind):
        yield from _leaves(f"{name}.key", *_below(values.keys, values.offsets, row))
        yield from _leaves(f"{name}.value", *_below(values.items, values.offsets, row))
    elif types.is_fixed_size_list(kind):
        own = values.values.slice(values.offset * kind.list_size, len(values) * kind.list_size)
        yield from _leaves(name, own, lambda index: row(index // kind.list_size))
    elif types.is_list(kind) or types.is_large_list(kind):
        yield from _leaves(name, *_below(values.values, values.offsets, row))
    elif types.is_fixed_size_binary(kind):
        yield name, values.cast(pa.binary()).cast(pa.large_binary()), row
    elif (
        types.is_string(kind)
        or types.is_binary(kind)
        or types.is_large_string(kind)
        or types.is_large_binary(kind)
        or types.is_string_view(kind)
        or types.is_binary_view(kind)
    ):
        yield name, values.cast(pa.large_binary()), row
    elif not (types.is_primitive(kind) or types.is_null(kind) or types.is_decimal(kind)):
        raise Sealed(f"column {name} is of type {kind}")


def _below(values: pa.Array, offsets: pa.Array, row: Callable[[int], int]) -> tuple[pa.Array, Callable[[int], int]]:
    """What the lists with these offsets hold of `values`, which other batches may share, and the rows of the lists."""
    starts = offsets.to_numpy()
    used = values.slice(starts[0], starts[-1] - starts[0])
    return used, lambda index: row(bisect_right(starts, index + starts[0]) - 1)
