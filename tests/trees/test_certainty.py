import math
import random
from itertools import pairwise, permutations
from statistics import fmean

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from openprm.trees.certainty import Known, certainty, known, priors
from openprm.trees.tree import MergeParameters, build_tree
from tests.trees.test_tree import candidate


def tree_of(rewards, times=1):
    """A tree of equal texts from pairs of response and reward, each so many times."""
    rows = [candidate(text, reward, index) for index, (text, reward) in enumerate(list(rewards) * times)]
    return build_tree(rows, "golden", MergeParameters(threshold=1.0))


#: Six responses, half of them right: three of four through A, none of two through B.
FORK = [("A.\na", 1.0), ("A.\nb", 1.0), ("A.\nc", 1.0), ("A.\nd", 0.0), ("B.\na", 0.0), ("B.\nb", 0.0)]


def of(tree, found, text):
    return next(found[node["id"]] for node in tree["nodes"] if node["text"] == text)


def test_the_prior_by_hand():
    """Sum of squares 1.5, 4 * 0.25^2 + 2 * 0.5^2 = 0.75 of it among A and B, by the variance 0.3: 2.5, and 2.5 within.
    noise = 2.5 / 4, true = (2.5 - noise) / (6 - (16 + 4) / 6). Below A nothing is merged: there N - k is 0, the four
    children are 1.5 + 1.5 apart by the variance 0.25, N - 1 = 3 in all, and N - sum n^2 / N is 3."""
    (prior,) = priors([tree_of([("A", r) for r in (1.0, 1.0, 1.0, 0.0)] + [("B", 0.0), ("B", 0.0)])]).values()
    assert prior == pytest.approx(0.625 / (1.875 / (8 / 3)))
    noise = 2.5 / 4
    (prior,) = priors([tree_of(FORK)]).values()
    assert prior == pytest.approx(noise / ((2.5 + 3 - noise * 4) / (8 / 3 + 3)))


def test_rewards_of_single_responses_are_noise_and_siblings_alike_have_an_infinite_prior():
    assert priors([tree_of([("A", 1.0), ("B", 0.0)])]) == {"test": math.inf}
    assert priors([tree_of([("A", 1.0), ("A", 0.0), ("B", 1.0), ("B", 0.0)])]) == {"test": math.inf}
    assert priors([tree_of([("A", 1.0), ("B", 1.0)])]) == {"test": math.inf}  # nothing is known
    assert priors([tree_of([("A", 1.0), ("A", 1.0), ("B", 0.0)])]) == {"test": pytest.approx(0, abs=1e-9)}
    assert priors([]) == {}


def test_what_is_known_by_hand_is_the_beta_binomial_posterior():
    tree = tree_of(FORK)
    found = known(tree, 2.0)
    assert (found[0].mean, found[0].variance) == (0.5, pytest.approx(0.25 / 7))
    a, b = of(tree, found, "A.\n"), of(tree, found, "B.\n")
    # Beta(1 + 3, 1 + 1) and Beta(1 + 0, 1 + 2)
    assert (a.mean, a.variance) == (pytest.approx(4 / 6), pytest.approx(4 * 2 / (6 * 6 * 7)))
    assert (b.mean, b.variance) == (pytest.approx(1 / 4), pytest.approx(1 * 3 / (4 * 4 * 5)))
    # and below A, where a response is right: two more, of A
    right = next(node for node in tree["nodes"] if node["depth"] == 2 and node["value"])
    assert found[right["id"]].mean == pytest.approx((1 + 2 * 4 / 6) / 3)


def test_certainty_by_hand():
    a, b = Known(4 / 6, 4 / 6, 6), Known(1 / 4, 1 / 4, 4)
    z = (4 / 6 - 1 / 4) / math.sqrt(8 / 252 + 3 / 80)
    assert certainty(a, b) == pytest.approx((1 + math.erf(z / math.sqrt(2))) / 2, abs=1e-6)
    # that of the beta distributions: 1 - E (1 - x)^3 under Beta(4, 2), 13 / 14
    assert certainty(a, b) == pytest.approx(13 / 14, abs=0.02)
    assert certainty(b, a) == pytest.approx(1 - certainty(a, b))
    sure, other = Known(1.0, 1.0, 5), Known(0.0, 0.0, 5)
    assert [certainty(*two) for two in ((sure, other), (other, sure), (sure, sure))] == [1.0, 0.0, 0.5]


STEP = st.sampled_from(["Go on.\n", "Turn.\n", "Stop.\n"])
TEXT = st.lists(STEP, min_size=1, max_size=3).map("".join)
REWARDS = st.lists(st.tuples(TEXT, st.integers(-4, 4).map(float)), min_size=1, max_size=12)
PRIORS = st.floats(0.01, 100)


