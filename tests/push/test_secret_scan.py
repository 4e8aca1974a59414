"""Tokens and local places are found wherever they stand, told without being shown, and nothing else is."""

from __future__ import annotations

import gzip
import html
import json
import random
import string
import struct
import urllib.parse
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openprm.push.secret_patterns import CREDENTIALS, LOCAL, PLACE, TOKENS, YOURS
from openprm.push.secret_scan import SEALED, here, scan
from safetensors.torch import save_file

from openprm.errors import InputError

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
    "Bearer token": made_up("", 32),
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
@pytest.mark.parametrize("name", ["README.md", "trees.html", "tokenizer.json", "tokenizer.model"])
def test_known_forms_are_found_in_any_file_and_never_shown(tmp_path: Path, kind: str, name: str):
    first, where = (b"\n\x0e\0\xff", "byte 20") if name.endswith(".model") else (b"first\n", "line 2")
    write(tmp_path, name, first + b" header: Bearer " + FORMS[kind].encode() + b"; last\n")
    [finding] = scan(tmp_path)
    assert (finding.file, finding.where, finding.kind) == (name, where, kind)
    assert FORMS[kind] not in str(finding)
    assert len(finding.excerpt.split("…")[0]) <= 4


def test_a_finding_names_the_line_and_counts(tmp_path: Path):
    write(tmp_path, "data/notes.txt", f"one\ntwo {TOKEN}\nthree\n{TOKEN}")
    [finding] = scan(tmp_path)
    assert (finding.where, finding.count) == ("line 2", 2)
    assert str(finding) == f"data/notes.txt, line 2 and 1 more: Hugging Face token: {TOKEN[:4]}… (37 characters)"


@pytest.mark.parametrize("before", ["\\n", "\\\\n", "\\t", "\\r", "\\u003c", "%3D", "\\x0a", "&#10;", "_"])
@pytest.mark.parametrize("name", ["manifest.json", "trees.html"])
def test_an_escape_before_a_token_hides_nothing(tmp_path: Path, before: str, name: str):
    write(tmp_path, name, f'{{"key": "use{before}{TOKEN}\\nthen"}}')
    assert found(tmp_path) == [(name, "line 1", "Hugging Face token")]


def test_an_escape_before_a_folder_hides_nothing(tmp_path: Path):
    write(tmp_path, "manifest.json", json.dumps({"log": "see\n/home/ann/run"}))
    assert found(tmp_path) == [("manifest.json", "line 1", LOCAL)]


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + "x" * 34,  # stands for a token
        "a " + "ta" + "sk-" + "oriented-and-very-long-compound-words-indeed",
        "sk-learn, hf_hub_download, hf_transfer, AKIA, eyJ, -----BEGIN " + "PRIVATE KEY-----",
        "a" + FORMS["AWS key"],  # in the middle of something longer
        "xoxo xoxo xoxo",
        "Authorization: Bearer YOUR_ACCESS_TOKEN_GOES_HERE, Bearer <token>, Bearer $HF_TOKEN",
        "Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...",  # a header that many have
        "the bearer internationalization-of-things",
        "https://example.com:8080/a@b, mailto:ann@example.com, https://example.com/@ann:matrix.org, ssh://git@host/x",
        "postgres://<user>:<password>@host, https://{user}:{password}@host",
    ],
)
def test_words_are_no_tokens(tmp_path: Path, text: str):
    assert found(write(tmp_path, "README.md", text)) == []


def test_passwords_in_addresses_are_found(tmp_path: Path):
    for name in ("manifest.json", "trees.html"):
        write(tmp_path, name, "http://ann:hunter@10.0.0.1:8000/v1")
        write(tmp_path, f"2/{name}", "redis://:q7hh2kx9zz@cache")
    write(tmp_path, "answers.html", "postgresql://user:password@localhost/db")  # as answers have it
    files = ["2/manifest.json", "2/trees.html", "manifest.json"]
    assert found(tmp_path) == [(file, "line 1", CREDENTIALS) for file in files]
    assert "hunter" not in "".join(map(str, scan(tmp_path)))
    assert found(tmp_path, allow=[":q7hh2kx9zz", "ann:hunter"]) == []


def test_a_token_in_an_address_that_is_no_password_is_found(tmp_path: Path):
    token = "hf_" + "abcdefghijABCDEFGHIJ" * 2
    write(tmp_path, "trees.html", f"https://user:{token}@host")  # without a digit
    assert found(tmp_path) == [("trees.html", "line 1", "Hugging Face token")]


