"""Rows of JSON and CSV files, row by row: one that cannot be read is rejected and reading goes on."""

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

from ..errors import InputError, Rejection, Row, damage, is_unicode, not_utf8

_CHUNK = 1 << 20
#: Longest CSV field, in characters. An unclosed quote would otherwise read the rest of the file as one field.
_CSV_FIELD = 1 << 26
_BLANK = re.compile(r"[ \t\r\n]*")


@contextmanager
def _open(path: str) -> Iterator[IO[bytes]]:
    """The bytes of a text file behind its byte order mark. Raises InputError for UTF-16."""
    opener: Any = gzip.open if path.lower().endswith(".gz") else open
    with opener(path, "rb") as handle:
        start = handle.read(3)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InputError(f"{path}: the text is UTF-16; save it as UTF-8")
        handle.seek(3 if start == codecs.BOM_UTF8 else 0)
        yield handle


def _text(handle: IO[bytes]) -> io.TextIOWrapper:
    """Text that keeps invalid bytes as lone surrogates, so that one bad row is not the whole file."""
    return io.TextIOWrapper(handle, "utf-8", errors="surrogateescape", newline="")


def json_lines(path: str) -> Iterator[Row | Rejection]:
    """One object per line."""
    with _open(path) as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode())
            except UnicodeDecodeError as error:
                yield not_utf8(path, number, f" at byte {error.start + 1}")
            except (ValueError, RecursionError) as error:
                cut = "" if line.endswith(b"\n") else " (the last line: the file may have been cut off)"
                yield Rejection(path, number, f"broken JSON{cut}: {error}", "write one JSON object per line")
            else:
                yield _object(path, number, row)


def _object(path: str, number: int, row: Any) -> Row | Rejection:
    if isinstance(row, dict):
        return number, row
    remedy = "write one object per row (a file that is one list of them must be named .json)"
    return Rejection(path, number, "not a JSON object", remedy)


def json_file(path: str) -> Iterator[Row | Rejection]:
    """A list of objects, or one object per line."""
    with _open(path) as handle:
        first = next((line for line in handle if line.strip()), b"").strip()
    if first == b"{":
        raise InputError(
            f"{path}: one JSON object over several lines; write a list of objects, or one object per line"
        )
    return _json_list(path) if first.startswith(b"[") else json_lines(path)


def _json_list(path: str) -> Iterator[Row | Rejection]:
    """Decodes element by element and reads on when one is not complete: the list may exceed memory."""
    decode = json.JSONDecoder().raw_decode
    with _open(path) as handle:
        text = _text(handle)
        while text.read(1) != "[":
            pass
        buffer, at, number, ended = "", 0, 0, False
        while True:
            at = _skip_blank(buffer, at)
            row, end, after, problem = None, at, "", ""
            try:
                if not number and buffer.startswith("]", at):
                    return
                row, end = decode(buffer, at)
                behind = _skip_blank(buffer, end)
                after = buffer[behind : behind + 1]
            except json.JSONDecodeError as error:
                # A cut by the end of the buffer shows at that end, or as an open string; all else is broken.
                if ended or not (error.msg.startswith("Unterminated") or error.pos > len(buffer) - 16):
                    problem = error.msg
            except (ValueError, RecursionError) as error:
                problem = str(error)
            if not problem and not after:  # nothing follows: even a decoded element may be cut
                if not ended:
                    more = text.read(max(_CHUNK, len(buffer) - at))
                    buffer, at, ended = buffer[at:] + more, 0, not more
                    continue
                problem = "the list is not closed: the file may have been cut off"
            elif after and after not in ",]":
                problem = f"{after!r} follows an element"
            number += 1
            if problem:
                yield damage(path, number, ValueError(f"broken JSON: {problem}"))
                return
            yield _object(path, number, row) if is_unicode(buffer[at:end]) else not_utf8(path, number)
            at = _skip_blank(buffer, end) + 1
            if after == "]":
                if (buffer[at:] + text.read(_CHUNK)).strip():
                    yield damage(path, number + 1, ValueError("text follows the end of the list"))
                return


def _skip_blank(text: str, at: int) -> int:
    return cast(re.Match[str], _BLANK.match(text, at)).end()


def csv_file(path: str) -> Iterator[Row | Rejection]:
    """Comma-separated, the first line names the columns; every value is text."""
    csv.field_size_limit(_CSV_FIELD)  # a global of the csv module, whose default is 131,072
    with _open(path) as handle:
        # strict: a stray quote is an error, not silently another text.
        rows = csv.reader(_text(handle), strict=True)
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
                yield Rejection(path, number, reason, 'close each quote, and write a quote inside a field as ""')
                continue
            if not fields:  # a blank line
                continue
            if header is None:
                header = _header(path, fields)
            elif not is_unicode("".join(fields)):
                yield not_utf8(path, number)
            elif len(fields) != len(header):
                reason = f"{len(fields)} fields where the header has {len(header)}"
                yield Rejection(path, number, reason, "put fields with commas or line ends in quotes")
            else:
                yield number, dict(zip(header, fields, strict=True))


def _header(path: str, names: list[str]) -> list[str]:
    if not is_unicode("".join(names)):
        raise InputError(f"{path}: invalid UTF-8 in the header; save the file as UTF-8")
    for separator in ";\t":
        if len(names) == 1 and separator in names[0]:
            raise InputError(f"{path}: the columns are separated by {separator!r}; separate them by commas")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the header names {', '.join(map(repr, twice))} twice; rename one")
    return names
