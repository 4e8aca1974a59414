"""What goes wrong with a user's data or models, in words that say how to put it right."""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace


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

    def __post_init__(self) -> None:
        super().__init__(self.reason, self.remedy, self.transient, self.key)  # what pickle passes on

    def __str__(self) -> str:
        where = "" if self.key is None else f"{self.key}: "
        return f"{where}{self.reason}; {self.remedy}"

    def at(self, key: str) -> Failure:
        """The same failure, of `key`."""
        return replace(self, key=key)


class InputError(ValueError):
    """A whole file or dataset cannot be used. The message names it, what is wrong, and what to do."""


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def is_unicode(text: str) -> bool:
    """Whether `text` can be stored: a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_disk_full(error: BaseException) -> bool:
    """Whether the disk, or the user's quota on it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
