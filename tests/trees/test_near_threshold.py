"""Examples of steps near the threshold, and how they are shortened."""

from __future__ import annotations

import random

import pytest

from openprm.trees.near_threshold import excerpts, near_threshold
from openprm.trees.tree import MergeParameters, build_tree
from tests.trees.test_tree import candidate

PLAIN = MergeParameters()
STEPS = ["Add 2 and 3 first.", "Add 2 and 3 at first.", "We add 2 and 3 at first.", "Guess.", "Guess."]


def tree(steps, prompt_id="p", **parameters):
    rows = [candidate(f"{step}\nSo", index % 2, index, prompt_id=prompt_id) for index, step in enumerate(steps)]
    return build_tree(rows, "golden", MergeParameters(**parameters))


def test_the_nearest_pairs_of_each_side():
    trees = [tree(STEPS, threshold=0.85), tree(STEPS, "q", threshold=0.99), tree(["x", "x"], "r")]
    found = near_threshold(trees, PLAIN)
    ((merged, *texts),) = found["merged"]
    assert merged == pytest.approx(1 - 3 / 21)
    assert set(texts) == set(STEPS[:2])
    first, second = found["apart"]
    assert (first[0], {*first[1:]}) == (pytest.approx(1 - 3 / 21), set(STEPS[:2]))  # below 0.99
    assert 0.65 <= second[0] <= 1 - 4 / 24  # below 0.85, by which of the two opened the node


def test_equal_steps_and_what_stays_apart_for_its_numbers_are_no_examples():
    steps = ["Add 2 and 3 first.", "Add 2 and 4 first.", " Add 2 and 3 \u200bfirst."]
    apart = MergeParameters(distinct_numbers=True)
    assert near_threshold([tree(steps, distinct_numbers=True)], apart) == {"merged": [], "apart": []}


def test_neither_the_order_of_rows_nor_that_of_trees_decides():
    found = []
    for seed in range(3):
        names = [f"p{index}" for index in range(5)]
        random.Random(seed).shuffle(names)
        rows = random.Random(seed).sample([*STEPS, "We add 2 and 4 at first."], 6)
        found.append(near_threshold([tree(rows, name, threshold=0.85) for name in names], PLAIN, 2))
        assert len(found[0]["apart"]) == 2
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("width", [20, 40, 80, 500])
def test_excerpts_show_the_difference_within_the_width(width):
    before, after = "word " * 30, " more" * 30
    one, other = excerpts([f"{before}left{after}", f"{before}right\n{after}"], width)
    assert max(len(one), len(other)) <= width
    assert one.count("\n") == 0
    assert "left" in one
    assert "right" in other
    assert excerpts(["short", "and\tnarrow"], width) == ["short", "and narrow"]
    assert len(excerpts(["x" * 600, "x" * 601], width)[1]) <= width
