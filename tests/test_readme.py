"""The readme's commands, options, paths and Python lines exist; those that need no trained model are run."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from openprm.cli import app

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def blocks(kind: str, *documents: str) -> list[str]:
    texts = [(ROOT / name).read_text("utf-8") for name in documents or DOCUMENTS]
    return [block for text in texts for block in re.findall(rf"^```{kind}\n(.*?)^```$", text, re.S | re.M)]


def lines(start: str) -> list[str]:
    return [line for block in blocks("console") for line in block.splitlines() if line.startswith(start)]


def run(line: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", *shlex.split(line)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_is_something_to_check():
    assert len(lines("openprm ")) >= 5
    assert len(lines("make ")) >= 4
    assert len(blocks("python")) >= 2


@pytest.mark.parametrize("line", lines("openprm "))
def test_commands_and_options_exist(line):
    _, command, *words = shlex.split(line)
    options = {name for option in COMMANDS[command].params for name in option.opts + option.secondary_opts}
    assert {word for word in words if word.startswith("-")} <= options
    COMMANDS[command].make_context(command, words)  # nothing required is missing, every value can be read


def test_options_and_commands_named_in_the_text_exist():
    options = {name for command in COMMANDS.values() for option in command.params for name in option.opts}
    named = set(re.findall(r"`(--[a-z-]+)`", README))
    assert named <= options
    assert set(re.findall(r"`openprm ([a-z]+)", README)) <= set(COMMANDS)


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    assert {line.split()[1] for line in lines("make ")} <= targets


def test_paths_in_the_map_exist():
    table = README.partition("## Where things are")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.M)
    assert cells
    for cell in cells:
        first, *others = re.findall(r"`(.*?)`", cell)
        assert (ROOT / first).exists(), first
        for other in others:
            assert (ROOT / other).exists() or (ROOT / first).parent.joinpath(other).exists(), other


@pytest.mark.parametrize("block", blocks("python"), ids=["the hub's folder", "from Python"])
def test_python_lines_name_what_exists(block):
    """They need a finished `make reproduce`, so only their imports and the package's names are looked up."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            for name in node.names:
                assert hasattr(importlib.import_module(str(node.module)), name.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "openprm":
            assert hasattr(importlib.import_module("openprm"), node.attr)


def test_own_data_to_pairs(tmp_path):
    (block,) = [block for block in blocks("console") if "answers.jsonl <<" in block]
    answers = block.partition("<<'END'\n")[2].partition("END\n")[0]
    (tmp_path / "answers.jsonl").write_text(answers, "utf-8")
    outputs = {line.split()[1]: run(line, tmp_path) for line in lines("openprm ")[:3]}
    assert list(outputs) == ["trees", "show", "pairs"]
    shown = next(text for text in blocks("text") if "all responses" in text)
    assert shown in outputs["show"]
    assert "process: 2, outcome: 1" in outputs["pairs"]
