"""Which beginnings are completed, and what first error follows."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from openprm.labels.rollouts import found_error, next_depths
from openprm.labels.step_labels import NO_ERROR


def searched(mode: str, values: list[float]) -> tuple[int | None, int]:
    """The first error, and how many beginnings were looked at; values of the depths 1 to n."""
    n, known, looked = len(values), {len(values): values[-1]}, 0
    while depths := next_depths(mode, n, known):
        looked += len(depths)
        known |= {depth: values[depth - 1] for depth in depths}
    return found_error(mode, n, known), looked


@given(st.integers(0, 40), st.integers(1, 40))
def test_both_find_the_same_where_values_fall(right: int, n: int):
    right = min(right, n)
    values = [0.5] * right + [0.0] * (n - right)
    expected = NO_ERROR if right == n else right
    scanned, binary = searched("scan", values), searched("binary", values)
    assert (scanned[0], binary[0]) == (expected, expected)
    assert scanned[1] == n - 1
    assert binary[1] <= (math.ceil(math.log2(n)) if right < n else 0)


@given(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=1, max_size=12))
def test_what_the_search_finds_is_a_step_from_right_to_wrong(values: list[float]):
    found, _ = searched("binary", values)
    if values[-1]:
        assert found == NO_ERROR
    else:
        assert found is not None
        assert values[found] == 0
        assert found == 0 or values[found - 1] > 0


def test_a_mended_step_misleads_the_search():
    """The first wrong step is 0, but the middle looks right again."""
    values = [0.0, 0.0, 0.5, 0.5, 0.5, 0.0]
    assert searched("scan", values)[0] == 0
    assert searched("binary", values)[0] == 5


def test_what_cannot_be_known_is_no_error():
    assert found_error("scan", 3, {1: 1.0, 2: None, 3: 0.0}) is None
    assert found_error("scan", 3, {1: 0.0, 2: None, 3: 0.0}) == 0
    assert found_error("binary", 3, {1: None, 3: 0.0}) is None
