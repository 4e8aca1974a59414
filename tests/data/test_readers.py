"""Rows from files: what is read, what is rejected, and where."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openprm.data.readers import numbered_rows
from openprm.errors import Failure, InputError

from .failures import failed_rows


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, content: bytes | str) -> str:
        path = tmp_path / name
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return write


def read(path: str, split: str | None = None) -> tuple[list[tuple[int, dict[str, Any]]], list[Failure]]:
    """The rows that could be read, and the failures."""
    items = list(numbered_rows(path, split))
    failures = [row for _, row in items if isinstance(row, Failure)]
    return [(number, row) for number, row in items if not isinstance(row, Failure)], failures


def test_a_failure_names_file_row_reason_and_remedy(write):
    path = write("a.jsonl", '{"a": 1}\n[2]\n')
    for name, known_as in ((None, path), ("org/data:x", "org/data:x")):
        _, (number, failure) = numbered_rows(path, name=name)
        assert isinstance(failure, Failure)
        assert (number, str(failure)) == (2, f"{known_as}, row 2: not a JSON object; {failure.remedy}")


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.JSONL", "a.jsonl.gz", "a.json", "a.json.gz"])
def test_json_lines_with_bom_crlf_and_blank_lines(write, name):
    path = write(name, '\ufeff{"a": 1}\r\n\r\n  \r\n{"a": "\u2028\u0085"}\r\n')
    assert read(path) == ([(1, {"a": 1}), (4, {"a": "\u2028\u0085"})], [])


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("org/data", ("org/data", None, None)),
        ("org/data:config", ("org/data", "config", None)),
        ("org/data@v1.0", ("org/data", None, "v1.0")),
        ("org/data@refs/pr/1:config", ("org/data", "config", "refs/pr/1")),
    ],
)
def test_the_config_and_revision_of_a_hub_id(monkeypatch, name, asked):
    def load(path, config, *, split, revision, streaming):
        assert ((path, config, revision), split) == (asked, "test")
        return datasets.Dataset.from_list([{"a": 1}])

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert read(name, "test") == ([(1, {"a": 1})], [])


def test_broken_json_lines_are_rejected_and_reading_goes_on(write):
    lines = [b'{"a": 1}', b'{"a": ', b'{"a": "\xff"}', b"[1]", b"[" * 100_000, b"9" * 5000, b'{"a": 2}', b'{"a']
    rows, rejected = read(write("a.jsonl", b"\n".join(lines)))
    assert rows == [(1, {"a": 1}), (7, {"a": 2})]
    assert failed_rows(rejected) == [2, 3, 4, 5, 6, 8]
    assert "broken JSON" in rejected[0].reason
    assert "invalid UTF-8 at byte 8" in rejected[1].reason
    assert "not a JSON object" in rejected[2].reason
    assert "cut off" in rejected[-1].reason


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_list(write, indent):
    rows = [{"a": i, "b": [True, None, -1.5e9, 'é𝄞 "]},{', {"c": "x" * 50}]} for i in range(20)]
    path = write("a.json", "\ufeff \n" + json.dumps(rows, indent=indent, ensure_ascii=False) + "\n")
    assert read(path) == (list(enumerate(rows, 1)), [])


@pytest.mark.parametrize(
    ("text", "kept", "reason"),
    [
        ('[{"a": 1}, {"a": tru}, {"a": 3}]' + " " * 50, 1, "Expecting value"),
        ('[{"a": 1}, {"a": 2', 1, "Expecting"),
        ('[{"a": 1}, {"a": "2', 1, "Unterminated string"),
        ('[{"a": 1}, {"a": 2}', 1, "not closed"),
        ('[{"a": 1},\n', 1, "Expecting value"),
        ('[{"a": 1} {"a": 2}]', 0, "follows an element"),
        ('[{"a": 1}]\n[{"a": 2}]', 1, "follows the end"),
    ],
)
def test_a_broken_json_list_keeps_the_rows_before(write, text, kept, reason):
    rows, rejected = read(write("a.json", text))
    assert len(rows) == kept
    assert failed_rows(rejected) == [kept + 1]
    assert reason in rejected[0].reason


def test_bad_elements_of_a_json_list_are_rejected_one_by_one(write):
    rows, rejected = read(write("a.json", b'[{"a": 1}, 5, {"a": "\xff"}, {"a": "\\ud800"}]'))
    assert rows == [(1, {"a": 1}), (4, {"a": "\ud800"})]
    assert failed_rows(rejected) == [2, 3]
    assert [failure.reason for failure in rejected] == ["not a JSON object", "invalid UTF-8"]


def test_csv_with_quotes_newlines_bom_and_crlf(write):
    path = write("a.csv", '\ufeffq,r\r\n"a, ""b""","line 1\r\nline 2\n"\r\n\r\nc,\r\n')
    assert read(path) == ([(2, {"q": 'a, "b"', "r": "line 1\r\nline 2\n"}), (6, {"q": "c", "r": ""})], [])


