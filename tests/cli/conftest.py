"""The commands, run in an empty folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from openprm import cli

from ..answers import content


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
