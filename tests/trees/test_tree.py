import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Indel, JaroWinkler, Levenshtein

from openprm.rewards.answer_equivalence import stated_answer
from openprm.schema import plain_reward
from openprm.trees.tree import MergeParameters, build_tree, merge, response_text, revalue, siblings
from tests import folders

# The paper's Table 5: three answers of a ScienceQA question, as steps.
AD_HOMINEM = {
    int(reply): steps
    for reply, steps in json.loads((Path(__file__).parent / "ad_hominem.json").read_text("utf-8")).items()
}
REWARDS = {0: 0.0, 2: 1.0, 7: 1.0}


def candidate(response, reward, index, prompt_id="p"):
    return folders.candidate(prompt_id, index, response, reward)


def ad_hominem(threshold):
    """Per depth, the groups of reply indices with their rewards, as Table 5 prints them."""
    candidates = [candidate(".\n".join(steps), REWARDS[i], i) for i, steps in AD_HOMINEM.items()]
    tree = build_tree(candidates, "golden", MergeParameters(similarity="jaro_winkler", threshold=threshold))
    assert [response_text(response) for response in tree["responses"]] == [c["response"] for c in candidates]
    levels = {}
    for node in tree["nodes"]:
        replies = [tree["responses"][member["response"]]["sample_index"] for member in node["members"]]
        levels.setdefault(node["depth"], []).append((replies, [REWARDS[i] for i in replies], node["value"]))
    return levels


def test_the_papers_example_at_jaro_winkler_0_89():
    levels = ad_hominem(0.89)
    assert levels[0] == [([], [], pytest.approx(2 / 3))]
    assert levels[1] == [([0, 2], [0, 1], 0.5), ([7], [1], 1.0)]
    alone = [([0], [0], 0.0), ([2], [1], 1.0), ([7], [1], 1.0)]
    assert levels[2] == levels[3] == alone
    assert levels[4] == levels[5] == alone[1:]
    assert levels[6] == alone[1:2]


def test_at_0_88_the_second_steps_merge_as_well():
    levels = ad_hominem(0.88)
    assert levels[1] == [([0, 2], [0, 1], 0.5), ([7], [1], 1.0)]
    assert levels[2] == [([0, 2], [0, 1], 0.5), ([7], [1], 1.0)]
    assert levels[3] == [([0], [0], 0.0), ([2], [1], 1.0), ([7], [1], 1.0)]


def test_the_papers_first_steps_meet_0_88_by_jaro_winkler_only():
    first, second = AD_HOMINEM[0][0], AD_HOMINEM[2][0]
    measures = Levenshtein, Indel, JaroWinkler
    similarities = [round(measure.normalized_similarity(first, second), 3) for measure in measures]
    assert similarities == [0.708, 0.796, 0.897]
    assert round(JaroWinkler.normalized_similarity(AD_HOMINEM[0][1], AD_HOMINEM[2][1]), 3) == 0.881


def brute_force(responses, rewards, threshold, distinct_numbers):
    """The documented merging, word by word: {path of members: value}."""
    found = {}

    def grow(through, depth):
        found[depth, tuple(through)] = sum(rewards[i] for i in through) / len(through)
        groups = []  # (representative text, members)
        texts = list(dict.fromkeys(responses[i][depth].strip() for i in through if len(responses[i]) > depth))
        for text in texts:
            same = [i for i in through if len(responses[i]) > depth and responses[i][depth].strip() == text]
            fits = [
                (Levenshtein.normalized_similarity(text, representative), -index)
                for index, (representative, _) in enumerate(groups)
                if not distinct_numbers or digits(text) == digits(representative)
            ]
            best = max(fits, default=(0, 0))
            if fits and best[0] >= threshold:
                groups[-best[1]][1].extend(same)
            else:
                groups.append((text, same))
        for _, members in groups:
            grow(sorted(members), depth + 1)

    grow(list(range(len(responses))), 0)
    return found


def digits(text):
    return "".join(c if c.isdigit() else " " for c in text).split()


STEP = st.text(alphabet="ab1 ", min_size=1, max_size=6).filter(str.strip)
RESPONSES = st.lists(st.lists(STEP, max_size=4), min_size=1, max_size=8)


THRESHOLDS = st.sampled_from([0.2, 0.4, 0.5, 0.6, 0.75, 0.8, 0.88, 1.0])


@given(data=st.data(), responses=RESPONSES, threshold=THRESHOLDS, distinct_numbers=st.booleans())
def test_equals_brute_force(data, responses, threshold, distinct_numbers):
    rewards = data.draw(st.lists(st.integers(-4, 4).map(float), min_size=len(responses), max_size=len(responses)))
    nodes = merge(responses, rewards, MergeParameters(threshold=threshold, distinct_numbers=distinct_numbers))
    everyone = tuple(range(len(responses)))
    found = {
        (node["depth"], tuple(member["response"] for member in node["members"]) or everyone): node["value"]
        for node in nodes
    }
    assert found == pytest.approx(brute_force(responses, rewards, threshold, distinct_numbers))


