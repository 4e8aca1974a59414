"""What keeps steps apart: names and denials, on pairs made by hand."""

from __future__ import annotations

import pytest

from openprm.trees.distinctions import denies, differ, name_reader
from openprm.trees.tree import MergeParameters, merge

MERGED = [
    ("Her ducks lay 16 eggs per day.", "Her ducks lay a total of 16 eggs daily."),
    ("Janet sells 9 eggs.", "She sells 9 eggs."),
    ("Therefore, it rises.", "So it rises."),
    ("It cannot fly.", "It isn't able to fly."),
    ("In France, Paris is the capital.", "Paris is the capital of France."),
    ("**The Total Cost:** add the total cost.", "Add the total cost."),
]
APART = [
    ("Paris is the capital.", "London is the capital."),
    ("The capital is Paris.", "The capital is London."),
    ("It can fly.", "It cannot fly."),
    ("It is red.", "It is not red."),
    ("Yes, it is.", "No, it is."),
    ("This is true.", "This is false."),
    ("You should go.", "You shouldn't go."),
    ("Ann pays Bob.", "Ann pays Carl."),
]


@pytest.mark.parametrize("linkage", ["first", "average", "complete"])
@pytest.mark.parametrize(("first", "second", "together"), [(*p, True) for p in MERGED] + [(*p, False) for p in APART])
def test_steps_of_one_meaning(first, second, together, linkage):
    same = MergeParameters(similarity=lambda texts: [[1.0]] * len(texts), distinct_names=True, linkage=linkage)
    assert len(merge([[first], [second]], [1.0, 0.0], same)) == (2 if together else 3)
    assert len(merge([[second], [first]], [1.0, 0.0], same)) == (2 if together else 3)


def test_a_step_without_a_name_joins_one_of_two():
    steps = [["The capital is large."], ["The capital is Paris."], ["The capital is London."]]
    for linkage in ("first", "average", "complete"):
        same = MergeParameters(similarity=lambda texts: [[1.0]] * len(texts), distinct_names=True, linkage=linkage)
        nodes = merge(steps, [0.0, 0.0, 0.0], same)
        assert sorted(node["n_leaves"] for node in nodes[1:]) == [1, 2]


def test_the_other_texts_say_what_a_name_is():
    names = name_reader(
        ["We know that Mark has two. Add them. However, we add.", "They say mark it. Then Mark, again."]
    )
    assert names("Mark adds. However, Add") == {"mark"}
    assert names("mark it") == frozenset()


@pytest.mark.parametrize(
    ("one", "other", "apart"), [("", "a", False), ("a", "ab", False), ("a", "b", True), ("ab", "bc", True)]
)
def test_names_differ_where_each_has_one_of_its_own(one, other, apart):
    assert differ(frozenset(one), frozenset(other)) is apart


def test_denials():
    assert all(map(denies, ["There are no eggs", "NOT so", "don’t", "nor", "That is incorrect"]))
    assert not any(map(denies, ["I know", "notable", "another", "correct"]))
