"""How texts get to the terminal: as they are, with nothing in them that acts on it. Nothing else prints."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from ..text import printable


class _Console(Console):
    """Neither markup (`[bold]`) nor emoji codes (`:100:`) are read in a text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


def console() -> Console:
    """Plain and unwrapped where the output is not a terminal, so that it can be searched and compared."""
    found = _Console()
    return found if found.is_terminal else _Console(width=200)


def styled(*parts: str | tuple[str, str]) -> Text:
    """One text of parts, of which some have a style: `("Warning:", "yellow")`."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((printable(text), style) for text, style in pairs))


def say(text: object, err: bool = False) -> None:
    """Prints a line, or several, on standard output or standard error."""
    print(printable(str(text)), file=sys.stderr if err else sys.stdout, flush=True)


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def prepare_streams() -> None:
    """To be called first: what the output's encoding lacks is written as an escape, and so are escapes in warnings."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort:
        logging.lastResort.setFormatter(_Printable())
