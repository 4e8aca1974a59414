"""Prompts that are held out: how many, which, and that none of them is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.data.holdout import TRAINED_ON, divide, question_rank, read_trained_on, shared_questions, write_trained_on
from openprm.errors import InputError


def asked(*texts: str):
    return [{"question": [{"role": "user", "content": text}]} for text in texts]


def test_questions_are_shared_but_for_case_space_and_punctuation():
    known = asked("What is 2+3?", "How many  are 3.5 apples", "Why")
    assert shared_questions(known, asked("What is 2-3?", "How many are 35 apples?", "Who?")) == []
    near = "what is 2+3", "How many are 3.5 Apples?", "WHY?"
    assert shared_questions(known, asked(*near)) == [*near]
    for (row,), other in zip(map(asked, near), known, strict=True):
        assert question_rank(row["question"]) == question_rank(other["question"])
        assert question_rank(row["question"], seed=1) != question_rank(row["question"])


@given(st.sets(st.integers(0, 2**64 - 1), min_size=2, max_size=50), st.floats(0.01, 0.99), st.integers(2, 60))
def test_a_share_is_held_out_whatever_the_order(ranks: set[int], holdout: float, limit: int):
    train, test = divide(ranks, holdout, limit)
    kept = min(len(ranks), limit)
    assert len(train) + len(test) == kept == len(train | test)
    assert len(test) == min(max(round(holdout * kept), 1), kept - 1)
    assert divide(sorted(ranks, reverse=True), holdout, limit) == (train, test)


def test_what_cannot_be_divided():
    for share in (0, 1, -0.1, 2, float("nan")):
        with pytest.raises(InputError, match="give one between 0 and 1"):
            divide({1, 2}, share)
    with pytest.raises(InputError, match="fewer than two different questions"):
        divide({1}, 0.5)


def test_a_model_says_what_it_was_trained_on(tmp_path: Path):
    assert read_trained_on(tmp_path) == set()
    write_trained_on(tmp_path, [3, 2**64 - 1, 3])
    assert (tmp_path / TRAINED_ON).read_text() == "0000000000000003\nffffffffffffffff\n"
    assert read_trained_on(tmp_path) == {3, 2**64 - 1}
