"""Damaged folders, which are refused, and bad rows, which are listed and end nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..answers import rejected
from .test_bad_input import GOOD, WRONG, lines


def flip(folder: Path) -> None:
    shard = next((folder / "data").iterdir())
    content = bytearray(shard.read_bytes())
    content[len(content) // 4] ^= 0xFF
    shard.write_bytes(content)


def cut(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:50])


#: A command on `y`, a damaged copy of what was made; what it says; whose copy, and its damage.
DAMAGED: list[tuple[str, str, str, Callable[[Path], Any]]] = [
    ("pairs y -o x", "y/manifest.json is damaged", "t", lambda y: cut(y, "manifest.json")),
    ("trees y -o x", "y/manifest.json is damaged", "c", lambda y: cut(y, "manifest.json")),
    ("pairs y -o x", "y has no data/train-*.parquet", "t", lambda y: next((y / "data").iterdir()).unlink()),
    ("pairs y -o x", "train-00000.parquet is damaged", "t", flip),
    ("trees y -o x", "train-00000.parquet is damaged", "c", flip),
    ("pairs y -o x", "train-00000.parquet is damaged", "t", lambda y: cut(y, "data/train-00000.parquet")),
    (
        "pairs y -o x",
        "y has 12 rows, not 6 as its manifest.json says; make it again",
        "t",
        lambda y: shutil.copy(y / "data/train-00000.parquet", y / "data/train-00001.parquet"),
    ),
    ("sample q --model y -o x", "y cannot be loaded", "policy", lambda y: (y / "model.safetensors").unlink()),
    ("sample q --model y -o x", "Error while deserializing header", "policy", lambda y: cut(y, "model.safetensors")),
    ("score c --model y -o x", "y cannot be loaded by", "model", lambda y: cut(y, "model.safetensors")),
    ("train p --base y -o x", "Error while deserializing header", "model", lambda y: cut(y, "model.safetensors")),
    ("train p --base y -o x", "y cannot be loaded", "model", lambda y: (y / "tokenizer.json").unlink()),
    (
        "score c --model y -o x",
        "cannot be loaded by AutoTokenizer: Couldn't",
        "model",
        lambda y: (y / "tokenizer.json").unlink(),
    ),
    ("score c --model y -o x", "y cannot be read as a model", "model", lambda y: (y / "config.json").unlink()),
    ("sample q --model y -o x", "not a valid JSON file", "policy", lambda y: cut(y, "config.json")),
    ("score c --model y -o x", "has no chat template", "model", lambda y: (y / "chat_template.jinja").unlink()),
]


@pytest.mark.parametrize(("command", "message", "whose", "damage"), DAMAGED)
def test_what_is_damaged(said: Callable[[str], str], command: str, message: str, whose: str, damage: Any):
    damage(Path(shutil.copytree(whose, "y")))
    assert message in said(command)


#: A row that cannot be used among others that can, by its line, and why.
BAD_ROWS: list[tuple[Any, str]] = [
    (b'{"question": \n', "broken JSON"),
    (b"\0\0\0\n", "broken JSON"),
    (b"[1, 2]\n", "not a JSON object"),
    *(({**GOOD, "reward": reward}, f"'reward' is {reward!r}") for reward in ("good", float("nan"), float("inf"))),
    ({**GOOD, "reward": None}, "'reward' is missing"),
    ({"question": "a", "response": "b"}, "'reward' is missing"),
    ({**GOOD, "response": " "}, "empty response"),
    ({**GOOD, "response": None}, "'response' is missing"),
    ({**GOOD, "response": ["a", 5], "reward": [1, 0]}, "'response' should be a valid string"),
    ({**GOOD, "response": ["a", "b"]}, "2 responses, but 'reward' is not a list"),
    ({**GOOD, "question": None}, "'question' is missing"),
    ({**GOOD, "question": [{"content": "a"}]}, "'question[0].role' is missing"),
    ({**GOOD, "question": [{"role": "assistant", "content": "a"}]}, "ends with the assistant's turn"),
    ({**GOOD, "question": "3 + 3?", "prompt_id": "1"}, "prompt_id '1' has another question in row 1"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS)
def test_a_bad_row_is_listed_and_ends_nothing(run: Any, row: Any, reason: str):
    others = [{**one, "prompt_id": "1"} for one in (GOOD, WRONG)]
    line = row if isinstance(row, bytes) else lines({"prompt_id": "1", **row})
    Path("a.jsonl").write_bytes(lines(others[0]) + line + lines(others[1]))
    assert run("trees", "a.jsonl", "-o", "x")[0] == 0
    entries = rejected(Path("x"))
    assert reason in entries[0]["reason"]
    assert entries[0]["key"].startswith(("a.jsonl, row 2", "prompt '1', sample 1"))
    assert entries[0]["remedy"]


def test_what_only_looks_odd_is_read(run: Any):
    """A mark of the byte order, brackets in paths, slashes and brackets in ids, zero bytes in a text."""
    rows = "question,response,reward,prompt_id\na,b\0,1,a/b[1]\na,c,0,a/b[1]\n"
    Path("e[1].csv").write_bytes(b"\xef\xbb\xbf" + rows.encode())
    assert run("trees", "e[1].csv", "-o", "y[1]/t")[0] == 0
    assert "+0.500 ×2" in run("show", "y[1]/t", "a/b[1]")[1]
    code, out, _ = run("pairs", "y[1]/t", "-o", "y[1]/p", "--outcome", "best")
    assert (code, out.splitlines()[0]) == (0, "pairs: 1 rows in y[1]/p")
