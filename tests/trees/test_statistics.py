"""Counts add up, however the trees are dealt out to processes."""

from __future__ import annotations

import json
from statistics import pstdev

import pytest

from openprm.schema import Message, Tree
from openprm.trees.pairs import preference_pair, tree_pairs
from openprm.trees.statistics import PAPER_PAIRS_PER_PROMPT, PairStatistics, TreeStatistics
from openprm.trees.tree import MergeParameters, build_tree
from tests.trees.test_tree import candidate

QUESTION = [Message(role="user", content="q")]


def tree(*responses: tuple[str, float], threshold: float = 0.88) -> Tree:
    candidates = [candidate(text, reward, index) for index, (text, reward) in enumerate(responses)]
    return build_tree(candidates, "golden", MergeParameters(threshold=threshold))


TREES = [
    tree(("Add 2.\n4", 1.0), ("Add 3.\n5", 0.0), ("Add 2.\n6", 0.5), threshold=0.8),
    tree(("alone", -2.0)),
    tree(("a", 0.25), ("b", 0.25)),
]


def counted(trees: list[Tree]) -> TreeStatistics:
    statistics = TreeStatistics()
    for each in trees:
        statistics.add(each)
    return statistics


def test_trees():
    assert counted(TREES).summary() == {
        "prompts": 3,
        "responses": 6,
        "steps": 9,
        "nodes": 7,
        "one_step_share": 0.5,
        "merged_share": round(2 / 9, 4),
        "merged_share_by_depth": {"1": round(2 / 6, 4), "2": 0.0},
        "merged_with_changed_numbers": 1,
        "steps_longer_than_the_embedder_reads": 0,
        "end_nodes_of_several_responses": 0,
        "end_nodes_with_right_and_wrong": 0,
        "forks": 2,
        "mean_fork_gap": 0.5,
        "mean_reward": 0.0,
        "lowest_reward": -2.0,
        "highest_reward": 1.0,
        "prompts_with_one_response": 1,
        "prompts_with_equal_rewards": 1,
    }


def test_end_nodes_that_mix_right_and_wrong_are_counted():
    mixed = tree(("The answer is (E).", 1.0), ("The answer is (H).", 0.0), ("The answer is (E).\nThus", 0.0))
    alike = tree(("Go.\nIt is 7", 0.5), ("Go.\nIt is 7", 1.0), ("Go.\nIt is 7 ", 1.0))
    summary = counted([mixed, alike]).summary()
    assert summary["end_nodes_of_several_responses"] == 2
    assert summary["end_nodes_with_right_and_wrong"] == 1


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_counts_of_two_processes_add_up(cut):
    total = TreeStatistics()
    for part in (TREES[:cut], TREES[cut:]):
        total.merge(json.loads(json.dumps(counted(part).state())))
    assert total == counted(TREES)


def test_pairs():
    statistics = PairStatistics()
    for each in TREES:
        statistics.add_tree(each)
    assert statistics.widest_gap == 1.0
    statistics_sd = pstdev([1.0, 0.0, 0.5, -2.0, 0.25, 0.25])
    statistics.add(preference_pair(QUESTION, "a", "b", "s", "p", gap=0.5))
    statistics.add(preference_pair(QUESTION, "a", "c", "s", "p", gap=1.0))
    assert statistics.summary() == {
        "pairs": 2,
        "levels": {"outcome": 2},
        "sources": {"s": 2},
        "prompts_with_pairs": 1,
        "duplicates": 0,
        "contradictions": 0,
        "mean_gap": 0.75,
        "prompts": 3,
        "reward_sd_by_source": {"test": round(statistics_sd, 4)},
        "separators": [".\n"],
        "sibling_pairs_per_prompt": 0.0,
        "sibling_pairs_by_depth": {},
        "single_response_share_by_level": {},
        "2_responses_behind_both_sides_share_by_level": {},
        "4_responses_behind_both_sides_share_by_level": {},
    }


def test_pairs_by_depth_and_support():
    fork = tree(("Go.\nOn.\n1", 1.0), ("Go.\nOn.\n2", 0.0), ("Go.\nStop", 0.0), ("Leave", -1.0), ("Leave\n", -1.0))
    statistics = PairStatistics()
    statistics.add_tree(fork)
    for pair in tree_pairs(fork, 0.1):
        statistics.add(pair)
    summary = statistics.summary()
    assert summary["levels"] == {"mixed": 2, "outcome": 1}
    assert summary["sibling_pairs_per_prompt"] == 3
    assert summary["sibling_pairs_by_depth"] == {"1": 1, "2": 1, "3": 1}
    assert summary["single_response_share_by_level"] == {"mixed": 0.0, "outcome": 1.0}


def test_the_papers_numbers_follow_from_its_counts():
    kept = {"UltraFeedback": 70_068 / 59_876, "ScienceQA": 12_958 / 6_508, "MATH": 19_913 / 7_500}
    assert {source: round(value, 2) for source, value in kept.items()} == PAPER_PAIRS_PER_PROMPT
