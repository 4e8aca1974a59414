"""Texts that read the same, though they are written in other characters; texts that are safe to print."""

from __future__ import annotations

import re
import unicodedata

_ZERO_WIDTH = re.compile(r"[\u200b-\u200d\u2060\ufeff]")
#: What acts on a terminal instead of being shown by it: controls, line separators, overrides of the direction of
#: writing, and lone surrogates, which no encoding has.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)")


def comparable(text: str) -> str:
    """The text as it is compared with others: in NFC, without zero-width characters. It is stored as it is."""
    return text if text.isascii() else unicodedata.normalize("NFC", _ZERO_WIDTH.sub("", text))


def printable(text: str) -> str:
    r"""The text as a terminal may get it: escape sequences and the like are written out (`\x1b[31m`)."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def excerpt(text: str, length: int) -> str:
    """The text in one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
