"""Tokens and local places are found wherever they are, told without being shown, and nothing else is."""

from __future__ import annotations

import gzip
import html
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
from openprm.push.secret_scan import BEARER, LOCAL, PASSWORD, PLACE, UNREADABLE, YOURS, here, scan
from safetensors.torch import save_file

from openprm.errors import InputError

LETTERS = random.Random(0).sample(string.ascii_letters + string.digits, 60)


def made_up(mark: str, length: int) -> str:
    """A token of a known form, put together here so that none is in this file."""
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
HIDDEN = "hf_" + TOKEN[3] + "… (37 characters)"


def found(folder: Path, **options: Any) -> list[tuple[str, str, str]]:
    return [(finding.file, finding.where, finding.kind) for finding in scan(folder, **options)]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("name", ["README.md", "trees.html", "tokenizer.json", "tokenizer.model", "statistics.png"])
def test_known_forms_are_found_in_any_file_and_never_shown(tmp_path: Path, kind: str, name: str):
    is_text = not name.endswith((".model", ".png"))
    first = b"first\n" if is_text else b"\n\x0e\0\xff"
    write(tmp_path, name, first + b" header: " + FORMS[kind].encode() + b"; last\n")
    [finding] = scan(tmp_path)
    assert (finding.file, finding.where, finding.kind) == (name, "line 2" if is_text else "the whole file", kind)
    assert FORMS[kind] not in str(finding)
    assert len(finding.excerpt.split("…")[0]) <= 4


@pytest.mark.parametrize("before", ["\\n", "\\\\n", "\\t", "\\r", "\\u003c", "%3D", "&#10;", "_"])
@pytest.mark.parametrize("name", ["manifest.json", "trees.html"])
def test_an_escape_before_a_token_hides_nothing(tmp_path: Path, before: str, name: str):
    write(tmp_path, name, f'{{"key": "use{before}{TOKEN}\\nthen"}}')
    assert found(tmp_path) == [(name, "line 1", "Hugging Face token")]


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + "x" * 34,  # stands for a token
        "a " + "ta" + "sk-" + "oriented-and-very-long-compound-words-indeed",
        "sk-learn, hf_hub_download, hf_transfer, AKIA, eyJ, -----BEGIN " + "PRIVATE KEY-----",
        "a" + FORMS["AWS key"],  # in the middle of something longer
        "Authorization: Bearer <token>, Bearer $HF_TOKEN, Bearer xxxxxxxxxxxxxxxxxxxxxxxxx",
        "https://example.com:8080/a@b, mailto:ann@example.com, https://example.com/@ann:matrix.org, ssh://git@host/x",
        "postgres://<user>:<password>@host, https://{user}:{password}@host",
        "https://example.com/home/news, http://home/page, ./root/x, ../tmp/y, ~/mnt/z, ${OUT}/tmp/x, /home/, /usr/a",
    ],
)
def test_words_addresses_and_relative_paths_are_not_found(tmp_path: Path, text: str):
    assert found(write(tmp_path, "README.md", text)) == []


OWN = {
    LOCAL: [
        "/home/ann/x",
        "/Users/ann",
        "/root/run",
        "file:///tmp/x",
        r"C:\Users\ann",
        r"C:\\Users\\ann\\x",
        "\\n/tmp/x",
    ],
    PASSWORD: ["http://ann:hunter@10.0.0.1:8000/v1"],
    BEARER: [f"Authorization: Bearer {made_up('', 32)}"],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in OWN.items() for text in texts])
def test_only_our_own_files_name_no_path_and_no_password(tmp_path: Path, kind: str, text: str):
    """As an answer may talk of them."""
    for name in ("README.md", "config.json", "log.jsonl", "trees.html", "tokenizer.json", "chat_template.jinja"):
        write(tmp_path, name, f"in '{text}'")
    assert found(tmp_path) == [(name, "line 1", kind) for name in ("README.md", "config.json", "log.jsonl")]


@pytest.mark.parametrize("secret", ['pässw"rd-1', "a&b<c>d'e"])
def test_your_own_token_is_found_as_files_spell_it(tmp_path: Path, secret: str):
    for name, text in {"a.json": json.dumps(secret), "b.html": html.escape(secret), "c.txt": secret}.items():
        write(tmp_path, name, f"password={text}")
    assert found(tmp_path, secrets=[secret]) == [(name, "line 1", YOURS) for name in ("a.json", "b.html", "c.txt")]
    assert secret not in "".join(map(str, scan(tmp_path, secrets=[secret])))
    assert found(tmp_path, secrets=[secret[:5]]) == []  # as short as this it would be everywhere


def test_this_machines_places_are_found_in_data_too(tmp_path: Path):
    for name in ("manifest.json", "trees.html"):
        write(tmp_path, name, "see /home/ann/work/run-1/log")
    places = ["/home/ann", "/home/ann/work/run-1/", "/", "/root", "/tmp"]
    assert found(tmp_path, places=places) == [("manifest.json", "line 1", PLACE), ("trees.html", "line 1", PLACE)]
    assert found(tmp_path, places=["/home/an"]) == [("manifest.json", "line 1", LOCAL)]


