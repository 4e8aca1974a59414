"""The rerun command of a stage is read back as the same stage."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm import cli
from openprm.errors import InputError
from openprm.runs.command_line import escape, from_text, rerun_command, unescape
from openprm.runs.declaration import STAGES, Stage, options_of
from openprm.stages.evaluate import Evaluate
from openprm.stages.pairs import Pairs
from openprm.stages.sample import SampleResponses
from openprm.stages.train import Train

from .test_declaration import with_every_option

KINDS = sorted({command.name or "" for command in cli.app.registered_commands} & STAGES.keys())


def read_back(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> tuple[Stage, str]:
    """The stage and the folder that the command line makes of a stage's rerun command."""
    found: list[Any] = []

    def run(self: Stage, out: Any, **_: Any) -> None:
        found.extend([self, str(out)])
        raise SystemExit

    monkeypatch.setattr(type(stage), "run", run)
    monkeypatch.setattr(sys, "argv", shlex.split(rerun_command(stage, "my out").replace("\\\n", "")))
    with pytest.raises(SystemExit):
        cli.main()
    return found[0], found[1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_read_back(monkeypatch: pytest.MonkeyPatch, kind: str):
    stage = with_every_option(kind)
    assert read_back(monkeypatch, stage) == (stage, "my out")


def test_options_of_branches_are_read_back(monkeypatch: pytest.MonkeyPatch):
    stage = SampleResponses(prompts="p", model="m", n=12, branch="3,2", separator="a\nb")
    assert read_back(monkeypatch, stage) == (stage, "my out")


def test_defaults_are_left_out():
    assert rerun_command(Pairs(trees="t"), "out") == "openprm pairs t --out out"
    assert rerun_command(Pairs(trees="t", process=False), "out") == "openprm pairs t --no-process --out out"
    evaluated = Evaluate(models={"m": "m"}, on={"llmbar": "", "gsm8k": "c"})
    assert rerun_command(evaluated, "out") == "openprm evaluate m=m --on llmbar --on gsm8k=c --out out"
    command = rerun_command(Train(pairs={"pairs": "p"}, base="b" * 80, seed=1), "out")
    assert command == f"openprm train p --base {'b' * 80} \\\n    --seed 1 --out out"


@given(st.text(st.sampled_from("\n\t .\\dnta")))
def test_separators_are_typed_as_they_are_read(text: str):
    assert unescape(escape(text)) == text
    assert unescape(escape(f"re:{text}")) == f"re:{text}"
    assert "\n" not in escape(text)


def test_a_text_may_be_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    Path("rubric.txt").write_text("Only {brevity}\ncounts.\n", "utf-8")
    rubric = next(field for field, _ in options_of(STAGES["reward"]) if field.name == "rubric")
    assert from_text(rubric, "@rubric.txt") == "Only {brevity}\ncounts.\n"
    with pytest.raises(InputError, match=r"nowhere\.txt cannot be read"):
        from_text(rubric, "@nowhere.txt")
    with pytest.raises(InputError, match=r"rubric\.txt is a file; write @rubric\.txt for what it holds"):
        from_text(rubric, "rubric.txt")
