"""What the documents show is there: commands, options, links, names; and what the README shows runs."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer

import openprm
from openprm.cli import app
from tests.fresh_machine import FreshMachine, hub_of
from tests.miniature import finished_run  # noqa: F401 (a fixture)

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
README = (ROOT / "README.md").read_text("utf-8")
TEXTS = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in DOCUMENTS}
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))


def blocks(kind: str, text: str) -> list[str]:
    return re.findall(rf"^```(?:{kind})\n(.*?)^```$", text, re.S | re.M)


def command_lines(text: str, start: str = "openprm ") -> list[str]:
    """The commands in shell blocks: of `console`, which can be run after `make reproduce`, and of `sh`."""
    joined = "".join(blocks("console|sh", text)).replace("\\\n", "")
    return [line.split(" #")[0] for line in joined.splitlines() if line.startswith(start)]


def options_of(command: str) -> set[str]:
    return {name for option in COMMANDS[command].params for name in option.opts + option.secondary_opts}


@pytest.mark.parametrize("line", sorted({line for text in TEXTS.values() for line in command_lines(text)}))
def test_commands_and_options_exist(line):
    _, command, *words = shlex.split(line)
    assert {word for word in words if word.startswith("-")} <= options_of(command)
    COMMANDS[command].make_context(command, words)  # nothing required is missing, every value can be read


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_document_names_exists(name):
    text = TEXTS[name]
    for code in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)):
        words = code.split()
        if words[0] == "openprm" and len(words) > 1 and words[1] != "COMMAND" and words[1].isalpha():
            assert {word for word in words[2:] if word.startswith("--")} <= options_of(words[1]), code
        elif words[0].startswith("--") and name != "CONTRIBUTING.md":
            assert any(words[0] in options_of(command) for command in COMMANDS) or words[0] == "--version", code
        elif words[0] == "make":
            assert words[1] in TARGETS, code
    assert {line.split()[1] for line in command_lines(text, "make ")} <= TARGETS
    for block in blocks("python", text):
        compile(block, name, "exec")
        assert set(re.findall(r"openprm\.(\w+)\(", block)) <= set(openprm.__all__)
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / name).parent.joinpath(link).exists(), link


def test_the_readme_is_short_and_its_map_is_right():
    assert len(README.splitlines()) <= 150
    cells = re.findall(r"^\| (`.*?) \|", README, re.M)
    folders = {path for cell in cells for path in re.findall(r"`(.*?)/`", cell)}
    assert all((ROOT / folder).is_dir() for folder in folders)
    rooms = {f"openprm/{path.parent.name}" for path in ROOT.glob("openprm/*/__init__.py")}
    assert rooms <= folders


#: Runs blocks in one process, which loads torch once; a served demo would not end.
PROGRAM = r"""
import re, shlex
from pathlib import Path
from openprm.cli import app

for kind, block in BLOCKS:
    if kind == "python":
        exec(block, {})
        continue
    for name, text in re.findall(r"^cat > (\S+) <<'END'\n(.*?)^END\n", block, re.S | re.M):
        Path(name).write_text(text, "utf-8")
    for line in block.replace("\\\n", "").splitlines():
        if line.startswith("openprm ") and not line.startswith("openprm demo "):
            print("$", line, flush=True)
            assert not app(shlex.split(line)[1:], standalone_mode=False), line
"""
#: In the order in which one uses what another has made.
READ = ("README.md", *(f"docs/{name}.md" for name in ("data", "sampling", "training", "search", "publishing")))


@pytest.mark.slow
def test_all_that_is_shown_runs(tmp_path: Path, finished_run: Path):  # noqa: F811
    """In one folder, as for a user who has run `make reproduce`; the run is a small one."""
    folder = tmp_path / "repository"
    shutil.copytree(finished_run, folder / "runs" / "tiny")
    shown = [
        (kind, block.replace("--early-rejection 0.2", "--early-rejection 0.4"))  # the small run has few prompts
        for name in READ
        for kind, block in re.findall(r"^```(console|python)\n(.*?)^```$", TEXTS[name], re.S | re.M)
    ]
    with hub_of(folder / "runs" / "tiny", tmp_path) as hub:
        reader = FreshMachine(hub, folder, tmp_path / "home")
        reader.environment["HF_TOKEN"] = hub.token
        printed = reader.python(f"BLOCKS = {shown!r}\n{PROGRAM}")
    assert sum(line.startswith("$ openprm ") for line in printed.splitlines()) >= 25
    assert "process: 2, outcome: 1" in printed  # pairs of the README's file
    (tree,) = (block for block in blocks("text", TEXTS["docs/method.md"]) if "all responses" in block)
    assert tree in printed
