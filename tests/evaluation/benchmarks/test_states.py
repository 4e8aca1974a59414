"""Rated alternatives for the next step."""

from __future__ import annotations

import numpy as np
import pytest

from openprm.errors import InputError
from openprm.evaluation.benchmarks.baselines import RandomScore, rewarded_by

from .steps import benchmark, counts, given, items_of, numbers, read

OF = benchmark("states")


def row(before: list[str], step: str, rating: float | None, question: str = "q") -> dict:
    return {"instruction": question, "responses": before, "next_response": step, "rating": rating}


ROWS = [
    row([], "a", 1), row([], "b", -1), row([], "c", 0),
    row(["a"], "d", 1), row(["a"], "e", 1),
    row(["a"], "f", -1, question="another"),
]  # fmt: skip


def test_steps_are_compared_at_one_state_only():
    items = items_of(OF, ROWS)
    assert items[3].responses[0].steps == ("a\n", "d")
    assert items[3].responses[0].text == "a\nd"
    # a against b is won, a against c a tie, c against b won; rewards of earlier steps are nothing
    measured = given(items, [[2], [1], [2], [9, 0], [-9, 5], [0, 7]])
    found, n = numbers(OF, measured), counts(OF, measured)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert n["accuracy"] == 3
    assert [found[f"accuracy | {one}"] for one in ("1 against -1", "1 against 0", "0 against -1")] == [1, 0, 1]
    said = OF.details({"": measured})
    assert (said["states"], said["not compared"]) == (3, 2)


@pytest.mark.parametrize(("neutral", "right"), [("right", [2, 2, 0, 5]), ("wrong", [2, 0, 5]), ("drop", [2, 0, 5])])
def test_what_neutral_steps_are(neutral, right):
    of = benchmark("states", neutral=neutral)
    wrong = [1, 7] + ([2] if neutral == "wrong" else [])
    measured = given(items_of(of, ROWS), [[2], [1], [2], [9, 0], [-9, 5], [0, 7]])
    pairs = [(a > b) + (a == b) / 2 for a in right for b in wrong]
    assert numbers(of, measured)["AUC"] == pytest.approx(np.mean(pairs))
    assert counts(of, measured)["AUC"] == len(right) + len(wrong)


def test_a_step_without_a_reward_loses():
    items = items_of(OF, ROWS[:3])
    assert numbers(OF, given(items, [[2], [], [3]]))["accuracy"] == 0  # 2 against 3 is lost, too
    assert numbers(OF, given(items, [[None], [1], [0]]))["accuracy"] == 0
    assert numbers(OF, given(items, [[2], [], [3]], "log-odds"))["balanced accuracy, threshold 0"] == 0.5


def test_a_random_score_is_right_by_chance():
    rows = [
        row(["so"], f"{kind} {i}", rating, question=f"q{i % 50}")
        for i in range(500)
        for kind, rating in (("good", 1), ("bad", -1), ("fair", 0))
    ]
    items = items_of(OF, rows)
    found = [numbers(OF, rewarded_by(RandomScore(seed), {"": items})[""]) for seed in range(4)]
    for name in ("accuracy", "accuracy | 1 against 0", "AUC", "balanced accuracy"):
        assert np.mean([one[name] for one in found]) == pytest.approx(0.5, abs=0.03)
    oracle = np.mean([one["balanced accuracy, oracle threshold"] for one in found])
    assert 0.5 < oracle < 0.56  # chosen on what it is measured on


def test_wrong_rows(tmp_path):
    bad = [
        row([], "x", None), row([], "y", 2), row([], "z", 0.5), row([], " ", 1), row(["", "b"], "c", 1),
        {**row([], "u", 1), "responses": "a"}, {**row([], "v", 1), "next_response": None}, row([], "a", -1),
    ]  # fmt: skip
    items, wrong = read(OF, tmp_path, [*ROWS, *bad])
    assert len(items) == len(ROWS)
    for message, expected in zip(
        wrong,
        [
            "row 7: the step has no rating; rate it 1, 0 or -1, or leave the row out",
            "row 8: the step is rated 2",
            "row 9: the step is rated 0.5",
            "row 10: step 1 in 'steps' is empty",
            "row 11: step 1 in 'steps' is empty",
            "row 12: 'steps'",
            "row 13: 'steps[0]' is missing",
            "row 14: an earlier row has the same steps",
        ],
        strict=True,
    ):
        assert expected in message
    with pytest.raises(InputError, match="all steps are wrong; there must be both"):
        read(OF, tmp_path, [row([], "a", -1), row([], "b", -1)])
    with pytest.raises(InputError, match="rating"):
        read(OF, tmp_path, [{"instruction": "q", "responses": [], "next_response": "a", "label": 1}])
