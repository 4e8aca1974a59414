"""What is wrong with a user's data, said so that it can be put right."""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Rejection:
    """A row that was left out, and why.

    `row` counts from 1. It is the line in JSONL and CSV (the header is line 1; of a CSV row over several
    lines the first), the element in a JSON list, the row in Parquet and in a dataset's split; None where
    the whole file is meant. `file` is the name as the user gave it.
    """

    file: str
    row: int | None
    reason: str
    remedy: str

    def __str__(self) -> str:
        where = self.file if self.row is None else f"{self.file}, row {self.row}"
        return f"{where}: {self.reason}; {self.remedy}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Failure(Exception):
    """Why there is no result of one row, prompt, response or file; also raised where a function makes just one.

    key: what failed, as a person would look it up ("answers.jsonl, row 3", "prompt 'a1', sample 4"); None while only
    the caller knows it (see `at`). transient: whether trying again may help.
    """

    reason: str
    remedy: str
    transient: bool = False
    key: str | None = None

    def __str__(self) -> str:
        where = "" if self.key is None else f"{self.key}: "
        return f"{where}{self.reason}; {self.remedy}"

    def at(self, key: str) -> Failure:
        """The same failure, of `key`."""
        return replace(self, key=key)


class InputError(ValueError):
    """A whole file or dataset cannot be used. The message names it, what is wrong, and what to do."""


#: A row with its position.
Row = tuple[int, dict[str, Any]]


def damage(path: str, row: int, error: Exception) -> Rejection:
    """The last word on a file that cannot be read from `row` on."""
    reason = f"nothing can be read from here on: {first_line(error)}"
    return Rejection(path, row, reason, "the rows before it are kept; write, copy or download the file again")


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def not_utf8(path: str, row: int, where: str = "") -> Rejection:
    return Rejection(path, row, f"invalid UTF-8{where}", "save the text as UTF-8")


def is_unicode(text: str) -> bool:
    """Whether `text` can be stored: a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_disk_full(error: BaseException) -> bool:
    """Whether there is no room on a disk, or none is left to this user."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
