"""What is made of step labels."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.errors import Failure
from openprm.labels.conversions import (
    consensus,
    cut,
    harden,
    matched,
    pair_at_error,
    pairs_by_depth,
    to_points,
    to_trl,
)
from openprm.labels.step_labels import CORRECT, NO_ERROR, VALUE

from .rows import labelled

VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(VALUES, st.floats(0, 0.99))
def test_hard_labels_say_where_the_first_error_is(values: list[float], threshold: float):
    row = harden(labelled(values, kind=VALUE), threshold)
    assert row["kind"] == CORRECT
    assert row["labels"] == [float(value > threshold) for value in values]
    zeros = [index for index, label in enumerate(row["labels"]) if not label]
    assert row["first_error"] == (zeros[0] if zeros else NO_ERROR)
    assert harden(row) == row


@given(VALUES)
def test_after_a_cut_the_error_is_the_last_label(values: list[float]):
    row = cut(harden(labelled(values, kind=VALUE)))
    known = [label for label in row["labels"] if label is not None]
    assert row["labels"] == known + [None] * (len(values) - len(known))
    assert known.count(0.0) == (row["first_error"] != NO_ERROR)
    assert len(to_points(row)) == len(known)


def test_an_unknown_step_before_leaves_the_first_error_unknown():
    assert harden(labelled([1.0, None, 0.0], kind=VALUE))["first_error"] is None
    assert harden(labelled([0.0, None, 0.0], kind=VALUE))["first_error"] == 0
    unknown = labelled([1.0, None, 0.0])
    assert cut(unknown) == unknown


def test_points_are_the_beginnings_with_a_label():
    one, two = to_points(labelled([1.0, None, 0.25], kind=VALUE))
    assert (one["context"], one["step"], one["target"]) == ("", "0 step 0.\n", 1.0)
    assert (two["context"], two["step"], two["target"]) == ("0 step 0.\n0 step 1.\n", "0 step 2.\n", 0.25)


@given(st.lists(VALUES, min_size=1, max_size=5), st.floats(0.01, 1))
def test_pairs_stand_at_one_depth_and_differ_enough(several: list[list[float]], gap: float):
    rows = [labelled(values, sample, kind=VALUE) for sample, values in enumerate(several)]
    label = {"".join(row["steps"][: i + 1]): value for row in rows for i, value in enumerate(row["labels"])}
    every = pairs_by_depth(rows, gap, "all")
    widest = pairs_by_depth(rows, gap, "max")
    for pair in every:
        before = pair["context"] if pair["rejected_context"] is None else pair["rejected_context"]
        chosen, rejected = pair["context"] + pair["chosen"], before + pair["rejected"]
        assert chosen.count(".\n") == rejected.count(".\n") == pair["depth"]
        assert pair["gap"] == label[chosen] - label[rejected] >= gap
    assert len({pair["depth"] for pair in widest}) == len(widest) == len({pair["depth"] for pair in every})
    for pair in widest:
        assert pair["gap"] == max(one["gap"] for one in every if one["depth"] == pair["depth"])


def test_the_level_says_what_is_whole():
    rows = [labelled([1.0, 1.0], 0), labelled([0.0, 0.0, 0.0], 1), labelled([0.5, 0.5], 2)]
    found = {(pair["depth"], pair["level"]) for pair in pairs_by_depth(rows, 0.4, "all")}
    assert found == {(1, "process"), (2, "mixed"), (2, "outcome")}
    assert not pairs_by_depth([rows[0], rows[0]], 0.1), "the same beginning is no pair"


def test_a_correction_against_the_first_error():
    row = labelled([1.0, 0.0, None], first_error=1, correction="better.\n")
    pair = pair_at_error(row)
    assert pair is not None
    assert (pair["context"], pair["chosen"], pair["rejected"]) == ("0 step 0.\n", "better.\n", "0 step 1.\n")
    assert (pair["level"], pair["depth"], pair["gap"]) == ("process", 2, 1.0)
    last = pair_at_error(labelled([0.0], first_error=0, correction="better.\n"))
    assert last is not None
    assert last["level"] == "mixed"
    same = labelled([0.0, None], first_error=0, correction="0 step 0. ")
    for row in (labelled([1.0], first_error=NO_ERROR), labelled([0.0], first_error=0), same):
        assert pair_at_error(row) is None


def test_sources_agree_on_the_first_error():
    one, same = (labelled([1.0, 0.0], first_error=1, by=by) for by in ("rollouts", "judge"))
    agreed = consensus(one, same)
    assert agreed is not None
    assert (agreed["labels"], agreed["by"]) == ([1.0, 0.0], "rollouts and judge")
    assert consensus(one, labelled([1.0, 1.0], first_error=NO_ERROR)) is None
    with pytest.raises(Failure, match="different steps"):
        consensus(one, labelled([1.0, 0.0], 1, first_error=1))
    with pytest.raises(Failure, match="does not know"):
        consensus(one, labelled([1.0, 0.0]))
    other = labelled([1.0, 0.0], 3)
    assert [same for _, same in matched([one, other], [other])] == [None, other]


def test_trl_takes_hard_labels_without_gaps():
    row: Any = to_trl(labelled([1.0, 0.0, None], first_error=1))
    assert row == {"prompt": "Question p?", "completions": ["0 step 0.\n", "0 step 1.\n"], "labels": [True, False]}
    with pytest.raises(Failure, match=r"a label is 0\.9"):
        to_trl(labelled([1.0, 0.9], kind=VALUE))
    with pytest.raises(Failure, match="step 1 has no label"):
        to_trl(labelled([1.0, None, 1.0]))


@pytest.mark.parametrize(
    ("labels", "columns", "problem"),
    [
        ([1.5], {}, r"label of step 0 is 1\.5"),
        ([float("nan")], {}, "label of step 0 is nan"),
        ([None], {}, "no step has a label"),
        ([], {}, "no steps"),
        ([1.0], {"steps": ["a", "b"]}, "2 steps, 1 labels"),
        ([1.0], {"first_error": 1}, "said to be 1, but there are 1"),
        ([1.0], {"first_error": NO_ERROR, "kind": VALUE}, "values have no first error"),
    ],
)
def test_labels_that_cannot_be(labels: list[Any], columns: dict[str, Any], problem: str):
    with pytest.raises(Failure, match=problem):
        labelled(labels, **columns)
