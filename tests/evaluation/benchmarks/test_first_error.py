"""First wrong steps: the numbers by hand, as published, of chance, and what holds of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from openprm.errors import InputError
from openprm.evaluation.benchmarks.baselines import RandomScore, rewarded_by
from openprm.evaluation.benchmarks.declaration import load_benchmark
from openprm.evaluation.bootstrap import draw_weights
from openprm.evaluation.pair_accuracy import first_error, first_error_f1

from .steps import benchmark, counts, given, items_of, numbers, read

OF = benchmark("first-error")


def rows(*labels: int, n: int = 3, name: str = "q") -> list[dict]:
    """Responses of `n` steps with these labels, each to a problem of its own."""
    return [
        {"id": f"{name}-{i}", "problem": f"{name} {i}", "steps": [f"step {k}" for k in range(n)], "label": label}
        for i, label in enumerate(labels)
    ]


def test_a_response_is_written_with_its_steps_apart():
    of = benchmark("first-error", joined_by="\n\n")
    (item,) = items_of(of, [{"problem": "p", "steps": ["a", "b\nc", "d"], "label": 1}])
    assert item.responses[0].steps == ("a\n\n", "b\nc\n\n", "d")
    assert item.responses[0].text == "a\n\nb\nc\n\nd"
    assert item.facts["labels"] == [1.0, 0.0, None]


def test_the_first_wrong_step_is_the_first_below_the_threshold():
    # right from -1 up | found above 0.2, up to 0.9 | the first step is lower: never found
    items = items_of(OF, rows(-1, 1, 1))
    rewards = [[0.5, -1, 2], [0.9, 0.2, -3], [0.1, 0.3, 0.2]]
    for threshold, expected in [(-1.0, [1, 0, 0]), (0.5, [0, 1, 0])]:
        found = [first_error(one, threshold) == item.facts["error"] for one, item in zip(rewards, items, strict=True)]
        assert found == [bool(one) for one in expected]
    judged = OF.judged(given(items, rewards))
    assert judged.low.tolist() == [-np.inf, 0.2, 0.3]
    assert judged.high.tolist() == [-1, 0.9, 0.1]
    assert numbers(OF, given(items, rewards))["localization"] == 0.5
    assert numbers(OF, given(items, rewards))["F1, oracle threshold"] == 0  # no threshold is right for both classes


def test_the_threshold_comes_from_another_subset():
    of = benchmark(
        "first-error",
        columns={"question": "problem", "steps": "steps", "label": "label", "subset": "id"},
        threshold_from=["easy", "hard"],
        averages={"": ["easy", "hard", "hardest"]},
    )
    items = items_of(of, [*rows(-1, -1, 1, 1, name="easy"), *rows(-1, -1, 1, 1, name="hard")])
    easy = [[3, 2, 4], [3, 5, 5], [4, 1, 0], [4, 0, 0]]  # all are right at 2
    hard = [[3, 1, 4], [3, 3, 3], [4, 2, 0], [4, 3, 0]]  # at 2 the first and the third are not; the best is 3
    found = numbers(of, given(items, [*easy, *hard]))
    assert found["F1, oracle threshold | easy"] == 1
    assert found["F1 | hard"] == pytest.approx(2 * 0.5 * 0 / 0.5)
    assert found["accuracy on correct | hard"] == 0.5
    # the best for hard are 1 (2/2 and 0/2), 3 (1/2 and 1/2): 3 has the higher F1, and is right for 2 of easy's 4
    assert found["F1, oracle threshold | hard"] == pytest.approx(2 * 0.5 * 0.5 / 1)
    assert found["accuracy on correct | easy"] == 0.5
    assert found["accuracy on erroneous | easy"] == 1
    assert found["F1 | easy"] == pytest.approx(2 * 0.5 / 1.5)
    assert found["F1"] == pytest.approx((found["F1 | easy"] + found["F1 | hard"]) / 2)  # hardest is not in the data
    said = of.details({"": given(items, [*easy, *hard])})["thresholds"]
    assert said == {"easy": {"threshold": 3, "from": "hard"}, "hard": {"threshold": 2, "from": "easy"}}


def test_log_odds_are_judged_at_zero_too_and_strengths_are_not():
    items = items_of(OF, rows(-1, -1, 1, 0))
    rewards = [[1, 2, 3], [0.5, -0.5, 2], [1, -1, 3], [-2, 1, 1]]
    assert numbers(OF, given(items, rewards, "log-odds"))["F1, threshold 0"] == pytest.approx(2 * 0.5 / 1.5)
    assert "F1, threshold 0" not in numbers(OF, given(items, rewards))


#: Of a PRM by ProcessBench's own script: how many responses are wrong and right, the accuracies and the F1 in percent:
#: https://github.com/QwenLM/ProcessBench/pull/12 (2025-01-22). The average F1 there is 56.1.
PUBLISHED = {
    "gsm8k": (207, 193, 46.9, 96.4, 63.1),
    "math": (594, 406, 55.9, 82.0, 66.5),
    "olympiadbench": (661, 339, 39.0, 67.8, 49.6),
    "omnimath": (759, 241, 34.4, 66.8, 45.4),
}


def test_the_numbers_that_its_own_script_gave():
    of = load_benchmark("processbench")
    items, rewards = [], []
    for name, (wrong, right, found, kept, _) in PUBLISHED.items():
        items += items_of(of, rows(*[1] * wrong, *[-1] * right, n=2, name=name))
        hits = round(found / 100 * wrong), round(kept / 100 * right)
        assert [round(100 * n / of, 1) for n, of in zip(hits, (wrong, right), strict=True)] == [found, kept]
        rewards += [[1, -1 if i < hits[0] else 1] for i in range(wrong)]
        rewards += [[1, 1 if i < hits[1] else -1] for i in range(right)]
    shown = numbers(of, given(items, rewards, "log-odds"))
    for name, (*_, expected) in PUBLISHED.items():
        assert round(100 * shown[f"F1, threshold 0 | {name}"], 1) == expected
    assert round(100 * shown["F1, threshold 0"], 1) == 56.1
    # rewards are 1 or -1, so that the threshold chosen on another subset is 1, which judges as 0 does
    assert shown["F1"] == pytest.approx(shown["F1, threshold 0"])


def test_a_random_score_finds_what_chance_does():
    n, each = 4, 400
    labels = [label for label in (-1, 0, 1, 2, 3) for _ in range(each)]
    items = items_of(OF, rows(*labels, n=n))
    models = [rewarded_by(RandomScore(seed), {"": items})[""] for seed in range(3)]
    found = [numbers(OF, one) for one in models]
    # the first wrong step is the lowest of those up to it, by chance 1 of its number
    expected = np.mean([1 / (k + 1) for k in range(n)])
    assert np.mean([one["localization"] for one in found]) == pytest.approx(expected, abs=0.025)
    assert np.mean([one["AUC"] for one in found]) == pytest.approx(0.5, abs=0.02)
    # a step is below a threshold with probability q, from one to the next: q (1 - q)^k finds step k, (1 - q)^n none
    for model in models:
        thresholds = {one["threshold"] for one in OF.details({"": model})["thresholds"].values()}
        rewards = np.concatenate([one.rewards for (one,) in model.rewarded])
        q = np.mean([np.mean(rewards < one) for one in thresholds])
        shown = numbers(OF, model)
        assert shown["accuracy on correct"] == pytest.approx((1 - q) ** n, abs=0.09)
        assert shown["accuracy on erroneous"] == pytest.approx(np.mean([q * (1 - q) ** k for k in range(n)]), abs=0.05)


REWARD = st.integers(-5, 5)
RESPONSES = st.lists(
    st.tuples(st.lists(REWARD, min_size=3, max_size=3), st.integers(-1, 2)), min_size=2, max_size=12
).filter(lambda some: len({label == -1 for _, label in some}) == 2)


@drawn(RESPONSES, st.integers(-5, 6))
def test_as_response_by_response(responses, threshold):
    """The vectorised F1 is the plain one, at every threshold; the best is the best of all."""
    rewards, labels = [one for one, _ in responses], [label for _, label in responses]
    measured = given(items_of(OF, rows(*labels)), rewards)

    def plain(at: float) -> float:
        return first_error_f1([first_error(one, at) for one in rewards], labels)["f1"]

    shifted = given(measured.items, [[reward - threshold for reward in one] for one in rewards], "log-odds")
    assert numbers(OF, shifted)["F1, threshold 0"] == pytest.approx(plain(threshold))
    assert numbers(OF, measured)["F1, oracle threshold"] == pytest.approx(max(plain(at) for at in range(-6, 8)))


@drawn(RESPONSES, st.permutations(range(12)))
def test_neither_the_scale_nor_the_order_matters(responses, order):
    rewards, labels = [one for one, _ in responses], [label for _, label in responses]
    items = items_of(OF, rows(*labels))
    found = numbers(OF, given(items, rewards))
    assert numbers(OF, given(items, [[np.exp(x) - 7 for x in one] for one in rewards])) == found
    order = [one for one in order if one < len(items)]
    again = numbers(OF, given([items[one] for one in order], [rewards[one] for one in order]))
    assert again == pytest.approx(found)


def test_the_interval_keeps_the_threshold():
    items = items_of(OF, rows(*[-1, 1] * 20))
    rewards = [[1, 1, 1] if i % 4 else [1, -1, 1] for i in range(40)]
    measured = given(items, rewards)
    weights = draw_weights([item.prompt for item in items])
    (f1,) = (one for one in OF.statistics(measured) if (one.name, one.subset) == ("F1", ""))
    thresholds = OF.details({"": measured})["thresholds"]
    groups = OF._groups(items)
    found = [first_error(one, thresholds[group]["threshold"]) for one, group in zip(rewards, groups, strict=True)]
    for draw, value in zip(weights[:20], f1.of(weights[:20]), strict=True):
        expected = 0.0
        for half in thresholds:
            kept = [i for i, times in enumerate(draw) if groups[i] == half for _ in range(int(times))]
            of_half = first_error_f1([found[i] for i in kept], [items[i].facts["error"] for i in kept])["f1"]
            expected += of_half * groups.count(half) / 40
        assert value == pytest.approx(expected)


def test_a_response_that_was_not_wholly_rewarded_is_not_found():
    items = items_of(OF, rows(-1, -1, 1, 1))
    rewards = [[1, 1, None], [], [1, 0, None], []]
    found = numbers(OF, given(items, rewards, "log-odds"))
    assert found["F1, threshold 0"] == 0
    assert found["localization"] == 0
    assert counts(OF, given(items, rewards))["AUC"] == 3 + 3 + 2 + 2


def test_wrong_rows(tmp_path):
    bad = [
        {"label": 3}, {"label": -2}, {"label": None}, {"label": "one"}, {"steps": ["a", " "]}, {"steps": []},
        {"steps": "a"}, {"problem": ""}, {},
    ]  # fmt: skip
    items, wrong = read(
        OF,
        tmp_path,
        [
            *rows(-1, 0),
            *({**rows(0)[0], "problem": f"p{i}", **one} for i, one in enumerate(bad)),
            rows(0)[0] | {"problem": "q 1"},
        ],
    )
    assert len(items) == 3
    for message, expected in zip(
        wrong,
        [
            "row 3: 'label' is 3, but there are 3 steps; make it the index of the first wrong step, from 0, or -1",
            "row 4: 'label' should be greater than or equal to -1",
            "row 5: 'label' is missing",
            "row 6: 'label' is 'one'",
            "row 7: step 2 in 'steps' is empty; leave the row out",
            "row 8: step 1 in 'steps' is empty",
            "row 9: 'steps' is 'a'",
            "row 10: 'problem' is empty",
            "row 12: an earlier row has the same steps",
        ],
        strict=True,
    ):
        assert expected in message


def test_files_that_are_no_benchmark(tmp_path):
    with pytest.raises(InputError, match=r"rows.jsonl.*'label'.*"):
        read(OF, tmp_path, [{"problem": "p", "steps": ["a"], "first_error": -1}])
    with pytest.raises(InputError, match=r"rows.jsonl: all steps are right; there must be both"):
        read(OF, tmp_path, rows(-1, -1))


def test_where_there_is_no_threshold_it_is_said():
    of = benchmark(
        "first-error",
        columns={"question": "problem", "steps": "steps", "label": "label", "subset": "id"},
        threshold_from=["easy"],
        averages={"": ["easy", "hard"]},
    )
    items = items_of(of, [*rows(-1, 1, name="easy"), *rows(-1, 1, name="hard")])
    measured = given(items, [[1, 1, 1], [1, 0, 1]] * 2)
    assert of.details({"": measured})["thresholds"]["easy"] == {"threshold": None, "from": ""}
    found = numbers(of, measured)
    assert found["F1 | hard"] == 1
    assert not {"F1 | easy", "F1"} & found.keys()  # no average over some of the subsets that are there
    assert found["F1, oracle threshold"] == 1
