import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.runs.folder import rows_hash
from openprm.schema import LEVELS
from openprm.trees import certainty
from openprm.trees import pairs as pairs_of_trees
from openprm.trees.pairs import (
    MIXED,
    OUTCOME,
    PROCESS,
    MinGap,
    PairParameters,
    sibling_pairs,
    texts,
    to_trl,
    tree_pairs,
)
from openprm.trees.tree import MergeParameters, build_tree, response_text
from tests.trees.test_tree import candidate


def tree_of(rewards, **parameters):
    """A tree from {response: reward}."""
    rows = [candidate(text, reward, i) for i, (text, reward) in enumerate(rewards.items())]
    return build_tree(rows, "golden", MergeParameters(**parameters))


FORK = {"Start.\nGood.\nEnd": 1.0, "Start.\nGood.\nStop": 1.0, "Start.\nBad.\nEnd": 0.0, "Alone.\nBad": 0.0}


def test_the_most_divergent_siblings_of_each_parent():
    pairs = tree_pairs(tree_of(FORK), 0.2)
    assert [(pair["depth"], texts(pair)) for pair in pairs] == [
        (1, ("Start.\n", "Alone.\n")),
        (2, ("Start.\nGood.\n", "Start.\nBad.\n")),
    ]
    assert [pair["gap"] for pair in pairs] == pytest.approx([2 / 3, 1.0])
    assert pairs[1]["context"] == "Start.\n"
    assert pairs[1]["support"] == {"chosen": 2, "rejected": 1}
    assert {pair["level"] for pair in pairs} == {PROCESS}


@pytest.mark.parametrize("select", ["max", "all", "1"])
def test_sibling_pairs_are_the_nodes_behind_the_process_pairs(select):
    tree, parameters = tree_of(FORK), PairParameters(select=select)
    couples = sibling_pairs(tree, 0.2, parameters)
    assert couples
    for (better, worse), pair in zip(couples, tree_pairs(tree, 0.2, parameters), strict=True):
        assert (better["text"], worse["text"]) == (pair["chosen"], pair["rejected"])
        assert better["parent"] == worse["parent"]
        assert better["value"] - worse["value"] == pair["gap"]


def test_merged_prefixes_stay_distinct_unless_shared():
    rewards = {"We begin the sum.\nRight": 1.0, "We begin a sum.\nWrong": 0.0}
    (pair,) = tree_pairs(tree_of(rewards, threshold=0.7), 0.2)
    assert pair["rejected_context"] == "We begin a sum.\n"
    assert texts(pair) == tuple(rewards)
    (shared,) = tree_pairs(tree_of(rewards, threshold=0.7), 0.2, PairParameters(shared_prefix=True))
    assert shared["rejected_context"] is None
    assert texts(shared) == ("We begin the sum.\nRight", "We begin the sum.\nWrong")


def test_two_complete_responses_without_a_shared_step_are_an_outcome_pair():
    (pair,) = tree_pairs(tree_of({"Yes": 1.0, "No": 0.0}), 0.2)
    assert pair["level"] == OUTCOME


@pytest.mark.parametrize(
    ("right", "wrong", "level"),
    [
        ("Yes", "No", OUTCOME),
        ("Yes", "No.\nWell", MIXED),
        ("Yes.\nWell", "No", MIXED),
        ("Yes.\nWell", "No.\nWell", PROCESS),
        ("Go.\nYes", "Go.\nNo", OUTCOME),
        ("Go.\nYes.\nWell", "Go.\nNo", MIXED),
        ("Go.\nYes.\nWell", "Go.\nNo.\nWell", PROCESS),
    ],
)
def test_the_level_says_what_the_sides_are(right, wrong, level):
    (pair,) = tree_pairs(tree_of({right: 1.0, wrong: 0.0}), 0.2)
    assert pair["level"] == level
    assert [text in (right, wrong) for text in texts(pair)].count(True) == LEVELS.index(level)


def test_outcome_pairs_of_a_tree():
    tree = tree_of(FORK)
    (best,) = tree_pairs(tree, 0.2, PairParameters(process=False, outcome="best"))
    assert {texts(best)} <= {
        (good, bad) for good, right in FORK.items() for bad, wrong in FORK.items() if (right, wrong) == (1.0, 0.0)
    }
    assert (best["level"], best["gap"], best["depth"]) == (OUTCOME, 1.0, 0)
    every = tree_pairs(tree, 0.2, PairParameters(process=False, outcome="all"))
    assert len(every) == 4
    assert len(tree_pairs(tree, 0.2, PairParameters(outcome="all"))) == 6


def test_a_gap_equal_to_the_least_counts_despite_rounding():
    assert 0.6 - 0.4 < 0.2
    assert len(tree_pairs(tree_of({"a": 0.6, "b": 0.4}), 0.2)) == 1


def test_equal_values_are_never_a_pair():
    assert tree_pairs(tree_of({"a": 1.0, "b": 1.0}), 0.0, PairParameters(outcome="all")) == []


