"""One rule for every stage: what was made with other parameters or inputs is replaced only on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from openprm.errors import InputError
from openprm.evaluation.probes import PROBES
from openprm.presets import preset  # noqa: F401 (declares all stages)
from openprm.runs.declaration import STAGES, Stage, input_names, options_of
from openprm.runs.manifest import WORK, partial_folder
from openprm.schema import Candidate
from tests.folders import Killed, candidate, contents, dataset

#: By stage, what it needs; a word in capitals is one of the inputs that `needs` makes.
NEEDED: dict[str, dict[str, Any]] = {
    "prompts": {"prompts": "FILE"},
    "constraints": {"instructions": "FILE", "n": 1},
    "import": {"candidates": "FILE"},
    "split": {"candidates": "FOLDER", "subset": "train"},
    "preferences": {"preferences": "FILE"},
    "sample": {"prompts": "FOLDER", "model": "MODEL", "branch": "1"},
    "reward": {"candidates": "FOLDER", "by": "answer"},
    "trees": {"candidates": "FILE"},
    "label": {"labels": "FOLDER", "by": "labels"},
    "rollouts": {"candidates": "FILE", "model": "MODEL", "by": "answer"},
    "judge-steps": {"candidates": "FILE", "model": "judge"},
    "label-pairs": {"labels": "FOLDER"},
    "pairs": {"trees": "FOLDER"},
    "train": {"pairs": {"pairs": "FOLDER"}, "base": "MODEL"},
    "score": {"candidates": "FOLDER", "model": "MODEL"},
    "choices": {"candidates": "FOLDER", "scores": {"prm": "FOLDER"}},
    "evaluate": {"models": {"prm": "MODEL"}, "on": {"llmbar": "FILE"}},
    "search": {"model": "MODEL", "prompts": "FOLDER", "prm": "MODEL"},
    "publish": {"candidates": {"train": "FOLDER"}, "license": "mit"},
    "convert": {"model": "MODEL"},
    "toy-prompts": {"n": 1, "split": "train"},
    "toy-policy": {},
    "toy-solutions": {"prompts": "FOLDER", "n": 1},
    "toy-labels": {"candidates": "FOLDER", "by": "value"},
}
#: Values that not any would do for.
OTHER = {
    "by": {
        "reward": "math",
        "rollouts": "math",
        "label": "trl",
        "toy-labels": "position",
        "search": "math",
        "choices": "math",
    },
    **{
        "min_gap": {"pairs": "0.5sd", "label-pairs": 0.5},
        "mode": "binary",
        "at": "error",
        "select": {"pairs": "all", "label-pairs": "all"},
    },
    **{"method": "pbs", "budget": 4, "engine": "vllm", "prm_engine": "vllm", "equivalence": "option"},
    **{"declared": {"prompts": "math", "preferences": "helpsteer2"}, "shard": "1/2", "aggregation": "mean"},
    **{"answer_pattern": "stated", "subset": "test", "similarity": "indel", "linkage": "complete"},
    **{"suite": "paper", "branch": "8", "probes": [*PROBES][:1]},
    "constraints": ["punctuation:no_comma"],
    "kinds": {kind: {"ours": ["prm"]} for kind in ("choices", "evaluate")},
}
#: Beside a parameter, what else must be given for it to be taken.
BESIDE: dict[str, dict[str, Any]] = {
    "stop": {"branch": None},
    "right_above": {"by": "model", "outcome_model": "MODEL", "right_above": 0.5},
}
#: What a stage refuses in itself here, or what makes another engine of it.
LEFT_OUT = {
    *("revision", "prm_revision", "servers", "prm_servers", "early_rejection", "checkpoint", "prm_checkpoint"),
    *("demo", "source_licenses"),
    *(() if PROBES else ("probes",)),
}


@pytest.fixture
def needs(tmp_path: Path, base: Path) -> dict[str, str]:
    (tmp_path / "a.jsonl").write_text('{"question": "q", "response": "r", "reward": 1}\n')
    folder = dataset(tmp_path / "folder", Candidate, [candidate("p", 0, "r", 1.0)])
    return {"FILE": str(tmp_path / "a.jsonl"), "FOLDER": str(folder), "MODEL": str(base)}


@pytest.fixture
def does(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, bool], None]:
    """Makes the stages of a kind write a text, and then, unless they end, be killed."""

    def change(kind: str, text: str, ends: bool = True) -> None:
        def work(stage: Stage, folder: Path) -> Mapping[str, Any]:
            shard = folder / WORK / "00000.parquet"
            shard.write_text(shard.read_text() + text if shard.exists() else text)
            (folder / "data.txt").write_text(shard.read_text())
            if not ends:
                raise Killed
            return {"files_hash": text, "counts": {}}

        monkeypatch.setattr(STAGES[kind], "work", work)

    return change


def made(kind: str, needs: Mapping[str, str]) -> Stage:
    def given(value: Any) -> Any:
        return (
            {name: needs[one] for name, one in value.items()} if isinstance(value, dict) else needs.get(value, value)
        )

    return STAGES[kind](**{name: given(value) for name, value in NEEDED[kind].items()})


def other_value(kind: str, field: Any, hint: Any, value: Any) -> Any:
    if field.name in OTHER:
        found = OTHER[field.name]
        return found[kind] if isinstance(found, dict) else found
    if get_origin(hint) is dict:
        return {"other": {str: "text", Any: 8}.get(get_args(hint)[1], ["a"])}
    if get_origin(hint) is list:
        return [{str: "other", float: 0.25}[get_args(hint)[0]]]
    kinds = [part for part in (*get_args(hint), hint) if part is not type(None)]
    return not value if kinds[0] is bool else {str: "other", int: 3, float: 0.25}[kinds[0]]


FIELDS = [
    (kind, field, hint)
    for kind in NEEDED
    for field, hint in options_of(STAGES[kind])
    if field.metadata["role"] != "input" and field.name not in LEFT_OUT
]


def test_every_stage_is_here():
    assert NEEDED.keys() == STAGES.keys()


@pytest.mark.parametrize(("kind", "field", "hint"), FIELDS, ids=[f"{kind}-{field.name}" for kind, field, _ in FIELDS])
def test_other_parameters_are_refused_and_other_ways_to_work_are_not(
    tmp_path: Path, needs: dict[str, str], does: Callable[..., None], kind: str, field: Any, hint: Any
):
    beside = {name: needs.get(value, value) for name, value in BESIDE.get(field.name, {}).items()}
    stage, out = replace(made(kind, needs), **beside), tmp_path / "out"
    other = replace(stage, **{field.name: other_value(kind, field, hint, getattr(stage, field.name))})
    does(kind, "first")
    stage.run(out)
    before, is_parameter = contents(out), field.metadata["role"] == "parameter"
    does(kind, "second")
    if is_parameter:
        with pytest.raises(InputError, match=rf"out was made with .*\b{field.name} .*, not .*replace it by --force"):
            other.run(out)
    else:
        other.run(out)
    assert contents(out) == before

    out = tmp_path / "unfinished"
    does(kind, "first", ends=False)
    with pytest.raises(Killed):
        stage.run(out)
    before = contents(partial_folder(out) / WORK)
    if is_parameter:
        with pytest.raises(InputError, match=rf"holds unfinished work with .*\b{field.name} .*, not .*--force"):
            other.run(out)
        assert contents(partial_folder(out) / WORK) == before
    else:
        does(kind, "second", ends=False)
        with pytest.raises(Killed):
            other.run(out)
        assert (partial_folder(out) / "data.txt").read_text() == "firstsecond"


@pytest.mark.parametrize("kind", [kind for kind in NEEDED if input_names(STAGES[kind]) and kind != "publish"])
def test_an_input_that_changed_is_another_parameter(
    tmp_path: Path, needs: dict[str, str], does: Callable[..., None], kind: str
):
    (tmp_path / "model").mkdir()
    for file in Path(needs["MODEL"]).iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    needs["MODEL"] = str(tmp_path / "model")
    does(kind, "first")
    made(kind, needs).run(tmp_path / "out")
    before = contents(tmp_path / "out")
    does(kind, "second")
    Path(needs["FILE"]).write_text('{"question": "q", "response": "s", "reward": 1}\n')
    dataset(tmp_path / "changed", Candidate, [candidate("p", 0, "another answer", 1.0)])
    (tmp_path / "folder").rename(tmp_path / "old")
    (tmp_path / "changed").rename(tmp_path / "folder")
    (tmp_path / "model" / "merges.txt").write_text("changed")
    with pytest.raises(InputError, match=r"out was made with another content of .*--force"):
        made(kind, needs).run(tmp_path / "out")
    assert contents(tmp_path / "out") == before
    made(kind, needs).run(tmp_path / "out", force=True)
    assert (tmp_path / "out" / "data.txt").read_text() == "second"
