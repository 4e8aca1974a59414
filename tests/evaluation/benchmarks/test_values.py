"""The chance of a right end from each step on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .steps import benchmark, counts, given, items_of, numbers, read

OF = benchmark("step-values")


def row(values: list[float | None], question: str = "q") -> dict:
    return {"question": question, "steps": [f"step {i}" for i in range(len(values))], "values": values}


def test_by_hand():
    # of the pairs 1 > 0.5, 1 > 0.25, 0.5 > 0.25 two are won and one is a tie; equal values are not compared
    items = items_of(OF, [row([1, 0.5, None, 0.25]), row([0.5, 0.5], "another")])
    log3 = float(np.log(3))
    measured = given(items, [[log3, 0, 9, 0], [0, 0]], "log-odds")
    assert numbers(OF, measured) == {"concordance": pytest.approx(2.5 / 3), "error": pytest.approx((0.25 + 0.25) / 5)}
    assert counts(OF, measured) == {"concordance": 3, "error": 5}


def test_other_units_have_no_error_and_what_is_missing_is_lost():
    items = items_of(OF, [row([1, 0])])
    assert numbers(OF, given(items, [[2, 1]])) == {"concordance": 1}
    assert numbers(OF, given(items, [[]])) == {"concordance": 0}


def test_rows_that_cannot_be_measured(tmp_path: Path):
    rows = [row([1, 0]), {**row([1, 0], "b"), "values": [1]}, row([2.0], "c"), row([0.5, 0.25], "d")]
    items, wrong = read(OF, tmp_path, rows)
    assert len(items) == 2
    assert "there are 2 steps, but 1 'values'" in wrong[0]
    assert "make it a list of numbers from 0 to 1" in wrong[1]
