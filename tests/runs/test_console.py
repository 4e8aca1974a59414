"""Texts on their way to the terminal."""

from __future__ import annotations

import logging

from rich.table import Table
from rich.tree import Tree

from openprm.runs.console import console, prepare_streams, say, styled

HOSTILE = "\x1b[31m\u202e[bold]b[/x]:100:\r"
SHOWN = r"\x1b[31m\u202e[bold]b[/x]:100:\r"


def test_every_way_of_printing(capsys):
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    tree = Tree(HOSTILE)
    tree.add(styled("a ", (HOSTILE, "bold")))
    screen = console()
    for each in (HOSTILE, table, tree, styled(HOSTILE)):
        screen.print(each)
    screen.rule(styled(HOSTILE))
    say(HOSTILE)
    say(HOSTILE, err=True)
    out, err = capsys.readouterr()
    assert out.count(SHOWN) == 9
    assert err == f"{SHOWN}\n"
    assert not {"\x1b", "\r", "\u202e"} & {*out, *err}


def test_warnings_of_libraries_too(capsys, monkeypatch):
    handler = logging._StderrHandler(logging.WARNING)  # type: ignore[attr-defined]
    monkeypatch.setattr(logging, "lastResort", handler)
    prepare_streams()
    handler.handle(logging.LogRecord("openprm", logging.WARNING, "", 0, "late: %s", (HOSTILE,), None))
    assert capsys.readouterr().err == f"late: {SHOWN}\n"
