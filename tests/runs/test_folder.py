"""Folders of Parquet shards: what is written is what is read, by us and by `datasets`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from openprm.errors import InputError
from openprm.runs.dataset import write_shards
from openprm.runs.folder import (
    count_and_hash,
    is_folder,
    read_manifest,
    read_rows,
    row_digest,
    rows_hash,
    shard_path,
    write_shard,
)
from openprm.schema import Pair, Prompt, features


def prompts(n: int, text: str = "é\u2028\x85\r\n\t\0 😀") -> list[dict[str, Any]]:
    return [
        {
            "schema_version": 1,
            "prompt_id": str(i),
            "source": "s",
            "question": [{"role": "user", "content": f"{i} {text}"}],
            "reference": None if i % 2 else "r",
        }
        for i in range(n)
    ]


def test_what_is_written_is_read(tmp_path):
    rows = prompts(1203)  # more than two row groups
    write_shard(tmp_path, 0, iter(rows[:1100]), Prompt)
    write_shard(tmp_path, 1, rows[1100:], Prompt)
    assert list(read_rows(tmp_path)) == rows
    assert pq.ParquetFile(shard_path(tmp_path, 0)).num_row_groups == 3


def test_a_folder_of_several_splits(tmp_path):
    """As a published repository is."""
    rows = prompts(5)
    for name, part in (("test", rows[:2]), ("train", rows[2:])):
        write_shard(tmp_path / name, 0, part, Prompt)
        (tmp_path / "data").mkdir(exist_ok=True)
        shard_path(tmp_path / name, 0).rename(tmp_path / "data" / f"{name}-00000.parquet")
    assert list(read_rows(tmp_path)) == list(read_rows(tmp_path, Prompt, "train")) == rows[2:]
    assert list(read_rows(tmp_path, Prompt, "test")) == rows[:2]
    for split in ("control", "t*", "../data/test"):
        with pytest.raises(InputError, match="its splits are test, train"):
            list(read_rows(tmp_path, Prompt, split))


@pytest.mark.parametrize(
    ("name", "split", "asked"),
    [
        ("someone/trees", None, ("someone/trees", None, "train", None)),
        ("someone/trees", "test", ("someone/trees", None, "test", None)),
        ("someone/trees@v1.0", "test", ("someone/trees", None, "test", "v1.0")),
        ("someone/pairs@refs/pr/1:process", None, ("someone/pairs", "process", "train", "refs/pr/1")),
    ],
)
def test_the_split_config_and_revision_of_a_published_dataset(monkeypatch, name, split, asked):
    rows = prompts(2)

    def load(path, config=None, *, split, revision=None, streaming):
        assert (path, config, split, revision) == asked
        return rows

    monkeypatch.setattr("datasets.load_dataset", load)
    assert list(read_rows(name, Prompt, split)) == rows


def test_a_shard_without_rows(tmp_path):
    assert write_shard(tmp_path, 0, [], Pair) == b""
    assert list(read_rows(tmp_path)) == []
    assert pq.read_schema(shard_path(tmp_path, 0)).names == list(features(Pair))


@pytest.mark.parametrize("per_shard", [1, 3, 7, 100])
def test_the_hash_does_not_depend_on_the_shards(tmp_path, monkeypatch, per_shard):
    monkeypatch.setattr("openprm.runs.dataset.ROWS_PER_FILE", per_shard)
    rows = prompts(7)
    digests = write_shards(tmp_path, iter(rows), Prompt)
    assert count_and_hash(digests) == (7, rows_hash(rows))
    assert rows_hash(read_rows(tmp_path)) == rows_hash(rows)
    assert len(list((tmp_path / "data").iterdir())) == math.ceil(7 / per_shard)


def test_the_hash_is_of_content_and_order_not_of_the_order_of_columns():
    first, second = prompts(2)
    assert row_digest(first) == row_digest(dict(reversed(first.items())))
    assert rows_hash([first, second]) != rows_hash([second, first])
    assert row_digest(first) != row_digest({**first, "reference": None})
    # a hash published once must never change
    assert rows_hash([{"a": 1.0, "b": [None, "é"]}]) == (
        "625dd48d956da0b5812c7fddfa5f69df837c61ecdffc8ba712ee824f8e1c08ca"
    )


def test_a_failed_shard_is_not_there(tmp_path):
    def rows():
        yield prompts(1)[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_shard(tmp_path, 0, rows(), Prompt)
    with pytest.raises(ValueError, match=r"int64|integer"):
        write_shard(tmp_path, 0, [{**prompts(1)[0], "schema_version": "one"}], Prompt)
    assert not shard_path(tmp_path, 0).exists()


def test_reading_says_what_is_wrong(tmp_path):
    with pytest.raises(InputError, match=r"has no data/train-\*\.parquet: it is not a dataset that openprm wrote"):
        list(read_rows(tmp_path))
    write_shard(tmp_path, 0, prompts(1000), Prompt)
    with pytest.raises(InputError, match="holds no pairs: there is no column 'context'"):
        list(read_rows(tmp_path, Pair))
    assert len(list(read_rows(tmp_path, Prompt))) == 1000
    content = shard_path(tmp_path, 0).read_bytes()
    for damaged in (content[: len(content) // 2], content[:200] + bytes(200) + content[400:]):
        shard_path(tmp_path, 0).write_bytes(damaged)
        with pytest.raises(InputError, match=r"train-00000.parquet is damaged .*; make the folder again"):
            list(read_rows(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "it is no folder that openprm wrote, or not finished"),
        ("{", "manifest.json is damaged"),
        ("", "manifest.json is damaged"),
        ('{"train": {"fingerprint": "x"}}', "has no manifest.json of a stage"),  # of a published dataset
        ("[]", "has no manifest.json of a stage"),
    ],
)
def test_a_manifest_that_no_stage_wrote(tmp_path: Path, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    if "damaged" not in message:
        assert not is_folder(tmp_path)
    for read in (read_manifest, is_folder) if "damaged" in message else (read_manifest,):
        with pytest.raises(InputError, match=message):
            read(tmp_path)


def test_a_stages_manifest(tmp_path):
    (tmp_path / "manifest.json").write_text('{"fingerprint": "x"}')
    assert read_manifest(tmp_path) == {"fingerprint": "x"}
    assert [is_folder(tmp_path / name) for name in ("", "manifest.json", "nowhere")] == [True, False, False]
