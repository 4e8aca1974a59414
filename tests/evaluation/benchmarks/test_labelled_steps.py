"""Labels of all steps: PRMBench's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from openprm.evaluation.benchmarks.declaration import load_benchmark

from .steps import benchmark, counts, given, items_of, numbers, read

OF = benchmark("step-labels")

#: Accuracy on right, wrong and all steps, F1, negative F1 and PRMScore over all categories, in percent, by PRMBench's
#: own evaluation: github.com/ssmisya/PRMBench, mr_visualize/eval_res_view/draw_tabs/form_excel_strs.ipynb.
PUBLISHED = {
    "skyworkprm_1_5B": (24.1, 79.4, 32.3, 37.7, 25.7, 31.7),
    "skyworkprm_7B": (30.1, 79.7, 37.5, 45.1, 27.4, 36.2),
    "reasoneval7b": (95.5, 21.2, 83.8, 90.8, 29.2, 60.0),
    "llama3_1_8b_prm_mistral": (90.2, 17.9, 78.8, 87.7, 21.1, 54.4),
    "llama3_1_8b_prm_deepseek": (95.0, 13.0, 82.0, 89.9, 18.6, 54.2),
}


def row(question: str, n: int, wrong: list[int], kind: str = "") -> dict:
    steps = [f"{i}. {question}" for i in range(n)]
    return {"question": question, "steps": steps, "wrong": wrong, "classification": kind}


def test_by_hand():
    # right, judged right: 3; right, judged wrong: 1; wrong, judged wrong: 1; wrong, judged right: 2
    items = items_of(OF, [row("a", 4, [2]), row("b", 3, [2, 3])])
    found = numbers(OF, given(items, [[1, -1, 2, -3], [1, 0.5, 3]], "log-odds"))
    f1, negative = 2 * 3 / (2 * 3 + 1 + 2), 2 * 1 / (2 * 1 + 1 + 2)
    assert found["PRMScore, threshold 0"] == pytest.approx((f1 + negative) / 2)
    # right steps have 1, 2, -3, 1 and wrong ones -1, 0.5, 3: of 12 pairs 6 are won
    assert found["AUC"] == pytest.approx(6 / 12)


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_scores_that_its_own_evaluation_gave(model):
    right, wrong, total, f1, negative, score = (one / 100 for one in PUBLISHED[model])
    n = 20_000
    steps = round(n * (total - wrong) / (right - wrong))  # right ones, as follows from the three accuracies
    hits = round(right * steps), round(wrong * (n - steps))
    (item,) = items_of(OF, [row("q", n, list(range(steps + 1, n + 1)))])
    judged = [1] * hits[0] + [-1] * (steps - hits[0] + hits[1]) + [1] * (n - steps - hits[1])
    found = numbers(OF, given([item], [judged], "log-odds"))
    assert found["PRMScore, threshold 0"] == pytest.approx(score, abs=0.0025)
    assert score == pytest.approx((f1 + negative) / 2, abs=0.001)


def test_a_category_without_wrong_steps_has_the_f1_of_right_ones():
    """As PRMBench's table gives it for multiple solutions: 99.2 of gpt4o, whose negative F1 there is 0."""
    of = load_benchmark("prmbench")
    base = [
        row(f"q{i}", 4, wrong, kind) for i, (wrong, kind) in enumerate([([1], "deception"), ([], "multi_solutions")])
    ]
    rows = [
        {"original_question": "the same", "modified_question": one["question"], "modified_process": one["steps"],
         "error_steps": one["wrong"], "classification": one["classification"]}
        for one in base
    ]  # fmt: skip
    items = items_of(of, rows)
    assert len({item.prompt for item in items}) == 1  # variants of one problem are resampled together
    found = numbers(of, given(items, [[-1, 1, 1, -1], [1, 1, 1, -1]], "log-odds"))
    assert found["PRMScore, threshold 0 | multi_solutions"] == pytest.approx(2 * 3 / (2 * 3 + 1))
    assert found["PRMScore, threshold 0 | deception"] == pytest.approx((2 * 2 / (4 + 1) + 2 * 1 / (2 + 1)) / 2)
    both = [found[f"PRMScore, threshold 0 | {kind}"] for kind in ("multi_solutions", "deception")]
    assert found["PRMScore, threshold 0 | sensitivity"] == pytest.approx(sum(both) / 2)
    assert not any("soundness" in name for name in found)
    # over all steps, not the mean of categories
    assert found["PRMScore, threshold 0"] == pytest.approx((2 * 5 / (10 + 2) + 2 * 1 / (2 + 2)) / 2)


def test_half_of_the_problems_is_measured_at_the_threshold_of_the_other():
    rows = [row(f"q{i}", 2, [2]) for i in range(40)]
    items = items_of(OF, rows)
    measured = given(items, [[2, 1]] * 40)
    said = OF.details({"": measured})["thresholds"]
    assert said == {
        "half of the problems": {"threshold": 2, "from": "the other half of the problems"},
        "the other half of the problems": {"threshold": 2, "from": "half of the problems"},
    }
    assert numbers(OF, measured)["PRMScore"] == 1
    assert counts(OF, measured)["PRMScore"] == 80
    # one half's own rewards do not choose its threshold: where they are all higher, all of it is judged right
    half = [group == "half of the problems" for group in OF._groups(items)]
    assert 5 < sum(half) < 35
    found = numbers(OF, given(items, [[12, 11] if one else [2, 1] for one in half]))
    n, other = sum(half), 40 - sum(half)
    # of the half all is judged right, and of the other half, at 12, all wrong; the number is the mean by steps
    assert found["F1 of right steps"] == pytest.approx((n * 2 / 3 + other * 0) / 40)
    assert found["F1 of wrong steps"] == pytest.approx((n * 0 + other * 2 / 3) / 40)


STEPS = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=15)


@drawn(STEPS)
def test_the_area_under_the_curve_pair_by_pair(steps):
    right, wrong = ([reward for reward, one in steps if one is kind] for kind in (True, False))
    (item,) = items_of(OF, [row("q", len(steps), [i for i, (_, one) in enumerate(steps, 1) if not one])])
    found = numbers(OF, given([item], [[reward for reward, _ in steps]]))
    if right and wrong:
        pairs = [(a > b) + (a == b) / 2 for a in right for b in wrong]
        assert found["AUC"] == pytest.approx(np.mean(pairs))
    else:
        assert "AUC" not in found


def test_wrong_rows(tmp_path):
    good = [row("a", 2, [2]), row("b", 2, [])]
    bad = [{"wrong": [3]}, {"wrong": [0]}, {"wrong": None}, {"wrong": 1}]
    items, wrong = read(OF, tmp_path, [*good, *({**row(f"c{i}", 2, []), **one} for i, one in enumerate(bad))])
    assert len(items) == 2
    for message, expected in zip(
        wrong,
        [
            "row 3: 'wrong' names step 3 of 2; number the steps from 1",
            "row 4: 'wrong[0]'",
            "'wrong' is missing",
            "'wrong'",
        ],
        strict=True,
    ):
        assert expected in message
