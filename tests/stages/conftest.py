"""A file of answers, trees of it, and candidates with two rewards."""

from __future__ import annotations

from pathlib import Path

import pytest

from openprm.data.candidates import CandidateSource
from openprm.models.reward_checkpoint import load_reward_model, save_reward_model
from openprm.schema import Candidate, plain_reward
from openprm.stages.trees import Trees

from ..answers import answers, write_jsonl
from ..folders import dataset
from .pair_benchmarks import PAIRS


@pytest.fixture(scope="session")
def prm(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """A reward checkpoint with random weights."""
    folder = tmp_path_factory.mktemp("prm") / "prm"
    save_reward_model(*load_reward_model(base), folder)
    return folder


@pytest.fixture
def sums(tmp_path: Path) -> str:
    """A benchmark of one's own."""
    columns = "{question: prompt, chosen: chosen, rejected: rejected, subset: subset}"
    (tmp_path / "sums.yaml").write_text(f"title: Sums\nkind: pairs\ncolumns: {columns}\nlicense: MIT\n")
    return str(tmp_path / "sums.yaml")


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    """Its rows."""
    return write_jsonl(tmp_path / "pairs.jsonl", PAIRS)


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