def test_your_own_token_is_found_whatever_its_form(tmp_path: Path):
    secret = 'pässw"rd-1'
    write(tmp_path, "a.json", json.dumps({"key": secret}))
    write(tmp_path, "b.txt", f"password={secret}")
    assert found(tmp_path, secrets=[secret]) == [("a.json", "line 1", YOURS), ("b.txt", "line 1", YOURS)]
    assert secret not in "".join(map(str, scan(tmp_path, secrets=[secret])))
    assert found(tmp_path, secrets=["rd"]) == []  # as short as this it would be everywhere


@pytest.mark.parametrize("secret", ["a&b<c>d'e", "a/b/c/d/e", "a b c d e", "Schlüssel"])
@pytest.mark.parametrize("written", ["{}", "html", "json", "slashes", "url"])
def test_your_own_token_is_found_as_files_spell_it(tmp_path: Path, secret: str, written: str):
    spelled = {
        "{}": secret,
        "html": html.escape(secret),
        "json": json.dumps(secret),
        "slashes": secret.replace("/", "\\/"),
        "url": urllib.parse.quote(secret, safe=""),
    }
    write(tmp_path, "trees.html", f"x{spelled[written]}x")
    assert found(tmp_path, secrets=[secret]) == [("trees.html", "line 1", YOURS)]


def test_this_machines_places_are_found_in_data_too(tmp_path: Path):
    for name in ("manifest.json", "trees.html"):
        write(tmp_path, name, "see /home/ann/work/run-1/log")
    places = ["/home/ann", "/home/ann/work/run-1/", "/", "/root", "/tmp"]
    assert found(tmp_path, places=places) == [("manifest.json", "line 1", PLACE), ("trees.html", "line 1", PLACE)]
    assert found(tmp_path, places=["/home/an", "/home/ann/wor"]) == [("manifest.json", "line 1", LOCAL)]


def test_a_general_place_is_found_in_our_own_files(tmp_path: Path):
    for name in ("manifest.json", "trees.html"):
        write(tmp_path, name, "see /lustre/ann/run, a/lustre/x, /lustre, /lustres/x")
    assert found(tmp_path, places=["/lustre/"]) == [("manifest.json", "line 1", LOCAL)]
    assert found(tmp_path, places=["/"]) == []


LOCAL_PATHS = ["/home/ann/x", "/Users/ann", "/root/run", "/mnt/disk", "/scratch/ann", "file:///tmp/x"]


@pytest.mark.parametrize("path", [*LOCAL_PATHS, r"C:\Users\ann", r"C:\\Users\\ann\\x"])
def test_local_paths_are_found_in_our_own_files_only(tmp_path: Path, path: str):
    for name in ("README.md", "config.json", "log.jsonl", "trees.html", "tokenizer.json", "chat_template.jinja"):
        write(tmp_path, name, f"in '{path}'")
    assert found(tmp_path) == [(name, "line 1", LOCAL) for name in ("README.md", "config.json", "log.jsonl")]


def test_addresses_and_relative_paths_are_not_local(tmp_path: Path):
    write(
        tmp_path,
        "README.md",
        "https://example.com/home/news, http://home/page, ./root/x, ../tmp/y, ~/mnt/z, ${OUT}/tmp/x, /home/, /usr/a",
    )
    assert found(tmp_path) == []


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
        "digest": pa.array([b"x" * 37, None, TOKEN.encode(), b"y" * 37], pa.binary(37)),
        "number": [1, 2, 3, 4],
    }
)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("rows", [1, 100])
def test_parquet_is_read_to_the_bottom(tmp_path: Path, start: int, rows: int):
    pq.write_table(NESTED.slice(start), tmp_path / "train.parquet", row_group_size=rows)
    places = {where for _, where, _ in found(tmp_path)}
    expected = {"struct.text": 3, "lists": 4, "deep.members": 1, "map.value": 4, "coded": 2, "bytes": 4, "fixed": 2}
    expected["digest"] = 3
    assert places == {f"row {row - start}, column {column}" for column, row in expected.items() if row > start}


@settings(max_examples=30)
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


def test_parquet_data_may_talk_of_folders_but_its_metadata_may_not(tmp_path: Path):
    table = pa.table({"response": ["cd /home/user"]}).replace_schema_metadata({"made": "/home/user/run"})
    pq.write_table(table, tmp_path / "a.parquet")
    assert found(tmp_path) == [("a.parquet", "metadata made", LOCAL)]


