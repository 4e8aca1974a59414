"""What reaches the terminal: hostile texts as texts, any encoding, and help that is whole at 80 columns."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import openprm
from openprm import cli
from openprm.runs.folder import read_manifest

from ..answers import write_jsonl

COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
#: Turns red, sets the window's title, goes back to the line's start and writes backwards; is markup and an emoji code.
HOSTILE = "\x1b[31m\x1b]0;mine\x07\r\u202e[bold]b[/bold][/x]:100:"
SHOWN = r"\x1b[31m\x1b]0;mine\x07\r\u202e[bold]b[/bold][/x]:100:"
FOLDER = "runs[a]" + HOSTILE.replace("/", "")


def raw(text: str) -> list[str]:
    """What acts on a terminal."""
    return [one for one in text if one not in "\n\t" and not one.isprintable()]


def write_hostile(path: Path) -> None:
    row = {"prompt_id": HOSTILE, "source": HOSTILE, "model": HOSTILE, "question": f"1 + 1? {HOSTILE}"}
    answers = [{"response": f"{HOSTILE}.\nIt is {n}", "reward": float(n == 2)} for n in (1, 2)]
    write_jsonl(path, [{**row, **answer} for answer in answers] + [{**row, "reward": HOSTILE}])


def test_hostile_texts_and_names_are_shown(run):
    folder = Path(FOLDER)
    folder.mkdir()
    write_hostile(folder / "a[0].jsonl")
    given = [str(folder / name) for name in ("a[0].jsonl", "candidates", "trees", "pairs")]
    for arguments in (
        ("import", given[0], "-o", given[1]),
        ("trees", given[0], "-o", given[2], "--source-column", "source"),
        ("pairs", given[2], "-o", given[3]),
        ("show", given[2]),
        ("show", given[2], HOSTILE),
        ("status", given[2]),
    ):
        code, out, err = run(*arguments)
        assert code == 0, err
        assert not raw(out + err)
        assert SHOWN.replace("/", "") in out.replace("/", "")
    for arguments in (("trees", "-o", given[2], given[1], "--threshold", "0.5"), ("show", given[2], f"{HOSTILE}2")):
        code, out, err = run(*arguments)
        assert code == 1
        assert not raw(out + err)
        assert "[bold]" in err


@pytest.mark.parametrize("name", ["a[0]", "*", "[!a]", "{a,b}?"])
def test_a_path_is_not_a_pattern(run, name):
    folder = Path(name)
    folder.mkdir()
    write_hostile(folder / "answers.jsonl")
    Path("other").mkdir()
    write_jsonl(Path("other/answers.jsonl"), [{"question": "other", "response": "x", "reward": 1}])
    assert run("import", name, "-o", f"{name}/candidates")[0] == 0
    assert read_manifest(f"{name}/candidates")["rows"] == 2
    assert run("trees", f"{name}/candidates", "-o", f"{name}/trees")[0] == 0
    assert "[bold]" in run("show", f"{name}/trees")[1]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_no_encoding_ends_a_command(tmp_path, encoding):
    rows = [{"question": "Wie groß? 日本 🙂", "response": f"Größe …\n× {n}", "reward": n} for n in (0, 1)]
    write_jsonl(tmp_path / "ä.jsonl", [*rows, {"question": "日本"}])
    commands = [
        *(["--help"], ["plan", "tiny"], ["trees", "ä.jsonl", "-o", "t", "--separator", "line"], ["show", "t"]),
        *(["pairs", "t", "-o", "p"], ["status", "p"], ["show", "日本"], ["trees", "日本", "-o", "\udcff"]),
    ]
    program = """
import json, sys
from openprm import cli
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["openprm", *arguments]
    try:
        cli.main()
    except SystemExit as ended:
        print(ended.code)
"""
    environment = {"PATH": "/bin", "PYTHONIOENCODING": encoding, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(commands)], capture_output=True, cwd=tmp_path, env=environment
    )
    out = done.stdout.decode(encoding)
    assert done.returncode == 0, done.stderr.decode(encoding)
    assert re.findall(r"^\d$", out, re.M) == ["0", "0", "0", "0", "0", "0", "1", "1"]
    assert r"\u65e5\u672c" in out


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_is_whole_at_80_columns(run, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(*filter(None, [name]), "--help")
    assert code == 0
    assert out.isascii()
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    words = out.replace(",", " ").split()
    for parameter in COMMANDS[name].params if name else ():
        assert {*parameter.opts, *parameter.secondary_opts} <= {*words} or parameter.name in words
    assert not re.search(r"--[\w-]*-\n|-\n\s*-", out)
    described = lines[: next(index for index, line in enumerate(lines) if line in ("Arguments:", "Options:"))]
    for line, following in zip(described, described[1:], strict=False):  # paragraphs are filled
        assert not following.strip() or not line.strip() or len(line) + 1 + len(following.split()[0]) > 76


def test_help_shows_brackets(run):
    out = " ".join(run("run", "--help")[1].split())
    assert "OWNER, OWNER@REVISION or a local folder" in out


def test_only_the_console_prints():
    allowed = {"runs/console.py", "runs/progress.py"}
    root = Path(openprm.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("print", "typer.echo", "Console") or re.fullmatch(r"sys\.std(out|err)\.write", called):
                assert path.relative_to(root).as_posix() in allowed, f"{path}:{node.lineno}"