@given(responses=RESPONSES, threshold=st.floats(0.1, 1))
def test_invariants(responses, threshold):
    rewards = [float(len(steps)) for steps in responses]
    nodes = merge(responses, rewards, MergeParameters(threshold=threshold))
    assert [node["id"] for node in nodes] == list(range(len(nodes)))
    placed = [(member["response"], member["step"]) for node in nodes for member in node["members"]]
    assert sorted(placed) == [(i, j) for i, steps in enumerate(responses) for j in range(len(steps))]
    for node in nodes[1:]:
        parent = nodes[node["parent"]]
        assert parent["id"] < node["id"]
        assert node["depth"] == parent["depth"] + 1
        inside = {member["response"] for member in parent["members"]} or set(range(len(responses)))
        assert {member["response"] for member in node["members"]} <= inside
        assert {member["step"] for member in node["members"]} == {node["depth"] - 1}
        assert node["n_leaves"] == len(node["members"])
        assert node["text"] == responses[node["members"][0]["response"]][node["depth"] - 1]


@given(rewards=st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4), seed=st.permutations(range(4)))
def test_values_do_not_depend_on_the_order_of_equal_responses(rewards, seed):
    value = merge([["same"]] * 4, rewards)[1]["value"]
    assert merge([["same"]] * 4, [rewards[i] for i in seed])[1]["value"] == value


def test_distinct_numbers_keeps_wrong_results_apart():
    responses = [["The sum of both is 17 + 25 = 42"], ["The sum of both is 17 + 25 = 43"]]
    assert len(merge(responses, [1.0, 0.0])) == 2
    assert len(merge(responses, [1.0, 0.0], MergeParameters(distinct_numbers=True))) == 3


CHOICE = [{"role": "user", "content": "Which?\nA. four\nB. five\nC. six\nD. seven\nE. ten\nF. x\nG. y\nH. twelve"}]


@pytest.mark.parametrize(
    ("first", "second", "question", "together"),
    [
        ("The answer is (E).", "The answer is (H).", [], False),
        ("The answer is (E).", "The answer is (H).", CHOICE, False),
        ("The best choice of all these here is (E)", "The best choice of all these here is (H)", CHOICE, False),
        ("So the final answer is: **seven**", "So the final answer is: **seventy**", [], False),
        ("Thus the answer is \\boxed{x^2+1}", "Thus the answer is \\boxed{x^2-1}", [], False),
        ("So the answer is 4 apples", "So the answer is 4  apples.", [], True),
        ("The answer is (D).", "The answer is D.", CHOICE, True),
        ("First we add two and three", "First we add two and threes", CHOICE, True),
    ],
)
def test_steps_that_state_different_answers_never_merge(first, second, question, together):
    plain = MergeParameters(threshold=0.8)
    assert len(merge([[first], [second]], [1.0, 0.0], plain, question)) == 2
    apart = MergeParameters(threshold=0.8, distinct_answers=stated_answer)
    assert len(merge([[first], [second]], [1.0, 0.0], apart, question)) == (2 if together else 3)


def test_embeddings_can_merge_what_edits_cannot():
    responses = [["Hello there"], ["Good day"], ["The moon"]]
    vectors = {"Hello there": [1, 0.1], "Good day": [1, 0], "The moon": [0, 1]}
    parameters = MergeParameters(similarity=lambda texts: [vectors[text] for text in texts], threshold=0.9)
    nodes = merge(responses, [0.0, 1.0, 1.0], parameters)
    assert [node["n_leaves"] for node in nodes] == [3, 2, 1]


def test_revalue_takes_another_reward():
    candidates = [candidate("a.\nb", 0.0, 0), candidate("a.\nc", 1.0, 1)]
    for index, row in enumerate(candidates):
        row["rewards"].append(plain_reward("judge", 10.0 - index))
    tree = build_tree(candidates, "golden")
    judged = revalue(tree, "judge")
    assert judged == build_tree(candidates, "judge")
    assert revalue(judged, "golden") == tree
    with pytest.raises(ValueError, match="no reward named 'orm'"):
        revalue(tree, "orm")


def test_siblings_are_grouped_by_parent():
    tree = build_tree([candidate(text, 0.0, i) for i, text in enumerate(["a.\nb", "a.\nc", "x"])], "golden")
    assert [{node["text"] for node in nodes} for nodes in siblings(tree)] == [{"a.\n", "x"}, {"b", "c"}]


def test_deep_responses_need_no_recursion():
    steps = [f"step {i}.\n" for i in range(5000)]
    assert len(merge([steps, steps], [0.0, 1.0])) == 5001


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one"),
        ([candidate("a", float("nan"), 0)], "sample 0: the reward 'golden' is nan"),
        ([candidate("", 1.0, 3)], "sample 3: the response is empty"),
        ([candidate("a", 1.0, 0), candidate("a", 1.0, 0, prompt_id="q")], "two prompts"),
    ],
)
def test_bad_candidates_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        build_tree(rows, "golden")


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="threshold is 88"):
        MergeParameters(threshold=88)
    with pytest.raises(ValueError, match="unknown similarity"):
        MergeParameters(similarity="hamming")
    with pytest.raises(ValueError, match="2 responses but 1"):
        merge([["a"], ["b"]], [1.0])
