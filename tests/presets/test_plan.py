"""Plans: the arithmetic, what is unknown, and the presets that come with the package."""

from __future__ import annotations

import math
from dataclasses import fields
from importlib.resources import files
from io import StringIO
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from openprm.engines.base import Sampling
from rich.console import Console

from openprm.data.paper_datasets import PAIR_SOURCES, PROMPT_SOURCES
from openprm.errors import InputError
from openprm.presets.plan import Plan, StagePlan, plan
from openprm.presets.plan_report import number, print_plan
from openprm.trees.pairs import MinGap, PairParameters
from openprm.trees.tree import MergeParameters

ASSUME = {
    "prompts": {"math": 100},
    "pairs": {"helpsteer2": 50},
    "pairs_per_tree": {"math": 2},
    "prompt_tokens": {"math": 10, "helpsteer2": 20},
    "response_tokens": {"math": 40, "helpsteer2": 30},
    "parameters": {"org/policy": 1_000_000, "org/orm": 500_000},
    "gpu": {"flops": 1.0e9, "count": 2},
    "utilisation": {"sampling": 0.1, "rewarding": 0.5, "training": 0.25},
}
STAGES: dict[str, Any] = {
    "prompts": {"run": "prompts", "source": "math"},
    "some": {"run": "prompts", "prompts": "prompts", "limit": 20},
    "samples": {"run": "candidates", "prompts": "some", "model": "org/policy", "n": 8, "max_new_tokens": 64},
    "orm": {"run": "convert", "model": "org/orm"},
    "rewarded": {"run": "reward", "candidates": "samples", "by": "model", "model": "orm"},
    "golden": {"run": "reward", "candidates": "samples", "by": "math"},
    "trees": {"run": "trees", "candidates": "rewarded"},
    "pairs": {"run": "pairs", "trees": "trees", "min_gap": 0.2},
    "helpsteer2": {"run": "preferences", "source": "helpsteer2"},
    "prm": {"run": "train", "pairs": {"a": "pairs", "b": "helpsteer2"}, "base": "orm", "num_train_epochs": 2},
    "scores": {"run": "score", "candidates": "golden", "model": "prm"},
    "answers": {
        "run": "generate",
        "prompts": "some",
        "model": "org/policy",
        "prm": "prm",
        "method": "pbs",
        "budget": 4,
    },
}


def of(plan: Plan) -> dict[str, StagePlan]:
    return {stage.name: stage for stage in plan.stages}


def preset(name: str) -> dict[str, Any]:
    # not `load_preset`, which checks the kinds of stages
    return yaml.safe_load(files("openprm.presets").joinpath(f"{name}.yaml").read_text("utf-8"))


def test_the_arithmetic():
    stages = of(plan({"stages": STAGES, "assume": ASSUME}))
    assert (stages["prompts"].prompts, stages["some"].prompts) == (100, 20)
    samples = stages["samples"]
    assert (samples.samples, samples.tokens) == (160, 20 * 10)
    assert (samples.generated, samples.generated_at_most) == (160 * 40, 160 * 64)
    assert samples.gpu_hours == pytest.approx(2 * 1e6 * (200 + 6400) / (1e9 * 0.1 * 3600))
    rewarded = stages["rewarded"]
    assert (rewarded.rewards, rewarded.tokens) == (160, 160 * 50)
    assert rewarded.gpu_hours == pytest.approx(2 * 5e5 * 8000 / (1e9 * 0.5 * 3600))
    assert (stages["golden"].rewards, stages["golden"].gpu_hours, stages["golden"].tokens) == (160, 0, None)
    assert (stages["trees"].prompts, stages["pairs"].pairs, stages["helpsteer2"].pairs) == (20, 40, 50)
    trained = stages["prm"]
    assert (trained.pairs, trained.tokens) == (180, 2 * 2 * (40 * 50 + 50 * 50))
    assert trained.gpu_hours == pytest.approx(6 * 5e5 * 18_000 / (1e9 * 0.25 * 3600))
    answers = stages["answers"]
    assert (answers.prompts, answers.samples, answers.generated) == (20, 80, 80 * 40)
    assert stages["scores"].gpu_hours == rewarded.gpu_hours, "a model that starts from another has its parameters"


def test_sums_and_what_they_leave_out():
    whole = plan({"stages": STAGES, "assume": ASSUME})
    assert whole.unknown("gpu_hours") == []
    assert whole.total("gpu_hours") == pytest.approx(sum(stage.gpu_hours for stage in whole.stages))
    parts = plan({"stages": {**STAGES, "other": {**STAGES["samples"], "model": "org/big"}}, "assume": ASSUME})
    assert parts.unknown("gpu_hours") == ["other"]
    assert parts.total("gpu_hours") == pytest.approx(whole.total("gpu_hours"))