def test_csv_with_a_response_of_250_000_characters(write):
    text = "é" * 250_000
    assert read(write("a.csv.gz", f"q,r\nx,{text}\n")) == ([(2, {"q": "x", "r": text})], [])


def test_bad_csv_rows_are_rejected_and_reading_goes_on(write):
    path = write("a.csv", b'q,r\n1\n1,2,3\n\xff,b\n"a"x,b\nc,d\ne,"f\n')
    rows, rejected = read(path)
    assert rows == [(6, {"q": "c", "r": "d"})]
    assert failed_rows(rejected) == [2, 3, 4, 5, 7]
    assert "1 fields where the header has 2" in rejected[0].reason
    assert "invalid UTF-8" in rejected[2].reason
    assert "broken CSV" in rejected[3].reason
    assert "close each quote" in rejected[4].remedy


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b"\n \n", "no rows"),
        ("a.json", b"[ ]", "no rows"),
        ("a.csv", b"q,r\n", "no rows"),
        ("a.csv", b"\n", "no rows"),
        ("a.csv", b"q;r\n1;2\n", "separated by ';'"),
        ("a.csv", b"q,r,q\n1,2,3\n", "'q' twice"),
        ("a.csv", b"\xff,r\n1,2\n", "UTF-8 in the header"),
        ("a.csv", b'"q"x,r\n1,2\n', "header cannot be read"),
        ("a.jsonl", '{"a": 1}'.encode("utf-16"), "UTF-16"),
        ("a.json", b'{\n"a": 1\n}', "one JSON object over several lines"),
        ("a.txt", b"x", "unknown format"),
        ("a.parquet", b"x", "not a complete Parquet file"),
    ],
)
def test_whole_file_errors_name_the_file(write, name, content, message):
    path = write(name, content)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_gz_file_cut_in_half(write, tmp_path):
    lines = b"".join(b'{"a": %d, "h": "%x"}\n' % (i, hash(str(i))) for i in range(20_000))
    data = gzip.compress(lines)
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(data[: len(data) // 2])
    rows, rejected = read(str(path))
    assert len(rows) > 1000
    assert failed_rows(rejected) == [len(rows) + 1]
    assert "nothing can be read from here on" in rejected[0].reason
    path.write_bytes(b"this is no gzip file")
    with pytest.raises(InputError, match="cannot be read"):
        read(str(path))


@pytest.mark.parametrize("path", ["nowhere/answers.jsonl", "answers.csv", "/nowhere/data", "C:\\data\\x"])
def test_a_missing_file_or_split(write, path):
    with pytest.raises(InputError, match="no such file"):
        read(path)
    with pytest.raises(InputError, match="no split 'train'"):
        read(write("a.jsonl", "{}"), "train")


def parquet(path: Path, rows: int = 3000, group: int = 1000) -> str:
    texts = [f"answer {i} " * 5 for i in range(rows)]
    pq.write_table(pa.table({"a": range(rows), "t": texts}), path, row_group_size=group, use_dictionary=False)
    return str(path)


def test_parquet_files_that_are_empty_or_cut_in_half(tmp_path):
    with pytest.raises(InputError, match="no rows"):
        read(parquet(tmp_path / "a.parquet", 0))
    path = Path(parquet(tmp_path / "a.parquet"))
    assert [(number, row["a"]) for number, row in read(str(path))[0]] == [(i + 1, i) for i in range(3000)]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="not a complete Parquet file"):
        read(str(path))


def damage(path: str, group: int) -> None:
    """Overwrites the data of one row group."""
    column = pq.ParquetFile(path).metadata.row_group(group).column(1)
    data = bytearray(Path(path).read_bytes())
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    Path(path).write_bytes(data)


def test_a_parquet_file_damaged_later_keeps_the_rows_before(tmp_path):
    path = parquet(tmp_path / "a.parquet")
    damage(path, 1)
    rows, rejected = read(path)
    assert [row["a"] for _, row in rows] == list(range(1000))
    assert failed_rows(rejected) == [1001]
    assert "rows 1001 to 3000 are damaged" in rejected[0].reason
    damage(path, 0)
    with pytest.raises(InputError, match="rows 1 to 3000 are damaged"):
        read(path)


def test_parquet_with_invalid_utf8(tmp_path):
    good, bad = b"good", b"b\xffd"
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 4, 7, 11)))
    text = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(good + bad + good))
    pq.write_table(pa.table({"t": text}), tmp_path / "a.parquet")
    rows, rejected = read(str(tmp_path / "a.parquet"))
    assert rows == [(1, {"t": "good"}), (3, {"t": "good"})]
    assert failed_rows(rejected) == [2]
    assert "utf-8" in rejected[0].reason


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    from datasets import Dataset, DatasetDict

    folder = tmp_path_factory.mktemp("datasets")
    data = Dataset.from_dict({"a": range(5), "q": [[{"role": "user", "content": "x"}]] * 5})
    data.save_to_disk(str(folder / "saved"))
    DatasetDict({"train": data, "test": data.select([4])}).save_to_disk(str(folder / "splits"))
    (folder / "shards").mkdir()
    data.select(range(3)).to_parquet(str(folder / "shards" / "train-00000-of-00002.parquet"))
    data.select(range(3, 5)).to_parquet(str(folder / "shards" / "train-00001-of-00002.parquet"))
    (folder / "shards" / "manifest.json").write_text('{"stage": "candidates"}')
    return folder