def test_an_absolute_path_that_is_there_is_found_in_our_own_files(tmp_path: Path):
    """Wherever it begins; and one whose folder is there."""
    (tmp_path / "data").mkdir()
    for name, text in (("a.json", f'"{tmp_path}/data"'), ("b.md", f"see {tmp_path}/gone.txt."), ("c.html", tmp_path)):
        write(tmp_path, name, str(text))
    places = {str(path) for path in (tmp_path, *tmp_path.parents)}
    with_places = [(file.file, file.kind) for file in scan(tmp_path) if file.excerpt not in places]
    assert with_places == [("a.json", LOCAL), ("b.md", LOCAL)]
    assert (
        found(write(tmp_path / "of-others", "README.md", "/data/ann/x, https://example.com/usr/bin, a/usr/bin")) == []
    )


def test_what_is_allowed_is_not_found(tmp_path: Path):
    write(tmp_path, "README.md", f"{TOKEN} /home/user {FORMS['AWS key']}")
    assert found(tmp_path, allow=[TOKEN, "/home/user"]) == [("README.md", "line 1", "AWS key")]


NESTED = pa.table(
    {
        "plain": ["a", None, "ends with h", TOKEN[1:]],  # side by side they would be one
        "struct": [{"text": "x"}, {"text": None}, {"text": f"so {TOKEN}"}, None],
        "lists": [[], ["a", "b"], None, ["c", FORMS["AWS key"]]],
        "deep": [[{"members": [FORMS["GitHub token"]]}, {"members": []}], None, [], [{"members": ["x", "y"]}]],
        "number": [1, 2, 3, 4],
    }
)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("rows", [1, 100])
def test_parquet_is_read_to_the_bottom(tmp_path: Path, start: int, rows: int):
    pq.write_table(NESTED.slice(start), tmp_path / "train.parquet", row_group_size=rows)
    expected = {"struct.text": 3, "lists": 4, "deep.members": 1}
    assert {where for _, where, _ in found(tmp_path)} == {
        f"row {row - start}, column {column}" for column, row in expected.items() if row > start
    }


@settings(max_examples=20)
@given(
    rows=st.lists(st.lists(st.sampled_from(["", "a", "hf_", "é" * 9, TOKEN, f"x {TOKEN}", f"x{TOKEN}"])), min_size=1)
)
def test_parquet_findings_are_those_of_the_values(tmp_path_factory: pytest.TempPathFactory, rows: Any):
    folder = tmp_path_factory.mktemp("parquet")
    pq.write_table(pa.table({"texts": pa.array(rows, pa.list_(pa.string()))}), folder / "a.parquet")
    holding = [index for index, row in enumerate(rows, 1) if {TOKEN, f"x {TOKEN}"} & {*row}]
    assert [where for _, where, _ in found(folder)] == [f"row {index}, column texts" for index in holding[:1]]


def test_names_and_metadata_are_read_and_not_shown(tmp_path: Path):
    schema = pa.schema([pa.field(f"x_{TOKEN}", pa.string())], metadata={"made": FORMS["AWS key"]})
    pq.write_table(pa.Table.from_pylist([{f"x_{TOKEN}": FORMS["GitHub token"]}], schema), tmp_path / "a.parquet")
    write(tmp_path, f"b-{TOKEN}/a.txt", f"x\n{FORMS['AWS key']}")
    assert found(tmp_path) == [
        ("a.parquet", "schema", "Hugging Face token"),
        ("a.parquet", "schema", "AWS key"),
        ("a.parquet", f"row 1, column x_{HIDDEN}", "GitHub token"),
        (f"b-{HIDDEN}/a.txt", "name", "Hugging Face token"),
        (f"b-{HIDDEN}/a.txt", "line 2", "AWS key"),
    ]


def test_safetensors_headers_are_read(tmp_path: Path):
    save_file({"w": torch.zeros(2)}, tmp_path / "model.safetensors", metadata={"from": "/home/ann/run"})
    assert found(tmp_path) == [("model.safetensors", "header", LOCAL)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("latin.txt", "Schlüssel".encode("latin-1")),
        ("log.jsonl.gz", gzip.compress(b"x", mtime=0)),
        ("a.bin", b"PK\x03\xff"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes):
    [finding] = scan(write(tmp_path, name, content))
    assert (finding.file, finding.kind) == (name, UNREADABLE)
    assert "Parquet, safetensors, PNG or UTF-8 text" in str(finding)


def test_a_broken_parquet_is_an_error(tmp_path: Path):
    write(tmp_path, "data/a.parquet", b"PAR1 and no more")
    with pytest.raises(InputError, match=r"data/a\.parquet: cannot be read: .*; lay the repository out again"):
        scan(tmp_path)


def test_empty_files_and_a_plot_have_nothing(tmp_path: Path):
    from matplotlib.figure import Figure

    Figure().savefig(tmp_path / "statistics.png", metadata={"Comment": "of nothing"})
    write(tmp_path, "a.py", "")
    save_file({}, tmp_path / "model.safetensors")
    pq.write_table(pa.table({"a": pa.array([], pa.string()), "b": pa.array([], pa.null())}), tmp_path / "b.parquet")
    assert scan(tmp_path) == []


def test_here_is_the_environment_and_the_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("SOME_API_KEY", "k" * 20)
    monkeypatch.setenv("DB_PASSWORD", "short")
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.chdir(tmp_path)
    secrets, places = here()
    assert {TOKEN, "k" * 20} <= set(secrets)
    assert "short" not in secrets
    assert places == ["/home/ann", str(tmp_path)]
