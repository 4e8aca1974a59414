"""The builder of candidates: the stage's rows, served from the cache until the input changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from openprm.builders.candidates import Candidates

from openprm.data.candidate_source import CandidateSource
from openprm.errors import InputError
from openprm.runs.folder import read_rows
from openprm.schema import Candidate, features
from openprm.stages.datasets import make_candidates
from tests.answers import answers, write_jsonl


@pytest.fixture
def file(tmp_path: Path) -> str:
    return write_jsonl(tmp_path / "a.jsonl", answers(6))


def built(file: str, tmp_path: Path, **options) -> Candidates:
    builder = Candidates(source=CandidateSource(file), cache_dir=str(tmp_path / "cache"), **options)
    builder.download_and_prepare()
    return builder


def test_the_stages_rows(tmp_path, file):
    rows = built(file, tmp_path).as_dataset(split="train")
    make_candidates(CandidateSource(file), tmp_path / "out")
    assert rows.features == features(Candidate)
    assert list(rows) == list(read_rows(tmp_path / "out"))


def test_the_cache_follows_the_input(tmp_path, file, monkeypatch):
    first = built(file, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("openprm.builders.candidates.make_candidates", None)  # not called
        assert built(file, tmp_path).cache_dir == first.cache_dir
    write_jsonl(Path(file), answers(7))
    again = built(file, tmp_path)
    assert again.cache_dir != first.cache_dir
    assert len(again.as_dataset(split="train")) == 28


def test_what_is_wrong_is_said(tmp_path, file):
    with pytest.raises(ValueError, match="say where the candidates are"):
        Candidates(cache_dir=str(tmp_path / "cache"))
    with pytest.raises(InputError, match="there is no such file or folder"):
        built(str(tmp_path / "b.jsonl"), tmp_path)
    write_jsonl(Path(file), [{"question": "q", "response": "r", "reward": "bad"}, *answers(1)])
    with pytest.raises(InputError, match="stopped by --strict"):
        built(file, tmp_path, strict=True)
    assert len(built(file, tmp_path).as_dataset(split="train")) == 4
