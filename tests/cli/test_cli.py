"""What a user's file can do to `openprm trees`, and what the other commands say."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openprm import cli
from openprm.runs.folder import read_manifest, read_rows
from openprm.trees.tree import response_text

from ..answers import answers, rejected, times, write_jsonl

COMMANDS = [command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback]


ROWS = [
    {"question": "2 + 2?", "response": "Add.\nFour", "reward": 1.0},
    {"question": "2 + 2?", "response": "Guess.\nFive", "reward": 0.0},
]


def write(*rows: dict[str, Any], name: str = "a.jsonl") -> str:
    return write_jsonl(Path(name), rows)


# --- where to write


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize(("name", "text"), [("notes.txt", "mine"), ("manifest.json", '{"name": "a web page"}')])
def test_another_folder_is_not_touched(fails, tmp_path, name, text, force):
    write(*ROWS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text(text)
    line = fails("trees", "a.jsonl", "-o", "mine", *force)
    assert "mine exists and is not a folder that openprm wrote; choose another, or remove it" in line
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [name]
    assert (tmp_path / "mine" / name).read_text() == text


def test_out_may_be_an_empty_folder_but_no_file(run, fails):
    write(*ROWS)
    Path("mine").mkdir()
    assert run("trees", "a.jsonl", "-o", "mine")[0] == 0
    assert read_manifest("mine")["rows"] == 1
    assert "a.jsonl is an input of what should be written there" in fails("trees", "a.jsonl", "-o", "a.jsonl")
    assert "a.jsonl" in fails("trees", "a.jsonl", "-o", "a.jsonl/t")


# --- rows that cannot be used


def test_bad_rows_are_listed_and_the_rest_built(run, fails):
    bad = {
        "2": (json.dumps({**ROWS[0], "reward": "good"}), "'reward' is 'good'"),
        "3": ('{"question": "q"', "broken JSON"),
        "4": (json.dumps({**ROWS[0], "response": "cut \ud83d"}), "'response' has half a surrogate pair"),
    }
    lines = [json.dumps(ROWS[0]), *(line for line, _ in bad.values()), json.dumps(ROWS[1])]
    Path("a.jsonl").write_text("\n".join(lines))
    code, out, _ = run("trees", "a.jsonl", "-o", "t")
    assert code == 0
    assert "3 rows were rejected, listed in t/rejected.jsonl" in out
    listed = rejected(Path("t"))
    for entry, (row, (_, reason)) in zip(listed, bad.items(), strict=True):
        assert entry["key"] == f"a.jsonl, row {row}"
        assert reason in entry["reason"]
        assert reason in out
        assert entry["remedy"]
    [tree] = read_rows("t")
    assert [response_text(response) for response in tree["responses"]] == ["Add.\nFour", "Guess.\nFive"]
    assert read_manifest("t")["counts"]["rejected"] == {entry["reason"]: 1 for entry in listed}
    for out_folder in ("u", "t"):  # t was made without --strict
        line = fails("trees", "a.jsonl", "-o", out_folder, "--strict")
        assert "a.jsonl, row 2: 'reward' is 'good'" in line
        assert "(stopped by --strict" in line
    assert not Path("u").exists()


def test_an_empty_response(run, fails):
    write(*ROWS, {**ROWS[0], "response": " \n"})
    assert run("trees", "a.jsonl", "-o", "t")[0] == 0
    [entry] = rejected(Path("t"))
    assert entry["reason"] == "empty response"
    assert entry["key"].endswith(", sample 2")
    assert "sample 2: empty response; leave it out" in fails("trees", "a.jsonl", "-o", "u", "--strict")
    write({**ROWS[0], "response": ""})
    line = fails("trees", "a.jsonl", "-o", "u")
    assert "a.jsonl: there is no result to write; 1 rows were rejected, 1 of them for: empty response" in line


# --- rows that are unusual


def test_one_candidate_only(run):
    write(ROWS[0])
    code, out, _ = run("trees", "a.jsonl", "-o", "t")
    assert code == 0
    assert "Warning: 1 prompts have one response: no pairs there." in out
    [tree] = read_rows("t")
    assert [node["value"] for node in tree["nodes"]] == [1.0, 1.0, 1.0]


def test_all_rewards_equal(run, fails):
    write(*({**row, "reward": 0.0} for row in ROWS))
    code, out, _ = run("trees", "a.jsonl", "-o", "t")
    assert code == 0
    assert re.search(r"prompts with equal rewards +1\b", out)
    assert re.search(r"lowest reward +0\.0\b", out)
    assert [node["value"] for node in next(read_rows("t"))["nodes"]] == [0.0] * 5
    line = fails("pairs", "t", "-o", "p")
    assert "t: no pair has a gap of 0.2 or more (widest gap 0); lower --min-gap" in line


def test_separators_by_source_and_literal_ones_with_an_equals_sign(run):
    rows = [{**ROWS[0], "response": "a.\nb\nc", "source": source} for source in ("lines", "others")]
    rows[1]["question"] = "3 + 3?"
    write(*rows)
    assert run("trees", "a.jsonl", "-o", "t", "--source-separator", r"lines=\n")[0] == 0
    steps = {tree["source"]: tree["responses"][0]["steps"] for tree in read_rows("t")}
    assert steps == {"lines": ["a.\n", "b\n", "c"], "others": ["a.\n", "b\nc"]}
    write({**ROWS[0], "response": "a==b"})
    assert run("trees", "a.jsonl", "-o", "u", "--separator", "==")[0] == 0
    assert next(read_rows("u"))["responses"][0]["steps"] == ["a==", "b"]


# --- one command after another


def test_file_to_candidates_to_trees_to_pairs(run, fails):
    write_jsonl(Path("a.jsonl"), answers(6))
    assert run("import", "a.jsonl", "-o", "c")[0] == 0
    assert run("trees", "c", "-o", "t")[0] == 0
    assert run("trees", "a.jsonl", "-o", "u")[0] == 0
    assert read_manifest("t")["row_hash"] == read_manifest("u")["row_hash"]
    code, out, _ = run("pairs", "t", "-o", "p", "--min-gap", "0.5sd", "--outcome", "best")
    assert code == 0
    assert "The paper kept, per prompt: UltraFeedback 1.17, ScienceQA 1.99, MATH 2.66 (Table 4)." in out
    assert re.search(r"sibling pairs per prompt +[\d.]+", out)
    assert {row["level"] for row in read_rows("p")} == {"process", "mixed", "outcome"}
    assert "min gap '0.5SD'" in fails("pairs", "t", "-o", "p", "--min-gap", "0.5SD", "--force")
    before = times(Path("p"))
    assert run("pairs", "t", "-o", "p", "--min-gap", "0.5sd", "--outcome", "best")[0] == 0
    assert times(Path("p")) == before


def test_folders_of_another_kind(run, fails):
    write(*ROWS)
    run("import", "a.jsonl", "-o", "c")
    run("trees", "a.jsonl", "-o", "t")
    run("pairs", "t", "-o", "p")
    assert "c holds no trees: there is no column 'reward_name'" in fails("pairs", "c", "-o", "x")
    assert "p holds no trees" in fails("show", "p", "--html", "p.html")
    assert "(--response-column responses)?" in fails("trees", "t", "-o", "x")
    assert "c: the rows are candidate records already; leave out columns" in fails(
        "trees", "c", "-o", "x", "--response-column", "answer"
    )


# --- help


def test_help_works_and_imports_nothing_heavy():
    program = f"""
import sys
from openprm import cli
for arguments in [["--help"], *([command, "--help"] for command in {COMMANDS})]:
    sys.argv = ["openprm", *arguments]
    try:
        cli.main()
    except SystemExit as ended:
        assert ended.code == 0, arguments
print(sorted({{"torch", "transformers", "datasets", "pyarrow"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout.count("Usage: ") == 1 + len(COMMANDS)
    assert all(re.search(rf"Usage: .*\b{command}\b", done.stdout) for command in COMMANDS)


def test_a_librarys_error_keeps_its_traceback(run, monkeypatch):
    class LibraryError(ValueError):
        pass

    def fail(*arguments: Any, **options: Any) -> None:
        raise LibraryError

    write(*ROWS)
    monkeypatch.setattr("openprm.stages.trees.Trees.work", fail)
    monkeypatch.setattr(sys, "argv", ["openprm", "trees", "a.jsonl", "-o", "t"])
    with pytest.raises(LibraryError):
        cli.main()


def test_a_full_disk(fails, monkeypatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write(*ROWS)
    monkeypatch.setattr("openprm.runs.folder.os.replace", full)
    assert "what is finished is kept: free some space" in fails("trees", "a.jsonl", "-o", "t")
