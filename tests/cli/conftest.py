"""The commands, run in an empty folder."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import openprm.stages  # noqa: F401 (declares them)
from openprm import cli
from openprm.runs.declaration import STAGES

from ..answers import answers, content, write_jsonl


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs `openprm ARGUMENTS` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["openprm", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err  # type: ignore[return-value]

    return call


@pytest.fixture
def fails(run, tmp_path):
    """Runs it and returns the one line it must fail with, leaving no finished folder `t`."""

    def call(*arguments: str) -> str:
        before = content(Path("t")) if Path("t/manifest.json").exists() else Path("t").exists()
        code, _, err = run(*arguments)
        assert code == 1
        assert err.startswith("openprm: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        assert before == (content(Path("t")) if Path("t/manifest.json").exists() else Path("t").exists())
        return err

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, base: Path, policy: Path) -> Path:
    """A file of answers, one of questions, and what each stage makes of them."""
    root = tmp_path_factory.mktemp("made")
    write_jsonl(root / "a.jsonl", answers(6))
    write_jsonl(root / "q.jsonl", [{"question": f"q {i}", "reference": str(i)} for i in range(4)])
    shutil.copytree(base, root / "model")
    shutil.copytree(policy, root / "policy")
    for kind, out, values in (
        ("import", "c", {"candidates": "a.jsonl"}),
        ("trees", "t", {"candidates": "a.jsonl"}),
        ("pairs", "p", {"trees": "t"}),
        ("prompts", "q", {"prompts": "q.jsonl"}),
        ("score", "s", {"candidates": "c", "model": "model"}),
    ):
        STAGES[kind](**{name: str(root / value) for name, value in values.items()}).run(root / out)
    return root


@pytest.fixture
def said(run: Any, made: Path, tmp_path: Path) -> Callable[[str], str]:
    """Runs a command beside what was made, and returns the one line that it must fail with, having made nothing."""
    for path in made.iterdir():
        if not path.name.startswith("."):
            (tmp_path / path.name).symlink_to(path)

    def call(command: str) -> str:
        code, _, err = run(*shlex.split(command))
        lines = [line for line in err.splitlines() if line and "Loading weights" not in line]
        assert "Traceback" not in err
        assert not Path("x/manifest.json").exists()
        if code == 2:  # how it is called
            assert (lines[0].startswith("Usage: "), lines[-1].startswith("Error: ")) == (True, True)
        else:
            assert (code, len(lines), lines[-1].startswith("openprm: ")) == (1, 1, True), err
        return lines[-1]

    return call
