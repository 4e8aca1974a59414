"""Tables of results, as a terminal, a Markdown document and a page of HTML show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..text import printable

Row = Mapping[str, Any]
#: A column's name, and for its cells a template of a row's fields or a function of the row.
Column = tuple[str, str | Callable[[Row], str]]


class Table(NamedTuple):
    """Texts; the first column is a name, the others are numbers."""

    title: str
    header: list[str]
    rows: list[list[str]]


def table(title: str, rows: Iterable[Row], columns: Sequence[Column]) -> Table:
    """A table with a line for each row."""
    cells = [[cell.format_map(row) if isinstance(cell, str) else cell(row) for _, cell in columns] for row in rows]
    return Table(title, [name for name, _ in columns], cells)


def markdown(tables: Iterable[Table], level: str = "##") -> str:
    """Tables as a Markdown document, whatever characters their texts hold; `level` begins their headings."""
    lines: list[str] = []
    for title, header, rows in tables:
        rule = ["---", *["---:"] * (len(header) - 1)]
        lines += [f"{level} {in_markdown(title)}", ""]
        for cells in (header, rule, *rows):
            lines.append(f"| {' | '.join(map(in_markdown, cells))} |")
        lines.append("")
    return "\n".join(lines)


def in_markdown(text: str) -> str:
    """A text on one line that ends no cell, begins no HTML and acts on no terminal."""
    return printable(" ".join(text.split())).replace("|", "\\|").replace("<", "&lt;")


def over_seeds(row: Row, form: str) -> str:
    """The lowest and the highest of several seeds; nothing where there is one."""
    seeds = [value for value in row["seeds"] if value is not None]
    return f"{min(seeds):{form}} to {max(seeds):{form}}" if len(seeds) > 1 else ""
