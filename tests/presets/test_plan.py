"""Plans: the arithmetic, what is unknown, and the presets that come with the package."""

from __future__ import annotations

import math
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.presets.plan import StagePlan, plan_preset
from openprm.presets.preset import load_preset

ASSUME = {
    "prompts": {"math": 100},
    "pairs": {"helpsteer2": 50},
    "pairs_per_tree": {"math": 2},
    "prompt_tokens": {"math": 10, "helpsteer2": 20},
    "response_tokens": {"math": 40, "helpsteer2": 30},
}
PAIRS = {"a": "pairs", "b": "helpsteer2"}
STAGES: dict[str, Any] = {
    "prompts": {"run": "prompts", "declared": "math"},
    "some": {"run": "prompts", "prompts": "prompts", "limit": 20},
    "samples": {"run": "sample", "prompts": "some", "model": "org/policy", "n": 8, "max_new_tokens": 64},
    "rewarded": {"run": "reward", "candidates": "samples", "by": "model", "model": "org/orm"},
    "golden": {"run": "reward", "candidates": "samples", "by": "math"},
    "trees": {"run": "trees", "candidates": "rewarded"},
    "pairs": {"run": "pairs", "trees": "trees", "min_gap": 0.2},
    "helpsteer2": {"run": "preferences", "declared": "helpsteer2"},
    "prm": {"run": "train", "pairs": PAIRS, "base": "org/orm", "epochs": 2},
    "short": {"run": "train", "pairs": PAIRS, "base": "org/orm", "max_steps": 3, "batch_size": 10, "max_length": 45},
    "scores": {"run": "score", "candidates": "golden", "model": "prm"},
    "answers": {"run": "search", "prompts": "some", "model": "org/policy", "prm": "prm", "budget": 4},
}


def planned(stages: dict[str, Any] = STAGES, assume: Any = ASSUME) -> dict[str, StagePlan]:
    return {plan.name: plan for plan in plan_preset({"stages": stages, "assume": assume})}


def test_the_arithmetic():
    plans = planned()
    assert (plans["prompts"].prompts, plans["some"].prompts) == (100, 20)
    samples = plans["samples"]
    assert (samples.prompts, samples.samples) == (20, 160)
    assert (samples.tokens, samples.generated, samples.generated_at_most) == (200, 6400, 160 * 64)
    assert (plans["rewarded"].rewards, plans["rewarded"].tokens) == (160, 160 * 50)
    assert (plans["golden"].rewards, plans["golden"].tokens) == (160, None)
    assert plans["trees"].prompts == 20
    assert (plans["pairs"].pairs, plans["helpsteer2"].pairs) == (40, 50)
    assert (plans["prm"].pairs, plans["prm"].tokens) == (180, 2 * 2 * 90 * 50)
    assert (plans["short"].pairs, plans["short"].tokens) == (30, 2 * 30 * 45)
    assert plans["scores"].tokens == 160 * 50
    assert (plans["answers"].samples, plans["answers"].generated) == (80, 3200)


def test_labels_and_what_is_completed_for_them():
    """20 prompts with 3 of 8 responses, each of 7 steps and 40 tokens, of which a step leaves half on average."""
    rollouts = {"run": "rollouts", "candidates": "samples", "model": "org/policy", "by": "math", "k": 4}
    rollouts |= {"per_prompt": 3, "max_new_tokens": 64}
    stages = {
        **{name: STAGES[name] for name in ("prompts", "some", "samples", "golden")},
        "scan": rollouts,
        "binary": {**rollouts, "mode": "binary"},
        "hard": {"run": "label", "labels": "scan", "by": "labels", "harden": 0.0},
        "position": {"run": "label", "labels": "golden", "by": "verifier", "scores": "org/scores"},
        "pairs": {"run": "label-pairs", "labels": "hard"},
        "prm": {"run": "train", "labels": {"a": "hard"}, "base": "org/orm", "epochs": 2},
        "both": {"run": "train", "labels": {"a": "position"}, "pairs": {"b": "pairs"}, "base": "org/orm"},
    }
    plans = planned(stages, {**ASSUME, "steps": {"math": 7}})
    scan, binary = plans["scan"], plans["binary"]
    assert (scan.samples, scan.generated, scan.generated_at_most) == (20 * 3 * 7 * 4, 1680 * 20, 1680 * 64)
    assert (binary.samples, binary.generated) == (20 * 3 * 3 * 4, 720 * 20)
    assert plans["pairs"].pairs == 40
    assert (plans["prm"].pairs, plans["prm"].tokens) == (2 * 60, 2 * 60 * 50)
    assert (plans["both"].pairs, plans["both"].tokens) == (160 + 40, pytest.approx(160 * 50 + 40 * 2 * 50))
    assert math.isnan(planned(stages)["scan"].generated or 0)


def test_what_nobody_says_is_unknown():
    plans = planned(assume={**ASSUME, "prompts": {}, "response_tokens": {"math": 40}})
    assert math.isnan(plans["samples"].samples or 0)
    assert math.isnan(plans["prm"].tokens or 0)
    assert plans["helpsteer2"].pairs == 50


@pytest.mark.parametrize(
    ("assume", "message"),
    [
        ({"promts": {"math": 1}}, "'promts' is not known; did you mean 'prompts'"),
        ({"prompts": {"math": "many"}}, "prompts, math is 'many', which is not a number above 0"),
        ({"prompts": {"math": 0}}, "not a number above 0"),
    ],
)
def test_assumptions_that_cannot_be(assume: Any, message: str):
    with pytest.raises(InputError, match=message):
        planned(assume=assume)


def test_the_paper_is_planned_whole():
    plans = planned(**load_preset("paper"))
    samples = [plan.samples for plan in plans.values() if plan.samples is not None]
    assert sum(samples) == pytest.approx(6.27e6, rel=0.01)
    assert plans["samples-8b-ultrafeedback"].samples == 59_876 * 64  # the paper's 3.84 million
    assert not any(math.isnan(plan.tokens) for plan in plans.values() if plan.tokens is not None)
    assert plans["openprm"].pairs == pytest.approx(110_191, rel=0.01)  # Table 4


def test_smol_is_planned_but_for_pairs_that_trees_decide():
    settings = {"prompts": 10, "n": 8, "branched_n": 16, "test_prompts": 20, "test_n": 4, "steps": 3}
    plans = planned(**load_preset("smol", settings))
    for plan in plans.values():
        for number in (plan.prompts, plan.samples, plan.tokens, plan.generated, plan.generated_at_most):
            assert number is None or number > 0, plan
    samples, branched = plans["samples"], plans["samples-branched"]
    assert (samples.samples, samples.tokens, samples.generated) == (10 * 8, 10 * 60, 10 * 8 * 92)
    assert (branched.samples, branched.generated_at_most) == (10 * 16, 10 * 16 * 128)
    assert plans["samples-test"].generated == 20 * 4 * 94
    assert plans["openprm-0"].tokens == 3 * 16 * 2 * (60 + 92)
