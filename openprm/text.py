"""Texts that read the same, though they are written in other characters."""

from __future__ import annotations

import re
import unicodedata

_ZERO_WIDTH = re.compile(r"[\u200b-\u200d\u2060\ufeff]")


def comparable(text: str) -> str:
    """The text as it is compared with others: in NFC, without zero-width characters. It is stored as it is."""
    return text if text.isascii() else unicodedata.normalize("NFC", _ZERO_WIDTH.sub("", text))