#: Of siblings A (5 of 6 right), B (none of 1) and C (1 of 6), A and B are farthest apart, A and C most certainly.
UNCERTAIN = [("A", 1.0)] * 5 + [("A", 0.0)] + [("B", 0.0)] + [("C", 1.0)] + [("C", 0.0)] * 5


def uncertain_tree():
    rows = [candidate(text, reward, index) for index, (text, reward) in enumerate(UNCERTAIN)]
    return build_tree(rows, "golden", MergeParameters(threshold=1.0))


def sides(pairs):
    return [pair["chosen"] + pair["rejected"] for pair in pairs]


def test_pairs_by_certainty():
    tree = uncertain_tree()

    def pairs(**parameters):
        return tree_pairs(tree, 0.1, PairParameters(**parameters), prior=2.0)

    assert sides(pairs()) == sides(pairs(select="1")) == ["AB"]
    assert sides(pairs(select_by="certainty")) == sides(pairs(select_by="support")) == ["AC"]
    # what is known of the root: 6 of 13; A (5 + 12 / 13) / 8, B (12 / 13) / 3, C (1 + 12 / 13) / 8
    (shrunken,) = pairs(values="shrunken")
    assert (sides([shrunken]), shrunken["gap"]) == (["AC"], pytest.approx(4 / 8))
    every = pairs(select="all", weigh="certainty")
    weights = dict(zip(sides(every), [pair["weight"] for pair in every], strict=True))
    assert set(weights) == {"AB", "AC", "CB"}
    a, b, c = ((mean, mean * (1 - mean) / (n + 3)) for mean, n in ((77 / 104, 6), (12 / 39, 1), (25 / 104, 6)))
    for pair, one, other in (("AB", a, b), ("AC", a, c)):
        z = (one[0] - other[0]) / math.sqrt(one[1] + other[1])
        assert weights[pair] == pytest.approx(math.erf(z / math.sqrt(2)), abs=2e-6)
    assert weights["CB"] == 0  # shrunken, B is above C
    limit = (1 + weights["AC"]) / 2 - 1e-9
    assert sides(pairs(select="all", min_certainty=limit)) == ["AC"]
    assert {pair["weight"] for pair in pairs(select="all")} == {1.0}


def test_what_is_known_and_how_certain_it_is_are_worked_out_once(monkeypatch):
    asked = []
    monkeypatch.setattr(pairs_of_trees, "known", lambda *a: asked.append("known") or certainty.known(*a))
    monkeypatch.setattr(pairs_of_trees, "certainty", lambda *a: asked.append(a) or certainty.certainty(*a))
    parameters = PairParameters(select="2", select_by="certainty", min_certainty=0.1, weigh="certainty")
    assert len(tree_pairs(uncertain_tree(), 0.1, parameters, prior=2.0)) == 2
    assert len(asked) == len({*asked}) == 4  # of the tree, and of three couples


def test_the_deepest_pairs():
    assert [
        pair["depth"] for pair in tree_pairs(tree_of(FORK), 0.2, PairParameters(select="1", select_by="depth"))
    ] == [2]


def test_certainty_needs_a_prior():
    with pytest.raises(ValueError, match="needs a prior"):
        tree_pairs(uncertain_tree(), 0.1, PairParameters(values="shrunken"))


def test_min_support():
    rewards = {"Good.\na": 1.0, "Good.\nb": 1.0, "Bad.\na": 0.0, "Bad.\nb": 0.0, "Worst.\na": -1.0}
    (pair,) = tree_pairs(tree_of(rewards), 0.2, PairParameters(min_support=2))
    assert texts(pair) == ("Good.\n", "Bad.\n")


STEP = st.sampled_from(["Go on.\n", "Turn.\n", "Stop here.\n", "1 + 1 = 2.\n", "2 + 2 = 5.\n"])
TREES = st.dictionaries(
    st.lists(STEP, min_size=1, max_size=4).map("".join), st.integers(-3, 3).map(float), min_size=1, max_size=8
).map(tree_of)


ROWS = st.lists(
    st.tuples(st.lists(STEP, min_size=1, max_size=4).map("".join), st.integers(0, 2).map(float)),
    min_size=1,
    max_size=8,
).map(lambda pairs: [candidate(text, reward, index) for index, (text, reward) in enumerate(pairs)])


