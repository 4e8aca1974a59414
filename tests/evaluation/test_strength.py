"""Baselines that know which model is strong."""

from __future__ import annotations

from statistics import fmean

from openprm.evaluation.strength import strength, strongest, tiers, within_tiers


def prompt(correct, **scores):
    n = len(correct)
    return {"responses": [f"r{i}" for i in range(n)], "correct": correct, "answers": [None] * n, "scores": scores}


def test_the_strongest_is_known_from_the_other_prompts():
    prompts = [prompt([1.0, 0.0]), prompt([0.0, 1.0]), prompt([1.0, 0.0])]
    models = [["a", "b"]] * 3
    assert strength(prompts, models) == {"a": 2 / 3, "b": 1 / 3}
    # elsewhere a and b are tied, a is ahead, a and b are tied
    assert strongest(prompts, models) == [0.5, 0.0, 0.5]
    assert strongest(prompts[:1], models[:1]) == [0.5]  # nothing is known of either


def test_several_answers_of_a_model_and_models_that_are_not_everywhere():
    prompts = [prompt([1.0, 0.0, 0.0]), prompt([1.0, 0.0]), prompt([0.0, 1.0])]
    models = [["a", "a", "b"], ["a", "c"], ["b", "c"]]
    assert strength(prompts, models) == {"a": 0.75, "c": 0.5, "b": 0.0}
    assert strongest(prompts, models) == [0.5, 0.0, 0.5]  # c is ahead of a elsewhere, and b and c are tied


def test_tiers_have_at_least_four_models():
    def ranked(n):
        return [prompt([float(i < m) for m in range(n)]) for i in range(n)], [[f"m{m}" for m in range(n)]] * n

    for n, sizes in ((7, []), (8, [4, 4]), (11, [5, 6]), (13, [4, 4, 5])):
        found = tiers(*ranked(n))
        assert [len(tier) for tier in found] == sizes
        assert [int(name[1:]) for tier in found for name in tier] == ([*range(n)][::-1] if sizes else [])
    assert within_tiers(*ranked(7), {}, []) is None


def test_among_equals_nothing_is_gained_by_knowing_the_strong():
    # the first four models are always right, the others never: a score that knows it alone is worth nothing in a tier
    correct = [1.0] * 4 + [0.0] * 4
    prompts = [prompt(correct, picker=correct) for _ in range(5)]
    found = within_tiers(prompts, [[f"m{m}" for m in range(8)]] * 5, {"picker": ["picker"]}, [])
    by = {row["method"]: row["accuracy"] for row in found["metrics"]}
    assert set(by.values()) == {0.5}
    assert fmean(strongest(prompts, [[f"m{m}" for m in range(8)]] * 5)) == 1


def test_prompts_without_two_answers_in_each_tier_are_left_out():
    names = [f"m{m}" for m in range(8)]
    prompts = [prompt([float(i % (m + 1) == 0) for m in range(8)], it=[float(m) for m in range(8)]) for i in range(4)]
    few = prompt([1.0, 0.0], it=[0.0, 1.0])
    found = within_tiers([*prompts, few], [*[names] * 4, names[:2]], {"it": ["it"]}, [])
    assert found["metrics"][0]["n_prompts"] == 4
