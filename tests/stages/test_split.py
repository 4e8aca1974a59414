"""The stage that holds out prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from openprm.data.holdout import shared_questions
from openprm.errors import InputError
from openprm.runs.folder import read_manifest, read_rows
from openprm.schema import Candidate
from openprm.stages.split import Split
from tests.folders import candidate, dataset


def asked(prompt: str, text: str, n: int = 3):
    return [{**candidate(prompt, i, f"a{i}", 1.0), "question": [{"role": "user", "content": text}]} for i in range(n)]


def test_prompts_are_held_out_whole_and_near_ones_together(tmp_path: Path):
    rows = [row for i in range(40) for row in asked(f"p{i}", f"What is {i // 2}{'?' * (i % 2)}")]
    folder = dataset(tmp_path / "candidates", Candidate, rows)

    def taken(subset: str, out: str, **options):
        Split(candidates=str(folder), subset=subset, holdout=0.2, **options).run(tmp_path / out)
        return list(read_rows(tmp_path / out))

    train, test = taken("train", "train"), taken("test", "test")
    ids = {row["prompt_id"] for row in test}
    assert len(ids) == 8  # 4 of 20 questions, each asked by two prompts
    assert not shared_questions(train, test)
    assert [row for row in rows if row["prompt_id"] in ids] == test
    assert [row for row in rows if row["prompt_id"] not in ids] == train
    assert read_manifest(tmp_path / "test")["counts"] == {"prompts": 8, "of_prompts": 40}

    fewer = {row["prompt_id"] for part in ("train", "test") for row in taken(part, f"few-{part}", limit=5)}
    assert len(fewer) == 10
    assert taken("test", "other", seed=1) != test


def test_other_subsets_and_limits_are_refused():
    with pytest.raises(InputError, match="no subset 'tset'; did you mean 'test'"):
        Split(candidates="x", subset="tset")
    with pytest.raises(InputError, match="the limit is 1; take at least two"):
        Split(candidates="x", subset="test", limit=1)