def test_parquet_names_are_read_and_not_shown(tmp_path: Path):
    inner = pa.field("inner", pa.string(), metadata={"from": f"x {TOKEN}"})
    fields = [pa.field(f"x_{TOKEN}", pa.string()), pa.field("outer", pa.struct([inner, pa.field(TOKEN, pa.int8())]))]
    schema = pa.schema(fields, metadata={TOKEN: "key"})
    row = {f"x_{TOKEN}": TOKEN, "outer": {"inner": "a", TOKEN: 1}}
    pq.write_table(pa.Table.from_pylist([row], schema), tmp_path / "a.parquet")
    hidden = "hf_" + TOKEN[3] + "… (37 characters)"
    assert {where for _, where, _ in found(tmp_path)} == {
        f"metadata {hidden}",
        f"column x_{hidden}",
        f"column outer.{hidden}",
        "metadata from of outer.inner",
        f"row 1, column x_{hidden}",
    }
    assert TOKEN not in "".join(map(str, scan(tmp_path)))


def test_a_broken_parquet_is_an_error(tmp_path: Path):
    write(tmp_path, "data/a.parquet", b"PAR1 and no more")
    with pytest.raises(InputError, match=r"data/a\.parquet: cannot be read: .*; lay the repository out again"):
        scan(tmp_path)


def test_safetensors_headers_are_read(tmp_path: Path):
    save_file({"w": torch.zeros(2)}, tmp_path / "model.safetensors", metadata={"from": "/home/ann/run"})
    assert found(tmp_path) == [("model.safetensors", "header", LOCAL)]


@pytest.mark.parametrize("folder", ["", "data/"])
def test_a_token_in_a_files_name_is_found_and_not_shown(tmp_path: Path, folder: str):
    write(tmp_path, f"{folder}x-{TOKEN}/a.txt", f"x\n{FORMS['AWS key']}")
    name = f"{folder}x-hf_{TOKEN[3]}… (37 characters)/a.txt"
    assert found(tmp_path) == [(name, "name", "Hugging Face token"), (name, "line 2", "AWS key")]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixels = (b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in (header, *chunks, pixels, (b"IEND", b"")))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"tEXt", b"Comment\0" + TOKEN.encode()),
        (b"zTXt", b"Comment\0\0" + zlib.compress(TOKEN.encode())),
        (b"iTXt", b"Comment\0\0\0en\0Kommentar\0" + TOKEN.encode()),
        (b"iTXt", b"Comment\0\1\0en\0Kommentar\0" + zlib.compress(TOKEN.encode())),
        (b"iTXt", b"%s\0\1\0en\0Kommentar\0" % TOKEN.encode() + zlib.compress(b"harmless")),
        (b"iCCP", b"profile\0\0" + zlib.compress(TOKEN.encode())),
        (b"eXIf", b"MM\0*" + TOKEN.encode()),
    ],
)
def test_what_a_picture_says_is_read(tmp_path: Path, kind: bytes, data: bytes):
    write(tmp_path, "statistics.png", png((kind, data)))
    assert found(tmp_path) == [("statistics.png", f"chunk {kind.decode()}", "Hugging Face token")]


def test_a_plot_has_nothing(tmp_path: Path):
    from matplotlib.figure import Figure

    Figure().savefig(tmp_path / "statistics.png", metadata={"Comment": "of nothing"})
    assert found(tmp_path) == []


SEALED_FILES = {
    "notes.txt": TOKEN.encode("utf-16"),
    "plain.txt": TOKEN.encode("utf-16-le"),
    "log.jsonl": gzip.compress(TOKEN.encode()),
    "log.jsonl.gz": gzip.compress(TOKEN.encode()),
    "pytorch_model.bin": b"PK\x03\x04\0\xff",
    "latin.txt": "Schlüssel".encode("latin-1"),
    "tokenizer.model": gzip.compress(TOKEN.encode()),
    "no.png": gzip.compress(TOKEN.encode()),
    "cut.png": png()[:-6],
    "longer.png": png() + TOKEN.encode(),
    "bomb.png": png((b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 2**26))),
    "broken.png": png((b"zTXt", b"Comment\0\0" + TOKEN.encode())),
    "short.png": png((b"iTXt", b"Comment")),
    "no.safetensors": gzip.compress(TOKEN.encode()),
    "longer.safetensors": struct.pack("<Q", 2) + b"{}" + TOKEN.encode(),
    "list.safetensors": struct.pack("<Q", 2) + b"[]",
}


@pytest.mark.parametrize("name", SEALED_FILES)
def test_what_cannot_be_looked_into_is_refused(tmp_path: Path, name: str):
    [finding] = scan(write(tmp_path, name, SEALED_FILES[name]), allow=[TOKEN])
    assert (finding.file, finding.kind) == (name, SEALED)
    assert "Parquet, safetensors, PNG or UTF-8 text" in str(finding)


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
    assert not {"/usr", "/etc", "/"} & set(places)
