"""The builder of pairs: the stage's rows, made again when the trees are."""

from __future__ import annotations

from pathlib import Path

import pytest
from openprm.builders.pairs import Pairs

from openprm.data.candidate_source import CandidateSource
from openprm.runs.folder import read_rows
from openprm.schema import Pair, features
from openprm.stages.datasets import make_pairs, make_trees
from openprm.trees.pairs import MinGap, PairParameters
from tests.answers import answers, write_jsonl


@pytest.fixture
def trees(tmp_path: Path) -> str:
    file = write_jsonl(tmp_path / "a.jsonl", answers(6))
    make_trees(CandidateSource(file), tmp_path / "trees")
    return str(tmp_path / "trees")


def built(tmp_path: Path, **options) -> Pairs:
    builder = Pairs(cache_dir=str(tmp_path / "cache"), **options)
    builder.download_and_prepare()
    return builder


def test_the_stages_rows(tmp_path, trees):
    options = {"min_gap": MinGap(0.5, "sd"), "parameters": PairParameters(select="all")}
    rows = built(tmp_path, trees=trees, **options).as_dataset(split="train")
    make_pairs(trees, tmp_path / "out", *options.values())
    assert rows.features == features(Pair)
    assert list(rows) == list(read_rows(tmp_path / "out"))


def test_new_trees_make_new_pairs(tmp_path, trees):
    first = built(tmp_path, trees=trees)
    assert built(tmp_path, trees=trees).cache_dir == first.cache_dir
    make_trees(CandidateSource(str(tmp_path / "a.jsonl"), reward_name="other"), trees)
    assert built(tmp_path, trees=trees).cache_dir != first.cache_dir


def test_trees_must_be_named(tmp_path):
    with pytest.raises(ValueError, match="say where the trees are"):
        Pairs(cache_dir=str(tmp_path / "cache"))
