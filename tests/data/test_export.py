"""Rows as CSV and JSON lines, and what comes back."""

from __future__ import annotations

import csv
import json

import pytest

from openprm.data.candidates import read_candidates
from openprm.data.export import export_rows
from openprm.errors import InputError

from ..folders import candidate

TEXT = 'a, "b"\r\nc\rd\n\n=1+1\té \u2028日本'
ROWS = [
    candidate("p", 0, TEXT, 0.1 + 0.2, reference="4", n_tokens=3),
    candidate("p", 1, "", marks=["empty"]),
    candidate("7", 0, "null", 1e-300),
]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_candidates_come_back_unchanged(tmp_path, suffix):
    path = tmp_path / "new" / f"rows.{suffix}"
    assert export_rows(iter(ROWS), path) == 3
    assert list(read_candidates(str(path))) == ROWS
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_csv_is_text_nothing_or_json(tmp_path):
    rows = [{"text": TEXT, "none": None, "list": ["é", None], "number": 1.5, "flag": True, "record": {"a": [1]}}]
    export_rows(rows, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        header, row = csv.reader(file, strict=True)
    assert header == [*rows[0]]
    assert row == [TEXT, "", '["é", null]', "1.5", "true", '{"a": [1]}']
    export_rows(rows, tmp_path / "a.jsonl")
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").split("\n")[:-1]] == rows


def test_a_field_of_csv_that_is_not_json_fails_its_row(tmp_path):
    export_rows(ROWS, tmp_path / "a.csv")
    content = (tmp_path / "a.csv").read_bytes()
    (tmp_path / "a.csv").write_bytes(content.replace(b'"[""empty""]"', b"[empty"))
    first, second, third = read_candidates(str(tmp_path / "a.csv"))
    assert (first, third) == (ROWS[0], ROWS[2])
    assert "'marks' is not JSON" in str(second)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_file_is_whole_or_not_there(tmp_path, suffix):
    def damaged():
        yield ROWS[0]
        raise InputError("the second shard is damaged")

    path = tmp_path / f"a.{suffix}"
    for there in (None, "mine"):
        if there:
            path.write_text(there)
        with pytest.raises(InputError, match="second shard"):
            export_rows(damaged(), path)
        assert [one.read_text() for one in tmp_path.iterdir()] == [there] * bool(there)


@pytest.mark.parametrize(("name", "message"), [("a.xlsx", "ends in .csv or .jsonl"), ("a.csv", "there are no rows")])
def test_what_cannot_be_written(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        export_rows([], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_rows_are_streamed(tmp_path):
    written = []

    def rows():
        for index in range(3000):
            yield {"index": index, "text": "x" * 100}
        written.append((tmp_path / "a.csv.partial").stat().st_size)

    export_rows(rows(), tmp_path / "a.csv")
    assert written[0] > 250_000