def test_steps_and_lengths_of_training():
    def trained(**options: Any) -> StagePlan:
        return of(plan({"stages": {**STAGES, "prm": {**STAGES["prm"], **options}}, "assume": ASSUME}))["prm"]

    stage = trained(max_steps=3, batch_size=30)
    assert (stage.pairs, stage.tokens) == (90, 2 * 90 * 50)
    assert trained(max_length=25).tokens == 2 * 2 * 90 * 25


@pytest.mark.parametrize("missing", [*ASSUME])
def test_nothing_is_made_up(missing: str):
    stages = of(plan({"stages": STAGES, "assume": {name: ASSUME[name] for name in ASSUME if name != missing}}))
    unknown = {name for name, stage in stages.items() if math.isnan(stage.gpu_hours)}
    expected = {
        "prompts": {"samples", "rewarded", "prm", "scores", "answers"},
        "pairs": {"prm"},
        "pairs_per_tree": {"prm"},
        "prompt_tokens": {"samples", "rewarded", "prm", "scores", "answers"},
        "response_tokens": {"samples", "rewarded", "prm", "scores", "answers"},
        "parameters": {"samples", "rewarded", "prm", "scores", "answers"},
        "gpu": {"samples", "rewarded", "prm", "scores", "answers"},
        "utilisation": {"samples", "rewarded", "prm", "scores", "answers"},
    }
    assert unknown == expected[missing]


def test_inputs_from_elsewhere_are_unknown():
    stages = {
        "samples": {"run": "candidates", "prompts": "org/prompts", "model": "org/policy"},
        "pairs": {"run": "pairs", "trees": "./trees", "min_gap": 1},
        "prm": {"run": "train", "pairs": {"a": "org/pairs"}, "base": "org/orm"},
        "judged": {"run": "reward", "candidates": "samples", "by": "judge", "model": "org/judge"},
        "evaluation": {"run": "evaluate", "candidates": "samples", "scores": {}},
    }
    made = plan({"stages": stages, "assume": ASSUME})
    assert made.unknown("gpu_hours") == ["samples", "prm", "judged"]
    assert made.unknown("samples") == ["samples"]
    assert math.isnan(made.total("samples"))


@given(st.integers(1, 100), st.integers(1, 300))
def test_a_limit_is_the_most_there_is(n: int, limit: int):
    stages = {
        "prompts": {"run": "prompts", "n": 100, "split": "train"},
        "some": {"run": "prompts", "prompts": "prompts", "limit": limit},
        "samples": {"run": "candidates", "prompts": "some", "model": "policy", "n": n, "max_new_tokens": 3},
    }
    samples = of(plan({"stages": stages}))["samples"]
    assert samples.samples == pytest.approx(min(limit, 100) * n)
    assert samples.generated_at_most == pytest.approx(min(limit, 100) * n * 3)


@pytest.mark.parametrize(
    ("assume", "message"),
    [
        ({"prompt": {"math": 5}}, "'prompt' is not known; it may say gpu, "),
        ({"prompts": {"math": "8e9"}}, r"prompts, math is '8e9', which is no number above 0; YAML reads 8e9 as text"),
        ({"prompts": {"math": 0}}, "no number above 0"),
        ({"gpu": {"flops": True}}, "no number above 0"),
    ],
)
def test_assumptions_that_are_none(assume: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        plan({"stages": STAGES, "assume": assume})


def test_a_comparison():
    compare = {"stage": "samples", "samples": 320, "hours": 2, "of": "Somebody"}
    made = plan({"stages": STAGES, "assume": ASSUME, "compare": compare})
    assert made.comparison is not None
    assert made.comparison.gpus == pytest.approx(of(made)["samples"].gpu_hours * 2 / 2)
    with pytest.raises(InputError, match="no stage 'nowhere'"):
        plan({"stages": STAGES, "compare": {**compare, "stage": "nowhere"}})


def printed(made: Plan) -> str:
    screen = Console(width=220, record=True, file=StringIO())
    print_plan(made, screen)
    return screen.export_text()


def test_what_is_printed():
    stages = {name: entry for name, entry in STAGES.items() if name != "scores"}  # of how many steps nobody knows
    text = printed(plan({"stages": stages, "assume": ASSUME}))
    assert "samples" in text
    assert "utilisation: sampling 0.1, rewarding 0.5, training 0.25" in text
    assert "unknown" not in text
    text = printed(plan({"stages": STAGES, "assume": {**ASSUME, "parameters": {"org/orm": 5}}}))
    assert "at least" in text
    assert "unknown GPU-hours: samples" in text
    assert "assumes nothing" in printed(plan({"stages": STAGES}))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (math.nan, "unknown"),
        (0.0, "0"),
        (39.16, "39.2"),
        (7500, "7,500"),
        (3_832_064, "3.83 M"),
        (989e12, "989 T"),
    ],
)
def test_numbers(value: float | None, text: str):
    assert number(value) == text


