"""Tokens and local places are found wherever they stand, told without being shown, and nothing else is."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openprm.push.scan import HOME, PLACE, TOKENS, YOURS, here, scan
from safetensors.torch import save_file

from openprm.rejections import InputError

LETTERS = random.Random(0).sample(string.ascii_letters + string.digits, 60)


def made_up(mark: str, length: int) -> str:
    """A token of a known form, put together here so that none stands in this file."""
    return mark + "".join(LETTERS)[:length]


FORMS = {
    "Hugging Face token": made_up("hf_", 34),
    "OpenAI or Anthropic key": made_up("sk-proj-", 50),
    "GitHub token": made_up("ghp_", 36),
    "GitLab token": made_up("glpat-", 20),
    "AWS key": "AKIA" + "Q7RZ2MKX5TBW3PLD",
    "Google key": made_up("AIza", 35),
    "Slack token": made_up("xoxb-", 40),
    "Stripe key": made_up("sk_live_", 24),
    "npm or PyPI token": made_up("npm_", 36),
    "JSON web token": ".".join([made_up("eyJ", 20), made_up("eyJ", 30), made_up("", 40)]),
    "private key": f"-----BEGIN RSA {'PRIVATE'} KEY-----\n{made_up('MII', 50)}",
}
TOKEN = FORMS["Hugging Face token"]


def found(folder: Path, **options: Any) -> list[tuple[str, str, str]]:
    return [(finding.file, finding.where, finding.kind) for finding in scan(folder, **options)]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize("name", ["README.md", "trees.html", "tokenizer.json", "statistics.png"])
def test_known_forms_are_found_in_any_file_and_never_shown(tmp_path: Path, kind: str, name: str):
    write(tmp_path, name, b"\0\xff first\n here: " + FORMS[kind].encode() + b"; last\n")
    [finding] = scan(tmp_path)
    assert (finding.file, finding.where, finding.kind) == (name, "byte 16", kind)
    assert FORMS[kind] not in str(finding)
    assert len(finding.excerpt.split("…")[0]) <= 4


def test_a_finding_names_the_line_and_counts(tmp_path: Path):
    write(tmp_path, "data/notes.txt", f"one\ntwo {TOKEN}\nthree\n{TOKEN}")
    [finding] = scan(tmp_path)
    assert (finding.where, finding.count) == ("line 2", 2)
    assert str(finding) == f"data/notes.txt, line 2 and 1 more: Hugging Face token: {TOKEN[:4]}… (37 characters)"


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + "x" * 34,  # stands for a token
        "a " + "ta" + "sk-" + "oriented-and-very-long-compound-words-indeed",
        "sk-learn, hf_hub_download, hf_transfer, AKIA, eyJ, -----BEGIN " + "PRIVATE KEY-----",
        "a" + FORMS["AWS key"],  # in the middle of something longer
        "xoxo xoxo xoxo",
    ],
)
def test_words_are_no_tokens(tmp_path: Path, text: str):
    assert found(write(tmp_path, "README.md", text)) == []


def test_your_own_token_is_found_whatever_its_form(tmp_path: Path):
    secret = 'pässw"rd-1'
    write(tmp_path, "a.json", json.dumps({"key": secret}))
    write(tmp_path, "b.txt", f"password={secret}")
    assert found(tmp_path, secrets=[secret]) == [("a.json", "line 1", YOURS), ("b.txt", "line 1", YOURS)]
    assert secret not in "".join(map(str, scan(tmp_path, secrets=[secret])))
    assert found(tmp_path, secrets=["rd"]) == []  # as short as this it would be everywhere


def test_this_machines_places_are_found_in_data_too(tmp_path: Path):
    for name in ("manifest.json", "trees.html"):
        write(tmp_path, name, "see /home/ann/work/run-1/log")
    places = ["/home/ann", "/home/ann/work/run-1/", "/", "/root", "/tmp"]
    assert found(tmp_path, places=places) == [("manifest.json", "line 1", PLACE), ("trees.html", "line 1", PLACE)]
    assert found(tmp_path, places=["/home/an", "/home/ann/wor"]) == [("manifest.json", "line 1", HOME)]


@pytest.mark.parametrize("path", ["/home/ann/x", "/Users/ann", r"C:\Users\ann", r"C:\\Users\\ann\\x"])
def test_any_home_is_found_in_our_own_files_only(tmp_path: Path, path: str):
    for name in ("README.md", "config.json", "log.jsonl", "trees.html", "tokenizer.json"):
        write(tmp_path, name, f"in '{path}'")
    assert found(tmp_path) == [(name, "line 1", HOME) for name in ("README.md", "config.json", "log.jsonl")]


def test_addresses_and_general_places_are_no_homes(tmp_path: Path):
    write(tmp_path, "README.md", "https://example.com/home/news, /root/x, /tmp/y, /home/")
    assert found(tmp_path, places=["/root", "/tmp"]) == []


def test_what_is_allowed_is_not_found(tmp_path: Path):
    write(tmp_path, "README.md", f"{TOKEN} /home/user {FORMS['AWS key']}")
    assert found(tmp_path, allow=[TOKEN, "/home/user"]) == [("README.md", "line 1", "AWS key")]


NESTED = pa.table(
    {
        "plain": ["a", None, "ends with h", f"{TOKEN[1:]}"],  # side by side they would be one
        "struct": [{"text": "x"}, {"text": None}, {"text": f"so {TOKEN}"}, None],
        "lists": [[], ["a", "b"], None, ["c", TOKEN]],
        "deep": [[{"members": [TOKEN]}, {"members": []}], None, [], [{"members": ["x", "y"]}]],
        "map": pa.array([[], [("k", "v")], None, [("x", "y"), ("k", TOKEN)]], pa.map_(pa.string(), pa.string())),
        "coded": pa.array(["x", TOKEN, "x", TOKEN]).dictionary_encode(),
        "bytes": pa.array([b"\xff", b"", None, TOKEN.encode()], pa.large_binary()),
        "fixed": pa.array([["a", "b"], ["a", TOKEN], None, ["c", "d"]], pa.list_(pa.string(), 2)),
        "number": [1, 2, 3, 4],
    }
)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("rows", [1, 100])
def test_parquet_is_read_to_the_bottom(tmp_path: Path, start: int, rows: int):
    pq.write_table(NESTED.slice(start), tmp_path / "train.parquet", row_group_size=rows)
    places = {where for _, where, _ in found(tmp_path)}
    expected = {"struct.text": 3, "lists": 4, "deep.members": 1, "map.value": 4, "coded": 2, "bytes": 4, "fixed": 2}
    assert places == {f"row {row - start}, column {column}" for column, row in expected.items() if row > start}


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.lists(st.sampled_from(["", "a", "hf_", "é" * 9, TOKEN, f"x {TOKEN}", f"x{TOKEN}"])), min_size=1),
    size=st.integers(1, 5),
)
def test_parquet_findings_are_those_of_the_values(tmp_path_factory: pytest.TempPathFactory, rows: Any, size: int):
    folder = tmp_path_factory.mktemp("parquet")
    pq.write_table(pa.table({"texts": pa.array(rows, pa.list_(pa.string()))}), folder / "a.parquet", size)
    holding = [index for index, row in enumerate(rows, 1) for value in row if value in (TOKEN, f"x {TOKEN}")]
    expected = [(f"row {holding[0]}, column texts", len(holding))] if holding else []
    assert [(finding.where, finding.count) for finding in scan(folder)] == expected


def test_parquet_data_may_talk_of_homes_but_its_metadata_may_not(tmp_path: Path):
    table = pa.table({"response": ["cd /home/user"]}).replace_schema_metadata({"made": "/home/user/run"})
    pq.write_table(table, tmp_path / "a.parquet")
    assert found(tmp_path) == [("a.parquet", "metadata made", HOME)]


def test_a_broken_parquet_is_an_error(tmp_path: Path):
    write(tmp_path, "data/a.parquet", b"PAR1 and no more")
    with pytest.raises(InputError, match=r"data/a\.parquet: cannot be read: .*; lay the repository out again"):
        scan(tmp_path)


def test_safetensors_headers_are_read(tmp_path: Path):
    save_file({"w": torch.zeros(2)}, tmp_path / "model.safetensors", metadata={"from": "/home/ann/run"})
    assert found(tmp_path) == [("model.safetensors", "header", HOME)]


def test_empty_files_and_folders_have_nothing(tmp_path: Path):
    write(tmp_path, "a.py", "")
    save_file({}, tmp_path / "model.safetensors")
    pq.write_table(pa.table({"a": pa.array([], pa.string()), "b": pa.array([], pa.null())}), tmp_path / "b.parquet")
    assert scan(tmp_path) == []


def test_here_is_the_environment_and_the_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("SOME_API_KEY", "k" * 20)
    monkeypatch.setenv("DB_PASSWORD", "short")
    monkeypatch.setenv("SOME_VALUE", "v" * 20)
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.chdir(tmp_path)
    secrets, places = here()
    assert {TOKEN, "k" * 20} <= set(secrets)
    assert not {"short", "v" * 20} & set(secrets)
    assert {"/home/ann", str(tmp_path)} <= set(places)
