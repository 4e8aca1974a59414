"""The builder of outcome pairs: a config for each declared source, and datasets of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openprm.builders.preferences import Preferences

from openprm.data.paper_datasets import PAIR_SOURCES
from openprm.data.preferences import PreferenceColumns
from openprm.runs.folder import read_rows
from openprm.schema import Pair, features
from openprm.stages.datasets import make_preference_pairs
from openprm.stages.prompts import make_source_pairs
from tests import public_data
from tests.answers import write_jsonl


def built(tmp_path: Path, **options: Any) -> Any:
    builder = Preferences(cache_dir=str(tmp_path / "cache"), **options)
    builder.download_and_prepare()
    return builder.as_dataset(split="train")


def test_a_config_for_each_declared_source():
    assert [*Preferences.builder_configs] == [*PAIR_SOURCES]


def test_the_stages_rows(tmp_path):
    rows = public_data.helpsteer2_rows(("one?", [("good", 4), ("bad", 1)]), ("two?", [("a", 1), ("b", 2)]))
    folder = str(public_data.helpsteer2(tmp_path / "h", rows))
    pairs = built(tmp_path, config_name="helpsteer2", path=folder)
    make_source_pairs("helpsteer2", tmp_path / "out", path=folder)
    assert pairs.features == features(Pair)
    assert list(pairs) == list(read_rows(tmp_path / "out"))


def test_a_dataset_of_ones_own(tmp_path):
    columns = PreferenceColumns("q", "good", "bad")
    file = write_jsonl(tmp_path / "mine.jsonl", [{"q": "Why?", "good": "so", "bad": "no"}])
    pairs = built(tmp_path, path=file, columns=columns)
    make_preference_pairs(file, tmp_path / "out", columns)
    assert list(pairs) == list(read_rows(tmp_path / "out"))


def test_the_path_must_be_named(tmp_path):
    with pytest.raises(ValueError, match="say where the preferences are"):
        Preferences(cache_dir=str(tmp_path / "cache"), split="train")
