"""`openprm run --data`: from a file to a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openprm.runs.folder import read_manifest

from ..answers import answers, write_jsonl

SMALL = ("--set", "steps=2", "--set", "seeds=2", "--set", "max_length=200", "--holdout", "0.25")


@pytest.fixture
def data(tmp_path: Path) -> str:
    rows = [{**row, "prompt": row.pop("question"), "by": f"m{i % 4}"} for i, row in enumerate(answers(12, 8))]
    return write_jsonl(tmp_path / "mine.jsonl", rows)


def test_one_command_from_a_file_to_a_table(run, base: Path, data: str):
    command = ("run", "--data", data, "--base", str(base), "--question-column", "prompt", *SMALL)
    code, out, err = run(*command)
    assert code == 0, err
    assert "openprm/min less orm/last" in out.replace("\n", "")
    folder = Path("runs/mine")
    assert read_manifest(folder / "candidates-test")["counts"]["prompts"] == 3
    assert read_manifest(folder / "openprm-1")["parameters"]["seed"] == 1
    kinds = json.loads((folder / "evaluation/results.json").read_text())["kinds"]
    assert {name: kind["models"] for name, kind in kinds.items()} == {
        kind: [f"{kind}-0", f"{kind}-1"] for kind in ("orm", "openprm", "shuffled")
    }

    code, _, err = run(*command, "--set", "learning_rate=1e-3")
    assert (code, "learning_rate" in err, "--force" in err) == (1, True, True)
    code, out, _ = run(*command, "--set", "learning_rate=1e-3", "--force")
    assert code == 0
    assert "pairs-shuffled was already made" in out
    assert "orm-0 was already made" not in out


def test_what_is_missing_is_named(run, data: str):
    assert "--base" in run("run", "--data", data)[2]
    assert "--data" in run("run", "own")[2]
    assert "--where" in run("run", "tiny", "--where", "a=b")[2]
    assert "did you mean 'seeds'" in run("run", "--data", data, "--base", "x/y", "--set", "sedes=1")[2]


def test_what_must_be_known_is_said_before_anything_is_trained(run, base: Path, tmp_path: Path):
    rows = [
        {"question": f"What is {i}?", "response": f"It is {n}", "reward": n % 2} for i in range(8) for n in range(4)
    ]
    data = write_jsonl(tmp_path / "one.jsonl", [*rows, {"question": "Why?", "response": "So", "reward": "good"}])
    command = ("run", "--data", data, "--base", str(base), *SMALL)
    code, out, err = run(*command)
    assert code == 0, err
    said = out[: out.index("orm-0 ...")]
    assert "1 rows were rejected, listed in runs/one/candidates/rejected.jsonl" in said
    assert "100% of the responses are one step" in said
    assert out.rstrip().endswith("runs/one/evaluation/table.md")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("equivalence=maths", "unknown equivalence 'maths'"),
        ("min_gap=xx", "min gap 'xx'"),
        ("threshold=88", "threshold is 88"),
        ("separator=sentences", "sentence"),
        ("holdout=1.5", "between 0 and 1"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_made(run, base: Path, data: str, change: str, message: str):
    code, out, err = run("run", "--data", data, "--base", str(base), "--question-column", "prompt", "--set", change)
    assert (code, out, message in err) == (1, "", True), err
    assert not Path("runs").exists()