@given(rewards=REWARDS, prior=PRIORS)
def test_a_shrunken_value_lies_between_the_node_s_and_its_parent_s(rewards, prior):
    tree = tree_of(rewards)
    found = known(tree, prior)
    for node in tree["nodes"][1:]:
        low, high = sorted([node["value"], found[node["parent"]].mean])
        assert low - 1e-9 <= found[node["id"]].mean <= high + 1e-9
        assert found[node["id"]].variance >= 0


@given(rewards=REWARDS, prior=PRIORS)
def test_without_a_prior_values_are_plain_and_with_an_infinite_one_the_root_s(rewards, prior):
    tree = tree_of(rewards)
    assert [one.mean for one in known(tree, 0.0)] == pytest.approx([node["value"] for node in tree["nodes"]])
    assert {one.mean for one in known(tree, math.inf)} == {known(tree, prior)[0].mean}


@given(rewards=REWARDS, prior=PRIORS)
def test_more_support_is_less_shrinkage_and_in_the_end_none(rewards, prior):
    tree, *more = (tree_of(rewards, times) for times in (1, 2, 8))
    off = [[abs(known(t, prior)[node["id"]].mean - node["value"]) for node in t["nodes"]] for t in (tree, *more)]
    for node in tree["nodes"]:
        if node["depth"] == 1:  # below, the parent moves too
            assert all(less <= few + 1e-9 for few, less in pairwise(one[node["id"]] for one in off))
    # a billion times the responses are a billionth of the prior
    values = [one.mean for one in known(tree, prior * 1e-9)]
    assert values == pytest.approx([node["value"] for node in tree["nodes"]], abs=1e-6)


@given(rewards=REWARDS, data=st.data())
def test_no_order_of_rows_matters(rewards, data):
    other = data.draw(st.permutations(rewards))
    one, two = tree_of(rewards), tree_of(other)
    assert priors([one]) == pytest.approx(priors([two]))
    assert [found.mean for found in known(one, 2.0)] == pytest.approx([found.mean for found in known(two, 2.0)])


@given(rewards=REWARDS, unit=st.sampled_from([0.5, 3.0]), zero=st.sampled_from([-2.0, 5.0]))
def test_the_unit_and_the_zero_of_the_reward_do_not_matter(rewards, unit, zero):
    tree, other = tree_of(rewards), tree_of([(text, zero + unit * reward) for text, reward in rewards])
    shares = [1 / (1 + prior) for each in (tree, other) for prior in priors([each]).values()]
    assert shares[0] == pytest.approx(shares[1], abs=1e-9)
    a, b = known(tree, 2.0), known(other, 2.0)
    assert [one.mean for one in b] == pytest.approx([zero + unit * one.mean for one in a])
    assume(len(a) > 1 and a[1].variance + a[-1].variance > 1e-6)
    assert certainty(b[1], b[-1]) == pytest.approx(certainty(a[1], a[-1]), abs=1e-5)


def test_on_true_values_known_beforehand():
    """Rewards 0 and 1, siblings with true values from Beta(3 m, 3 (1 - m)) and 1 to 8 responses each:
    the prior is found again, shrunken values are nearer to the true ones, and certainty is how often it is right."""
    draw = random.Random(0)
    trees, truths = [], []
    for _ in range(300):
        m = draw.betavariate(2, 2)
        truth = {name: draw.betavariate(3 * m, 3 * (1 - m)) for name in "ABCDEF"}
        sizes = {name: draw.randint(1, 8) for name in truth}
        rows = [(name, float(draw.random() < truth[name])) for name, size in sizes.items() for _ in range(size)]
        trees.append(tree_of(rows))
        truths.append(truth)
    (prior,) = priors(trees).values()
    assert 2.5 < prior < 3.6
    plain, shrunken, right = [], [], {0.6: [], 0.8: [], 0.9: []}
    for tree, truth in zip(trees, truths, strict=True):
        found = known(tree, prior)
        nodes = [(truth[node["text"]], node["value"], found[node["id"]]) for node in tree["nodes"][1:]]
        plain += [(true - value) ** 2 for true, value, _ in nodes]
        shrunken += [(true - one.mean) ** 2 for true, _, one in nodes]
        for (true, _, one), (other, _, two) in permutations(nodes, 2):
            if (low := math.floor(certainty(one, two) * 10 + 1e-9) / 10) in right:
                right[low].append(true > other)
    assert fmean(shrunken) < 0.75 * fmean(plain)
    for low, found in right.items():
        assert len(found) > 250
        assert low - 0.03 < fmean(found) < low + 0.13, low
