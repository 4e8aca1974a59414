"""Rows of JSON and CSV files. A row that cannot be read is a `Failure`, and the next one is read."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from ..errors import Failure, InputError, first_line, is_unicode

#: The number of a row, from 1, and its values by column or why it cannot be read.
Row = tuple[int, dict[str, Any] | Failure]

#: Longest CSV field, in characters. An unclosed quote would otherwise read the rest of the file as one field.
_CSV_FIELD = 1 << 26
_BLANK = re.compile(r"[ \t\r\n]*")


@contextmanager
def _open(path: str) -> Iterator[IO[bytes]]:
    """The bytes of a text file after its byte order mark. Raises InputError for UTF-16."""
    opener: Any = gzip.open if path.lower().endswith(".gz") else open
    with opener(path, "rb") as handle:
        start = handle.read(3)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InputError(f"{path}: the text is UTF-16; save it as UTF-8")
        handle.seek(3 if start == codecs.BOM_UTF8 else 0)
        yield handle


def damage(problem: str | Exception) -> Failure:
    """The last failure of a file that cannot be read further."""
    problem = first_line(problem) if isinstance(problem, Exception) else problem
    remedy = "the rows before it are kept; write, copy or download the file again"
    return Failure(f"nothing can be read from here on: {problem}", remedy)


def _not_utf8(where: str = "") -> Failure:
    return Failure(f"invalid UTF-8{where}", "save the text as UTF-8")


def json_lines(path: str) -> Iterator[Row]:
    """One object per line."""
    with _open(path) as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode())
            except UnicodeDecodeError as error:
                yield number, _not_utf8(f" at byte {error.start + 1}")
            except (ValueError, RecursionError) as error:
                cut = "" if line.endswith(b"\n") else " (the last line: the file may have been cut off)"
                yield number, Failure(f"broken JSON{cut}: {error}", "write one JSON object per line")
            else:
                yield number, _object(row)


def _object(row: Any) -> dict[str, Any] | Failure:
    if isinstance(row, dict):
        return row
    return Failure("not a JSON object", "write one object per row (a list of objects must be named .json)")


def json_file(path: str) -> Iterator[Row]:
    """A list of objects, or one object per line."""
    with _open(path) as handle:
        first = next((line for line in handle if line.strip()), b"").strip()
    if first == b"{":
        raise InputError(
            f"{path}: one JSON object over several lines; write a list of objects, or one object per line"
        )
    return _json_list(path) if first.startswith(b"[") else json_lines(path)


def _json_list(path: str) -> Iterator[Row]:
    """Element by element, so that those before a broken one are kept. The text of the file is held in memory."""
    with _open(path) as handle:
        text = handle.read().decode("utf-8", errors="surrogateescape")
    decode = json.JSONDecoder().raw_decode
    at, number = _next(text, text.index("[") + 1), 0
    separator = "]" if text.startswith("]", at) else ","
    try:
        while separator == ",":
            row, end = decode(text, at)
            after = _next(text, end)
            separator = text[after : after + 1]
            if separator not in (",", "]"):
                raise ValueError(f"{separator!r} follows an element" if separator else "not closed: was it cut off?")
            number += 1
            yield number, _object(row) if is_unicode(text[at:end]) else _not_utf8()
            at = _next(text, after + 1)
        if number and at < len(text):
            raise ValueError("text follows the end of the list")
    except (ValueError, RecursionError) as error:
        yield number + 1, damage(f"broken JSON: {error}")


def _next(text: str, at: int) -> int:
    """The position of the next character that is not whitespace."""
    return cast(re.Match[str], _BLANK.match(text, at)).end()


def csv_file(path: str) -> Iterator[Row]:
    """Comma-separated values; the first line names the columns; every value is text."""
    csv.field_size_limit(_CSV_FIELD)  # a global of the csv module, whose default is 131,072
    with _open(path) as handle:
        # invalid bytes become lone surrogates, so that one bad row does not spoil the file
        text = io.TextIOWrapper(handle, "utf-8", errors="surrogateescape", newline="")
        rows = csv.reader(text, strict=True)  # strict: a stray quote is an error
        header: list[str] | None = None
        while True:
            number = rows.line_num + 1
            try:
                fields = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                if header is None:
                    raise InputError(f"{path}: the header cannot be read: {error}; check its quotes") from error
                reason = f"broken CSV in line {rows.line_num}: {error}"
                yield number, Failure(reason, 'close each quote, and write a quote inside a field as ""')
                continue
            if not fields:  # a blank line
                continue
            if header is None:
                header = _header(path, fields)
            elif not is_unicode("".join(fields)):
                yield number, _not_utf8()
            elif len(fields) != len(header):
                reason = f"{len(fields)} fields where the header has {len(header)}"
                yield number, Failure(reason, "put fields with commas or line ends in quotes")
            else:
                yield number, dict(zip(header, fields, strict=True))


def _header(path: str, names: list[str]) -> list[str]:
    if "\0" in "".join(names):
        raise InputError(f"{path}: zero bytes in the header, as in UTF-16 text; save the file as UTF-8")
    if not is_unicode("".join(names)):
        raise InputError(f"{path}: invalid UTF-8 in the header; save the file as UTF-8")
    for separator in ";\t":
        if len(names) == 1 and separator in names[0]:
            raise InputError(f"{path}: the columns are separated by {separator!r}; separate them by commas")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the header names {', '.join(map(repr, twice))} twice; rename one")
    return names
