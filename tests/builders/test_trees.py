"""The builder of trees: parameters, several processes, and what a failed build keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openprm.builders.trees import Trees

from openprm.data.candidate_source import CandidateSource
from openprm.runs.folder import read_rows
from openprm.stages import datasets as data_stages
from openprm.schema import Tree, features
from openprm.stages.datasets import make_trees
from openprm.trees.tree import MergeParameters
from tests.answers import answers, write_jsonl


@pytest.fixture
def file(tmp_path: Path, monkeypatch) -> str:
    monkeypatch.setattr(data_stages, "PROMPTS_PER_SHARD", 3)
    return write_jsonl(tmp_path / "a.jsonl", answers(9))


def builder(file: str, tmp_path: Path, **options: Any) -> Trees:
    return Trees(source=CandidateSource(file), cache_dir=str(tmp_path / "cache"), **options)


@pytest.mark.parametrize("num_proc", [None, 2])
def test_the_stages_rows(tmp_path, file, num_proc):
    trees = builder(file, tmp_path, parameters=MergeParameters("line", threshold=0.7))
    trees.download_and_prepare(num_proc=num_proc)
    rows = trees.as_dataset(split="train")
    make_trees(CandidateSource(file), tmp_path / "out", MergeParameters("line", threshold=0.7))
    assert rows.features == features(Tree)
    assert list(rows) == list(read_rows(tmp_path / "out"))


def test_other_parameters_lie_elsewhere(tmp_path, file):
    options: list[dict[str, Any]] = [
        {},
        {"parameters": MergeParameters("line")},
        {"parameters": MergeParameters("line", threshold=0.5)},
        {"separators": {"a": "line"}},
    ]
    places = [builder(file, tmp_path, **option).cache_dir for option in options]
    assert len(set(places)) == 4
    assert places == [builder(file, tmp_path, **option).cache_dir for option in options]


def test_a_failed_build_keeps_the_shards(tmp_path, file, monkeypatch):
    grow = data_stages._grow_shard
    grown: list[int | None] = []

    def note(index: int, **arguments: Any) -> int:
        if len(grown) == 2:
            grown.append(None)
            raise RuntimeError("no space")
        grown.append(index)
        return grow(index, **arguments)

    monkeypatch.setattr(data_stages, "_grow_shard", note)
    with pytest.raises(RuntimeError, match="no space"):
        builder(file, tmp_path).download_and_prepare()
    trees = builder(file, tmp_path)
    trees.download_and_prepare()
    assert grown == [0, 1, None, 2]
    assert len(trees.as_dataset(split="train")) == 9