def test_tiny_declares_how_many():
    stages = of(plan(preset("tiny")))
    samples = [stage for stage in stages.values() if stage.kind == "candidates"]
    assert [stage.samples for stage in samples] == [32_000, 4_800, 38_400]
    assert [stage.generated_at_most for stage in samples] == [32_000 * 48, 4_800 * 48, 38_400 * 48]
    assert all(math.isnan(stage.gpu_hours) for stage in samples)


def test_the_papers_run_is_planned_whole():
    made = plan(preset("paper"))
    for what in (field.name for field in fields(StagePlan) if field.name not in ("name", "kind")):
        assert made.unknown(what) == [], what
    # 59,876 + 6,508 + 7,500 prompts for the 8B, 10,000 of UltraFeedback's for the 70B: 64 responses each
    assert made.total("samples") == pytest.approx(64 * (59_876 + 10_000 + 2 * (6_508 + 7_500)))
    stages = of(made)
    pairs = {
        source: sum(stage.pairs or 0 for name, stage in stages.items() if name.startswith("pairs-") and source in name)
        for source in ("ultrafeedback", "scienceqa", "math", "helpsteer2")
    }
    assert pairs == pytest.approx(
        {"ultrafeedback": 70_068, "scienceqa": 12_958, "math": 19_913, "helpsteer2": 7_221}, rel=1e-3
    )
    assert "3.84 M samples in 24 hours; here 3.83 M" in printed(made)


def test_the_papers_parameters():
    """Section 4.1, appendices B.1 and B.2."""
    stages = preset("paper")["stages"]
    earlier: list[str] = []
    kinds: dict[str, list[dict[str, Any]]] = {}
    for name, entry in stages.items():
        kinds.setdefault(entry["run"], []).append(entry)
        for key in ("prompts", "candidates", "trees"):
            assert entry.get(key) in [None, *earlier], name
        earlier.append(name)
    sampled = {field.name for field in fields(Sampling)}
    for entry in kinds["candidates"]:
        sampling = Sampling(**{name: value for name, value in entry.items() if name in sampled})
        assert (sampling.n, sampling.temperature, sampling.top_p, entry["engine"]) == (64, 0.5, 1.0, "vllm")
    assert sorted(entry["by"] for entry in kinds["reward"]) == ["choice", "choice", "math", "math", "model", "model"]
    for entry in kinds["trees"]:
        parameters = {name: value for name, value in entry.items() if name not in ("run", "candidates")}
        assert MergeParameters(**parameters) == MergeParameters(".\n", "levenshtein", 0.88, False)
    for entry in kinds["pairs"]:
        wanted = 1.0 if "ultrafeedback" in entry["trees"] else 0.2
        assert MinGap.parse(str(entry["min_gap"])) == MinGap(wanted)
        assert PairParameters(select=entry["select"]) == PairParameters()
    assert {entry["source"] for entry in kinds["prompts"] if "source" in entry} <= set(PROMPT_SOURCES)
    assert [entry["source"] for entry in kinds["preferences"]] == ["helpsteer2"]
    assert "helpsteer2" in PAIR_SOURCES
    [trained] = kinds["train"]
    assert set(trained["pairs"].values()) == {name for name in stages if name.startswith("pairs-")}
    wanted = {"learning_rate": 1e-6, "num_train_epochs": 1, "batch_size": 64, "max_length": 2048, "base": "orm"}
    assert {name: trained[name] for name in wanted} == wanted


def test_what_is_assumed_of_the_paper_is_what_its_sources_say():
    assume = preset("paper")["assume"]
    assert assume["prompts"] == {
        name: source.paper_rows for name, source in PROMPT_SOURCES.items() if source.paper_rows
    }
    assert assume["pairs"] == {name: source.paper_rows for name, source in PAIR_SOURCES.items() if source.paper_rows}


def test_the_papers_training_options_are_options():
    from openprm.training.trainer import OpenPRMConfig

    known = {field.name for field in fields(OpenPRMConfig)}
    options = set(preset("paper")["stages"]["openprm"]) - {"run", "pairs", "base"}
    assert options <= known


@pytest.mark.parametrize(("key", "value"), [("n", "many"), ("max_new_tokens", "64"), ("n", True)])
def test_what_is_no_number_is_said_with_its_stage(key: str, value: Any):
    stages = {**STAGES, "samples": {**STAGES["samples"], key: value}}
    with pytest.raises(InputError, match=rf"stage 'samples': {key} is {value!r}, which is no number"):
        plan({"stages": stages, "assume": ASSUME})


def test_assumptions_are_by_name():
    with pytest.raises(InputError, match="assume: prompts is 3; give a number for each name"):
        plan({"stages": STAGES, "assume": {"prompts": 3}})
