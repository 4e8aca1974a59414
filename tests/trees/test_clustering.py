"""Agglomerative merging: which steps are one node, and that nothing but the steps decides."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.trees.clustering import clusters
from openprm.trees.distinctions import differ
from openprm.trees.similarity import EditSimilarity, EmbeddingSimilarity
from openprm.trees.tree import MergeParameters, build_tree, merge
from tests.trees.test_tree import RESPONSES, candidate

EDIT = EditSimilarity()
#: In degrees; c is as alike to a and b together as the mean of the cosines of 25 and 50, 0.7745.
ANGLES = {"a": 0, "b": 25, "c": 50}
COSINE = EmbeddingSimilarity(
    lambda texts: [[np.cos(np.radians(ANGLES[t])), np.sin(np.radians(ANGLES[t]))] for t in texts]
)


@pytest.mark.parametrize(
    ("linkage", "threshold", "expected"),
    [
        ("complete", 0.65, [[0, 1], [2]]),
        ("complete", 0.64, [[0, 1, 2]]),  # the cosine of 50 is 0.643
        ("average", 0.78, [[0, 1], [2]]),
        ("average", 0.77, [[0, 1, 2]]),
        ("first", 0.65, [[0, 1], [2]]),
    ],
)
def test_by_hand(linkage, threshold, expected):
    assert clusters(COSINE.prepare("abc"), [frozenset()] * 3, COSINE, threshold, linkage) == expected


def test_first_come_depends_on_the_order_where_clusters_do_not():
    found = {
        linkage: {
            tuple(sorted("".join(sorted(order[at] for at in group)) for group in groups))
            for order in ("abc", "bac", "cba")
            for groups in [clusters(COSINE.prepare(order), [frozenset()] * 3, COSINE, 0.77, linkage)]
        }
        for linkage in ("first", "average")
    }
    assert found == {"first": {("ab", "c"), ("abc",), ("a", "bc")}, "average": {("abc",)}}


NAMED = st.lists(
    st.tuples(st.text(alphabet="ab1", min_size=1, max_size=5), st.frozensets(st.sampled_from("xyz"))),
    min_size=2,
    max_size=8,
)


@given(steps=NAMED, threshold=st.floats(0.1, 1), linkage=st.sampled_from(["first", "average", "complete"]))
def test_invariants_of_groups(steps, threshold, linkage):
    texts, names = zip(*steps, strict=True)
    groups = clusters(texts, names, EDIT, threshold, linkage)
    assert sorted(at for group in groups for at in group) == list(range(len(steps)))
    for group in groups:
        assert group == sorted(group)
        assert not any(differ(names[i], names[j]) for i in group for j in group)
        alike = EDIT.matrix([texts[at] for at in group])
        if linkage == "complete":
            assert alike.min() >= threshold - 1e-9
        if linkage == "first":
            assert alike[0].min() >= threshold


@given(responses=RESPONSES, linkage=st.sampled_from(["average", "complete"]), names=st.booleans())
def test_every_step_has_one_place(responses, linkage, names):
    parameters = MergeParameters(threshold=0.5, linkage=linkage, distinct_names=names, distinct_numbers=names)
    nodes = merge(responses, [0.0] * len(responses), parameters)
    placed = [(member["response"], member["step"]) for node in nodes for member in node["members"]]
    assert sorted(placed) == [(i, j) for i, steps in enumerate(responses) for j in range(len(steps))]
    for node in nodes[1:]:
        inside = {member["response"] for member in nodes[node["parent"]]["members"]} or set(range(len(responses)))
        assert {member["response"] for member in node["members"]} <= inside
        assert node["text"] == responses[node["members"][0]["response"]][node["depth"] - 1]


@pytest.mark.parametrize("linkage", ["average", "complete"])
def test_the_order_of_rows_decides_nothing(linkage):
    rng = random.Random(0)
    rows = [
        candidate(".\n".join(rng.choices(["add 2", "add 3", "add two", "sub 2"], k=3)), i % 2, i) for i in range(12)
    ]
    parameters = MergeParameters(threshold=0.6, linkage=linkage, distinct_names=True)
    first = build_tree(rows, "golden", parameters)
    for _ in range(5):
        assert build_tree(rng.sample(rows, len(rows)), "golden", parameters) == first


def test_only_what_may_merge_is_embedded():
    responses = [["a 1", "x"], ["b 1", "x"], ["c 2", "y 3"], ["c 2", "z"]]
    asked = []

    def embed(texts):
        asked.extend(texts)
        return [[1.0]] * len(texts)

    merge(responses, [0.0] * 4, MergeParameters(similarity=embed, distinct_numbers=True))
    assert asked == ["a 1", "b 1"]
