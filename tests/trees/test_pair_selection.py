"""Duplicates and contradictions, and outcome pairs that are spread over prompts."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from openprm.trees.pair_selection import Duplicates, OutcomePairs
from openprm.trees.pairs import OUTCOME, PROCESS, PairParameters, preference_pair, tree_pairs
from tests.trees.test_pairs import SAME, tree_of


def kept(pairs):
    """The pairs that stay, and how many duplicates and contradictions were left out."""
    found = Duplicates()
    for pair in pairs:
        found.add(pair)
    return [pair for pair in pairs if found.keep(pair)], found.duplicates, found.contradictions


def preference(chosen, rejected, question="Q"):
    return preference_pair([{"role": "user", "content": question}], chosen, rejected, "prefs", "p")


def test_duplicates_and_contradictions_are_removed_and_counted():
    pairs = [
        preference("a", "b"),
        preference("a", "b"),
        preference("c", "d"),
        preference("d", "c"),
        preference("a", "b", "another question"),
    ]
    assert kept(pairs) == ([pairs[0], pairs[4]], 1, 2)


def test_the_same_text_split_otherwise_is_a_duplicate():
    whole = preference("ab", "ac")
    split = {**whole, "context": "a", "chosen": "b", "rejected": "c", "level": PROCESS}
    pairs, duplicates, contradictions = kept([whole, split])
    assert kept([split, whole]) == (pairs, duplicates, contradictions), "the order decides nothing"
    assert (len(pairs), duplicates, contradictions) == (1, 1, 0)


def test_pairs_that_read_the_same_are_duplicates_and_contradictions():
    pairs, duplicates, contradictions = kept([preference(SAME[0], "b", SAME[1]), preference(SAME[1], "b", SAME[0])])
    assert (len(pairs), duplicates, contradictions) == (1, 1, 0)
    assert kept([preference(SAME[0], "b"), preference("b", SAME[1])]) == ([], 0, 2)


def outcome_pairs(k, rewards):
    tree = tree_of(rewards)
    pairs = tree_pairs(tree, 0.2, PairParameters(outcome=str(k)))
    return [(pair["chosen"], pair["rejected"]) for pair in pairs if pair["level"] == OUTCOME]


def test_the_widest_outcome_pairs_of_a_tree():
    rewards = {"a": 1.0, "b": 0.5, "c": 0.0, "a.\nb": 0.0}
    assert outcome_pairs(99, rewards)[:2] in ([("a", "c"), ("a", "a.\nb")], [("a", "a.\nb"), ("a", "c")])
    assert sorted(outcome_pairs(99, rewards)[2:]) == [("a", "b"), ("b", "a.\nb"), ("b", "c")]
    assert outcome_pairs(1, {"a": 1.0, "b": 0.5, "c": 0.0}) == [("a", "c")], "siblings count, and once"


def test_outcome_pairs_are_spread_over_prompts():
    gaps = {"p": [3.0, 2.0, 1.0], "q": [1.0], "r": [9.0, 8.0, 7.0, 6.0]}
    pairs = [preference_pair([], "c", "r", "s", prompt, gap) for prompt, all_ in gaps.items() for gap in all_]
    for n, expected in [(3, "pqr"), (5, "pqrpr"), (7, "pqrprpr"), (99, "pqrprprr")]:
        chosen = [pairs[number] for number in sorted(OutcomePairs(n).chosen(enumerate(pairs)))]
        assert Counter(pair["prompt_id"] for pair in chosen) == Counter(expected)
        assert all(min(gaps[p][: expected.count(p)]) <= pair["gap"] for pair in chosen for p in [pair["prompt_id"]])
    assert {pairs[next(iter(OutcomePairs(1, seed).chosen(enumerate(pairs))))]["prompt_id"] for seed in range(20)} == {
        *"pqr"
    }


@pytest.mark.parametrize("n", [1, 2, 7, 30, 1000])
def test_a_tree_gives_no_more_outcome_pairs_than_are_needed(n):
    """Each prompt has some pairs; those within the limit hold the n that are spread over all."""
    draw = random.Random(n)
    has = [draw.choice([0, 1, 3, 40]) for _ in range(60)]
    limit, given = OutcomePairs(n), []
    for count in has:
        given.append(min(count, limit.most))
        limit.add([preference_pair([], "c", "r", "s", "p")] * given[-1])
    assert sum(min(count, limit.most) for count in has) >= min(n, sum(has))
    assert sum(min(count, limit.most - 2) for count in has) < n or limit.most < 3
    assert all(min(count, limit.most) <= taken for count, taken in zip(has, given, strict=True))
