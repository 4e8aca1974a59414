"""A file of answers, trees of it, and candidates with two rewards."""

from __future__ import annotations

from pathlib import Path

import pytest

from openprm.data.candidates import CandidateSource
from openprm.schema import Candidate, plain_reward
from openprm.stages.trees import Trees

from ..answers import answers, write_jsonl
from ..folders import dataset


@pytest.fixture
def file(tmp_path: Path) -> str:
    return write_jsonl(tmp_path / "a.jsonl", answers(12))


@pytest.fixture
def trees(tmp_path: Path, file: str) -> Path:
    Trees(candidates=file).run(tmp_path / "trees")
    return tmp_path / "trees"


@pytest.fixture
def rewarded(tmp_path: Path, file: str) -> Path:
    """A folder of candidates with two rewards, the second the first's negative."""

    rows = []
    for candidate in CandidateSource(file).read():
        value = candidate["rewards"][0]["value"]  # type: ignore[index]
        rows.append({**candidate, "rewards": [plain_reward("a", value), plain_reward("b", -value)]})
    return dataset(tmp_path / "candidates", Candidate, rows)
