"""What a preset leaves open: settings, changed parameters, seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.presets import preset as preset_module  # noqa: F401 (declares the stages)
from openprm.presets.settings import fill_in, read_changes, repeat_by_seed

STAGES: dict[str, Any] = {
    "trees": {"run": "trees", "candidates": "$data", "separator": "$separator", "num_proc": 2},
    "pairs": {"run": "pairs", "trees": "trees"},
    "orm": {"run": "train", "pairs": {"pairs": "pairs"}, "base": "x/y", "seeds": "$seeds"},
    "prm": {"run": "train", "pairs": {"pairs": "pairs"}, "base": "orm", "seeds": "$seeds"},
    "scores": {"run": "score", "candidates": "x/y", "model": "orm"},
    "benchmarks": {"run": "evaluate", "models": {"prm": "prm"}, "on": {"llmbar": "pairs.jsonl"}},
    "evaluation": {"run": "choices", "candidates": "x/y", "scores": {"orm": "scores", "other": "x/z"}},
}
SETTINGS = {"data": None, "separator": None, "seeds": 2}


def test_settings_stand_for_values_and_null_for_what_the_stage_has():
    filled = fill_in(STAGES, SETTINGS, {"data": "a.jsonl", "seeds": "[3, 5]"})
    assert filled["trees"] == {"run": "trees", "candidates": "a.jsonl", "num_proc": 2}
    assert filled["orm"]["seeds"] == [3, 5]
    assert STAGES["trees"]["candidates"] == "$data"


def test_a_stage_s_parameters_can_be_changed():
    changes = read_changes([r"trees.separator=a\n=b", "trees.threshold=0.5", "evaluation.aggregations=[min]"])
    filled = fill_in(STAGES, SETTINGS, changes)
    assert filled["trees"] | {"separator": "a\n=b", "threshold": 0.5} == filled["trees"]
    assert filled["evaluation"]["aggregations"] == ["min"]


def test_null_leaves_a_parameter_out():
    stages = {**STAGES, "prompts": {"run": "prompts", "declared": "ifeval", "limit": 3}}
    changes = read_changes(["prompts.declared=null", "prompts.limit=null", "trees.separator=null"])
    filled = fill_in(stages, SETTINGS, changes)
    assert filled["prompts"] == {"run": "prompts"}
    assert filled["trees"]["separator"] == "null", "which may be a text"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sedes": "3"}, "no setting 'sedes'; did you mean 'seeds'"),
        ({"tree.separator": "line"}, "no stage 'tree'; did you mean 'trees'"),
        ({"trees.seperator": "line"}, "trees has no parameter 'seperator'; did you mean 'separator'"),
    ],
)
def test_what_is_not_there_is_named(given: dict[str, str], message: str):
    with pytest.raises(InputError, match=message):
        fill_in(STAGES, SETTINGS, given)
    with pytest.raises(InputError, match=r"stage 'a' names \$dta; did you mean 'data'"):
        fill_in({"a": {"run": "trees", "candidates": "$dta"}}, SETTINGS, {})
    for texts in (["seeds"], ["seeds=1", "seeds=2"]):
        with pytest.raises(InputError, match="each name once"):
            read_changes(texts)


def test_a_stage_is_made_for_each_seed_and_so_is_what_takes_it():
    made = repeat_by_seed(fill_in(STAGES, SETTINGS, {"data": "a"}))
    names = ["trees", "pairs", "orm-0", "orm-1", "prm-0", "prm-1", "scores-0", "scores-1", "benchmarks"]
    assert list(made) == [*names, "evaluation"]
    assert made["benchmarks"]["kinds"] == {"prm": ["prm-0", "prm-1"]}
    assert made["benchmarks"]["on"] == {"llmbar": "pairs.jsonl"}
    assert (made["orm-1"]["seed"], made["prm-1"]["base"], made["prm-1"]["seed"]) == (1, "orm-1", 1)
    assert made["scores-1"] == {"run": "score", "candidates": "x/y", "model": "orm-1"}
    assert made["evaluation"]["scores"] == {"orm-0": "scores-0", "orm-1": "scores-1", "other": "x/z"}
    assert made["evaluation"]["kinds"] == {"orm": ["orm-0", "orm-1"]}
    searched = {
        "pbs": {"run": "search", "model": "x/y", "prm": "orm"},
        "found": {**STAGES["evaluation"], "curve": True},
    }
    searched["found"] |= {"scores": {"orm": "scores"}, "answers": {"pbs": "pbs"}}
    found = repeat_by_seed({**fill_in(STAGES, SETTINGS, {"data": "a"}), **searched})["found"]
    assert found["answers"] == {"pbs-0": "pbs-0", "pbs-1": "pbs-1"}
    assert list(found["kinds"]) == ["orm"], "searches are no models"
    one = {name: {key: value for key, value in entry.items() if key != "seeds"} for name, entry in STAGES.items()}
    assert repeat_by_seed(one) == one


@pytest.mark.parametrize("seeds", [0, [], "two", [1, "x"], 1.5])
def test_seeds_are_numbers(tmp_path: Path, seeds: Any):
    with pytest.raises(InputError, match=r"stage 'orm': seeds are .*; give a number of seeds, or a list"):
        repeat_by_seed({"orm": {**STAGES["orm"], "seeds": seeds}})


def test_seeds_of_what_is_taken_are_the_same():
    with pytest.raises(InputError, match="stage 'prm' takes stages of other seeds"):
        repeat_by_seed({"orm": {**STAGES["orm"], "seeds": 2}, "prm": {**STAGES["prm"], "seeds": 3}})
