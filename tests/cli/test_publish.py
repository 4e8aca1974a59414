"""Publishing a finished run by the command line: for any owner, dry, with options, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openprm.cli import app
from openprm.errors import InputError
from openprm.presets.run import lay_out_run
from tests.miniature import finished_run, run_folder  # noqa: F401 (fixtures)

pytestmark = pytest.mark.slow


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_laid_out_for_any_owner(run_folder: Path):  # noqa: F811
    before = files(run_folder / "hub" / "openprm")
    layout = lay_out_run(run_folder, owner="me")
    assert layout == run_folder / "hub-me"
    assert [path.name for path in layout.iterdir() if path.is_dir()] == ["me"]
    card = (layout / "me" / "trees" / "README.md").read_text("utf-8")
    assert "me/trees" in card
    assert "openprm/trees" not in card
    assert files(run_folder / "hub" / "openprm") == before
    card = run_folder / "hub" / "openprm" / "trees" / "README.md"
    card.write_text("edited by hand", "utf-8")
    assert lay_out_run(run_folder, owner="openprm") == run_folder / "hub"
    assert card.read_text("utf-8") == "edited by hand"


def test_a_dry_run_shows_everything_and_asks_no_server(run_folder: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a dry run touched the network"))
    done = CliRunner().invoke(app, ["publish", str(run_folder), "--owner", "openprm", "--dry-run"])
    assert done.exit_code == 0, done.output
    root = run_folder / "hub" / "openprm"
    for folder in root.iterdir():
        assert f"openprm/{folder.name}" in done.output
        assert (folder / "README.md").read_text("utf-8") in done.output
        for path in folder.rglob("*"):
            if path.is_file():
                assert path.relative_to(folder).as_posix() in done.output
                assert f"{path.stat().st_size:,}" in done.output
    assert "Nothing was sent" in done.output


def test_a_folder_without_a_preset_says_so(tmp_path: Path):
    with pytest.raises(InputError, match="not a folder of `openprm run`"):
        lay_out_run(tmp_path, owner="openprm")


def test_a_run_that_is_not_finished_says_what_is_missing(run_folder: Path, tmp_path: Path):  # noqa: F811
    (run_folder / "trees-test" / "manifest.json").unlink()
    with pytest.raises(InputError, match="trees-test is missing or not finished"):
        lay_out_run(run_folder, owner="me")


def test_options_and_a_run_do_not_mix(run_folder: Path):  # noqa: F811
    words = ["publish", str(run_folder), "--owner", "openprm", "--trees", "train=x"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "preset" in done.output


def test_folders_by_options(run_folder: Path, tmp_path: Path):  # noqa: F811
    words = ["publish", "--owner", "mine", "--out", str(tmp_path / "out"), "--dry-run"]
    words += ["--trees", f"train={run_folder / 'trees'}", "--model", f"prm={run_folder / 'openprm-0'}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    root = tmp_path / "out" / "mine"
    assert sorted(path.name for path in root.iterdir()) == ["prm", "trees"]
    published = json.loads((root / "prm" / "manifest.json").read_text("utf-8"))
    assert published["repositories"] == {"model": {}}
    assert "evaluation" not in published