@pytest.mark.parametrize(("name", "split"), [("saved", None), ("splits", "train"), ("shards", None)])
def test_a_folder_that_datasets_opens(folders, name, split):
    rows, rejected = read(str(folders / name), split)
    assert rows == [(i + 1, {"a": i, "q": [{"role": "user", "content": "x"}]}) for i in range(5)]
    assert not rejected


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("splits", None, "its splits are train, test"),
        ("splits", "dev", "its splits are train, test"),
        ("shards", "dev", "its splits are train"),
        ("shards:other", None, "'other' not found"),
    ],
)
def test_an_unknown_split_or_config(folders, name, split, message):
    with pytest.raises(InputError, match=message):
        read(str(folders / name), split)


def test_two_folders_of_one_name_are_not_mixed_up(tmp_path):
    for parent in "xy":
        (tmp_path / parent / "data").mkdir(parents=True)
        (tmp_path / parent / "data" / "train.jsonl").write_text(json.dumps({"a": parent}) + "\n")
    for parent in "xy":
        assert read(str(tmp_path / parent / "data")) == ([(1, {"a": parent})], [])


def test_a_damaged_shard_of_a_folder(tmp_path):
    parquet(tmp_path / "train-00000-of-00002.parquet", 2000)
    path = Path(parquet(tmp_path / "train-00001-of-00002.parquet", 2000))
    path.write_bytes(path.read_bytes()[:500])
    rows, rejected = read(str(tmp_path))
    assert [row["a"] for _, row in rows] == list(range(len(rows)))
    assert rows
    assert failed_rows(rejected) == [len(rows) + 1]
