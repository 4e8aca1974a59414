"""Texts that read the same, and texts that are safe to print."""

from __future__ import annotations

import pytest

from openprm.text import comparable, printable


def test_comparable():
    assert comparable("e\u0301\u200b") == comparable("\u00e9") == "\u00e9"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07\x9b2J", r"\x1b]0;title\x07\x9b2J"),
        ("over\rwritten\b\x7f\0", r"over\rwritten\x08\x7f\x00"),
        ("\u202eabc\u2066\u2028", r"\u202eabc\u2066\u2028"),
        ("half \ud83d", r"half \ud83d"),
        ("a\r\nb\tc [bold] é 日本 🙂 שלום", "a\r\nb\tc [bold] é 日本 🙂 שלום"),
    ],
)
def test_nothing_printable_acts_on_a_terminal(text, shown):
    assert printable(text) == shown
