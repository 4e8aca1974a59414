"""The readme's commands, options, paths and Python lines exist; those that need no trained model are run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from openprm.cli import app
from tests.miniature import finished_run  # noqa: F401 (a fixture)
from tests.stranger import Stranger, hub_of

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


def test_own_data_to_pairs(tmp_path):
    (block,) = [block for block in blocks("console") if "answers.jsonl <<" in block]
    answers = block.partition("<<'END'\n")[2].partition("END\n")[0]
    (tmp_path / "answers.jsonl").write_text(answers, "utf-8")
    outputs = {line.split()[1]: run(line, tmp_path) for line in lines("openprm ")[:3]}
    assert list(outputs) == ["trees", "show", "pairs"]
    shown = next(text for text in blocks("text") if "all responses" in text)
    assert shown in outputs["show"]
    assert "process: 2, outcome: 1" in outputs["pairs"]


#: What a test does in another way: `make` sets up environments, a demo does not end.
_NOT_RUN = ("make ", "source ", "openprm demo ")


@pytest.mark.slow
def test_every_command_and_program_runs(tmp_path: Path, finished_run: Path):  # noqa: F811
    """In order, in one folder, as somebody would who has run `make reproduce`; the run is a small one."""
    folder = tmp_path / "repository"
    shutil.copytree(finished_run, folder / "runs" / "tiny")
    with hub_of(folder / "runs" / "tiny", tmp_path) as hub:
        reader = Stranger(hub, folder, tmp_path / "home")
        reader.environment["HF_TOKEN"] = hub.token
        ran = []
        for kind, block in re.findall(r"^```(console|python)\n(.*?)^```$", README, re.S | re.M):
            if kind == "python":
                reader.python(block.replace("[:16]", "[:4]"))  # the small run has 4 answers to a prompt
                ran.append("python")
            else:
                kept = [line for line in block.splitlines() if not line.startswith(_NOT_RUN)]
                small = "\n".join(kept).replace("reproduce tiny ", "reproduce runs/tiny/preset.yaml ")
                reader.shell(small)
                ran += re.findall(r"^openprm (\w+)", small, re.M)
    assert {"python", "trees", "train", "score", "candidates", "publish", "verify", "reproduce", "diff"} <= {*ran}
    assert (folder / "runs" / "trees.html").exists()
