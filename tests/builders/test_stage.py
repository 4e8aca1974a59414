"""The builders: the rows of their stages, cached until an input or a parameter changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openprm.builders.candidates import Candidates
from openprm.builders.labels import Labels
from openprm.builders.pairs import Pairs
from openprm.builders.preferences import Preferences
from openprm.builders.prompts import Prompts
from openprm.builders.trees import Trees

from openprm.data.benchmark_prompts import DECLARED_PROMPTS
from openprm.data.paper_datasets import PAIR_SOURCES
from openprm.errors import InputError
from openprm.runs.folder import read_rows
from openprm.schema import features
from tests import public_data
from tests.answers import answers, write_jsonl


def builder(kind: type, tmp_path: Path, **options: Any) -> Any:
    return kind(cache_dir=str(tmp_path / "cache"), **options)


def built(kind: type, tmp_path: Path, **options: Any) -> Any:
    made = builder(kind, tmp_path, **options)
    made.download_and_prepare()
    return made


@pytest.fixture
def file(tmp_path: Path) -> str:
    return write_jsonl(tmp_path / "a.jsonl", answers(6))


def options_for(kind: type, tmp_path: Path, file: str) -> dict[str, Any]:
    """A builder's options, on files made for it."""
    if kind is Candidates:
        return {"candidates": file}
    if kind is Trees:
        return {"candidates": file, "separator": "line", "threshold": 0.7}
    if kind is Pairs:
        Trees.BUILDER_CONFIG_CLASS(candidates=file).stage().run(tmp_path / "trees")
        return {"trees": str(tmp_path / "trees"), "min_gap": "0.5sd", "select": "all"}
    if kind is Labels:
        rows = [{"problem": f"{n}?", "steps": ["a", "b"], "label": n % 3 - 1} for n in range(6)]
        return {"labels": write_jsonl(tmp_path / "given.jsonl", rows), "by": "processbench"}
    if kind is Prompts:
        return {"config_name": "math", "prompts": str(public_data.math(tmp_path / "m", {}))}
    rows = public_data.helpsteer2_rows(("one?", [("good", 4), ("bad", 1)]), ("two?", [("a", 1), ("b", 2)]))
    return {"config_name": "helpsteer2", "preferences": str(public_data.helpsteer2(tmp_path / "h", rows))}


@pytest.mark.parametrize("kind", [Candidates, Trees, Labels, Pairs, Prompts, Preferences])
def test_rows_are_those_of_the_stage(tmp_path: Path, file: str, kind: Any):
    made = built(kind, tmp_path, **options_for(kind, tmp_path, file))
    rows = made.as_dataset(split="train")
    made.config.stage().run(tmp_path / "out")
    assert rows.features == features(kind.RECORD)
    assert list(rows) == list(read_rows(tmp_path / "out"))


def test_the_cache_follows_inputs_and_parameters(tmp_path: Path, file: str):
    options: list[dict[str, Any]] = [{}, {"separator": "line"}, {"threshold": 0.5}, {"separators": {"a": "line"}}]
    places = [builder(Trees, tmp_path, candidates=file, **option).cache_dir for option in options]
    assert len(set(places)) == 4
    assert places == [builder(Trees, tmp_path, candidates=file, **option).cache_dir for option in options]
    write_jsonl(Path(file), answers(7))
    again = built(Trees, tmp_path, candidates=file)
    assert again.cache_dir != places[0]
    assert len(again.as_dataset(split="train")) == 7


def test_a_config_for_each_declared_dataset(tmp_path: Path):
    assert [*Prompts.builder_configs] == [*DECLARED_PROMPTS]
    assert [*Preferences.builder_configs] == [*PAIR_SOURCES]
    places = {builder(Prompts, tmp_path, config_name=name).cache_dir for name in DECLARED_PROMPTS}
    assert len(places) == len(DECLARED_PROMPTS)


def test_files_of_ones_own(tmp_path: Path):
    questions = write_jsonl(tmp_path / "mine.jsonl", [{"question": f"{n}?"} for n in range(20)])
    assert len(built(Prompts, tmp_path, prompts=questions, limit=5).as_dataset(split="train")) == 5
    preferences = write_jsonl(tmp_path / "preferred.jsonl", [{"q": "Why?", "good": "so", "bad": "no"}])
    columns = {"question_column": "q", "chosen_column": "good", "rejected_column": "bad"}
    (row,) = built(Preferences, tmp_path, preferences=preferences, **columns).as_dataset(split="train")
    assert (row["chosen"], row["rejected"]) == ("so", "no")


def test_what_is_missing_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match="the builder: import needs `candidates`: Candidates: "):
        builder(Candidates, tmp_path)
    with pytest.raises(InputError, match="preferences need a file"):
        builder(Preferences, tmp_path, question_column="q")
    with pytest.raises(InputError, match="there is no such file or folder"):
        builder(Candidates, tmp_path, candidates=str(tmp_path / "b.jsonl"))
