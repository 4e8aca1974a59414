"""A stage is declared once: its parameters, inputs and manifest follow from its fields."""

from __future__ import annotations

from typing import Any, get_args, get_origin

import pytest

import openprm.stages  # noqa: F401 (declares them)
from openprm.errors import InputError
from openprm.evaluation.probes import PROBES
from openprm.runs.declaration import STAGES, Stage, input_names, make_stage, nearest, options_of, stage_from_manifest
from openprm.stages.train import Train

#: Values that not any would do for.
VALUES = {"declared": None, "subset": "test", "shard": "2/3", "stop": ["\n\n", r"END\n"], "curve": True}
VALUES |= {
    "rubric": "@name: {x}\n",
    "similarity": "embedding",
    "linkage": "complete",
    "min_gap": "q0.9",
    "equivalence": "option",
}
VALUES |= {"kinds": {"ours": ["models", "mine"]}, "probes": [*PROBES], "suite": "paper"}
VALUES |= {"branch": "3", "aggregation": "mean", "constraints": ["punctuation:no_comma"]}
VALUES |= {"on": {"llmbar": __file__}}  # which is read for its hash


#: What does not fit beside the other options.
WITHOUT: dict[str, dict[str, Any]] = {
    "sample": {"branch": None, "separator": None},
    "label": {"by": "consensus", "scores": None},
    "rollouts": {"by": "answer", "outcome_model": None, "right_above": None, "mode": "binary", "servers": []},
    "label-pairs": {"at": "error", "select": "all", "min_gap": 0.5},
}


def with_every_option(kind: str) -> Stage:
    """A stage none of whose parameters has its default, as far as they fit together."""
    stage = STAGES[kind]
    values = {field.name: other_value(field, hint) for field, hint in options_of(stage)}
    return stage(**{**values, **WITHOUT.get(kind, {})})


def other_value(field: Any, hint: Any) -> Any:
    if field.name in VALUES:
        return VALUES[field.name]
    if get_origin(hint) is dict:
        item = {str: "a b=c's", Any: 8}.get(get_args(hint)[1], ["a", "b"])
        return {field.name: item, "mine": item}
    if get_origin(hint) is list:
        return {str: ["one", "an other"], float: [0.25]}[get_args(hint)[0]]
    kind = next(part for part in (*get_args(hint), hint) if part is not type(None))
    if kind is bool:
        return not field.default
    return {str: "a\nb" if "escapes" in field.metadata else "it's, so", int: 3, float: 0.25}[kind]


@pytest.mark.parametrize("kind", ["choices", "import", "pairs", "preferences", "prompts", "train", "trees"])
def test_a_stage_is_rebuilt_from_its_manifest(kind: str):
    stage = with_every_option(kind)
    manifest = {"stage": kind, "parameters": stage.recorded()}
    again = stage_from_manifest(manifest, stage.inputs())
    assert type(again) is type(stage)
    assert (again.recorded(), again.inputs()) == (stage.recorded(), stage.inputs())
    assert [getattr(again, name) for name in input_names(type(stage))] == [
        getattr(stage, name) for name in input_names(type(stage))
    ]


def test_what_has_no_value_is_not_recorded():
    stage = Train(pairs={"pairs": "p"}, base="b")
    assert stage.inputs() == {"pairs": "p", "base": "b"}
    assert {"batch_size", "levels"} <= stage.recorded().keys()
    assert stage.recorded().keys().isdisjoint({"pairs", "base", "separator", "max_steps", "trainer_options"})
    with pytest.raises(InputError, match="two inputs are called 'base'"):
        Train(pairs={"base": "p"}, base="b").inputs()


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("tree", {}, "there is no stage 'tree'; did you mean 'trees'?"),
        ("trees", {"candidates": "c", "treshold": 0.9}, "no parameter 'treshold'; did you mean 'threshold'?"),
        ("trees", {"candidates": "c", "zzz": 1}, "no parameter 'zzz'; there are candidates, distinct_answers,"),
        ("trees", {"threshold": 0.9}, "trees needs `candidates`: Candidates: a JSONL"),
        ("trees", {"candidates": "c", "threshold": "high"}, "threshold is 'high': Input should be a valid number"),
        ("trees", {"candidates": "c", "where": ["a"]}, "where is .*valid dictionary"),
    ],
)
def test_keys_and_values_that_cannot_be_are_named(kind: str, values: dict[str, Any], message: str):
    with pytest.raises(InputError, match="my.yaml: .*" + message):
        make_stage(kind, values, "my.yaml")


def test_values_are_converted_as_yaml_means_them():
    stage: Any = make_stage("pairs", {"trees": "t", "min_gap": 0.5, "min_support": 2}, "my.yaml")
    assert (stage.min_gap, stage.min_support) == ("0.5", 2)


def test_manifests_that_are_not_rebuilt():
    parameters = {"trust_remote_code": True}
    for manifest, message in [
        ({"stage": "unknown", "parameters": {}}, "describes no stage of this version"),
        ({"stage": "trees", "parameters": None}, "describes no stage of this version"),
        ({"stage": "score", "parameters": parameters}, "--trust-remote-code"),
    ]:
        with pytest.raises(InputError, match=message):
            stage_from_manifest(manifest, {})


def test_the_nearest_name():
    assert nearest("treshold", ["threshold", "seed"]) == "; did you mean 'threshold'?"
    assert nearest("x", ["b", "a"]) == "; there are a, b"