@given(tree=TREES, min_gap=st.floats(0, 3))
def test_selections_against_a_plain_definition(tree, min_gap):
    nodes = tree["nodes"]
    gaps = [
        abs(a["value"] - b["value"])
        for a, b in combinations(nodes[1:], 2)
        if a["parent"] == b["parent"] and a["value"] != b["value"] and abs(a["value"] - b["value"]) >= min_gap
    ]
    every = tree_pairs(tree, min_gap, PairParameters(select="all"))
    assert sorted(pair["gap"] for pair in every) == pytest.approx(sorted(gaps), abs=1e-9)
    two = tree_pairs(tree, min_gap, PairParameters(select="2"))
    assert [pair["gap"] for pair in two] == pytest.approx(sorted(gaps, reverse=True)[:2], abs=1e-9)
    widest = tree_pairs(tree, min_gap)
    assert len({(pair["context"], pair["depth"]) for pair in widest}) == len(widest)
    assert {texts(pair) for pair in widest} <= {texts(pair) for pair in every}
    assert max(gaps, default=None) == (max(pair["gap"] for pair in widest) if widest else None)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"select": "all", "outcome": "all"}, {"select": "2", "outcome": "best"}, {"select": "all", "outcome": "3"}],
)
@given(data=st.data(), rows=ROWS)
def test_the_order_of_rows_decides_nothing(parameters, data, rows):
    shuffled = data.draw(st.permutations(rows))
    tree, same = build_tree(rows, "golden"), build_tree(shuffled, "golden")
    assert rows_hash([tree]) == rows_hash([same])
    pairs, again = (tree_pairs(each, 0.1, PairParameters(**parameters)) for each in (tree, same))
    assert rows_hash(pairs) == rows_hash(again)


def test_which_of_tied_responses_is_taken_depends_on_the_seed_alone():
    """Not on the place in the file: the first and the last of 20 tied answers were always the two sides."""
    rewards = {f"Answer number {index}": float(index < 20) for index in range(40)}
    taken = [
        texts(tree_pairs(tree_of(rewards), 0.2, PairParameters(process=False, outcome="best", seed=seed))[0])
        for seed in range(20)
    ]
    assert len({chosen for chosen, _ in taken}) > 5
    assert len({rejected for _, rejected in taken}) > 5
    siblings = {
        texts(tree_pairs(tree_of(rewards, threshold=1.0), 0.2, PairParameters(seed=seed))[0]) for seed in range(20)
    }
    assert len(siblings) > 5


@given(tree=TREES)
def test_both_sides_are_prefixes_of_responses(tree):
    responses = [response_text(response) for response in tree["responses"]]
    for pair in tree_pairs(tree, 0.1, PairParameters(select="all", outcome="all")):
        assert pair["gap"] > 0
        for text in texts(pair):
            assert any(response.startswith(text) for response in responses)


@pytest.mark.parametrize(
    ("text", "amount", "units"),
    [("0.2", 0.2, "reward"), ("1e-3", 1e-3, "reward"), (".5sd", 0.5, "sd"), ("q0.9", 0.9, "quantile")],
)
def test_min_gap_is_read(text, amount, units):
    assert MinGap.parse(text) == MinGap(amount, units)
    assert MinGap.parse(str(MinGap(amount, units))) == MinGap(amount, units)


@pytest.mark.parametrize("text", ["", "-1", "q2", "q0.5sd", "nan", "0.2 logits"])
def test_unreadable_min_gaps_are_refused(text):
    with pytest.raises(ValueError, match="min gap"):
        MinGap.parse(text)


def test_min_gap_in_units_of_each_source():
    trees = [tree_of({"a": 0.0, "b": 2.0}), tree_of({"a": 10.0, "b": 30.0})]
    trees[1]["source"] = "other"
    assert MinGap(0.5).in_reward_units(trees) == {"test": 0.5, "other": 0.5}
    assert MinGap(0.5, "sd").in_reward_units(trees) == {"test": 0.5, "other": 5.0}
    assert MinGap(1.0, "quantile").in_reward_units(trees) == {"test": 2.0, "other": 20.0}


SAME = "caf\u00e9 \u200bau lait", "cafe\u0301 au\u2060 lait\ufeff"  # NFC and NFD, zero-width characters


def test_texts_that_read_the_same_are_one_side():
    assert tree_pairs(tree_of(dict(zip(SAME, [1.0, 0.0], strict=True))), 0.2, PairParameters(outcome="all")) == []
    tree = tree_of({f"{SAME[0]}.\nEnd": 1.0, f"{SAME[1]}.\nend": 0.0})
    assert [node["n_leaves"] for node in tree["nodes"]] == [2, 2, 1, 1]
    assert {response_text(response) for response in tree["responses"]} == {f"{SAME[0]}.\nEnd", f"{SAME[1]}.\nend"}


def test_trl_view():
    (pair,) = tree_pairs(tree_of({"We begin the sum.\nRight": 1.0, "We begin a sum.\nWrong": 0.0}, threshold=0.7), 0.2)
    assert to_trl(pair) == {
        "prompt": pair["question"],
        "chosen": [{"role": "assistant", "content": "We begin the sum.\nRight"}],
        "rejected": [{"role": "assistant", "content": "We begin a sum.\nWrong"}],
    }


@pytest.mark.parametrize(
    "parameters",
    [
        {"weigh": "some"},
        {"select_by": "some"},
        {"select": "0"},
        {"select": "some"},
        {"outcome": "some"},
        {"min_support": 0},
        {"values": "some"},
        {"min_certainty": 1.0},
    ],
)
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        PairParameters(**parameters)
