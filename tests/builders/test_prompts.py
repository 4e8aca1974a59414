"""The builder of prompts: a config for each declared source, and files of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openprm.builders.prompts import Prompts

from openprm.data.paper_datasets import PROMPT_SOURCES
from openprm.data.prompts import DeclaredPrompts, PromptFile
from openprm.runs.folder import read_rows
from openprm.schema import Prompt, features
from openprm.stages.prompts import make_prompts
from tests import public_data
from tests.answers import write_jsonl


def builder(tmp_path: Path, **options: Any) -> Prompts:
    return Prompts(cache_dir=str(tmp_path / "cache"), **options)


def test_a_config_for_each_declared_source():
    assert [*Prompts.builder_configs] == [*PROMPT_SOURCES]


def test_the_stages_rows(tmp_path):
    folder = str(public_data.math(tmp_path / "m", {}))
    math = builder(tmp_path, config_name="math", source=DeclaredPrompts("math", folder))
    math.download_and_prepare()
    rows = math.as_dataset(split="train")
    make_prompts(DeclaredPrompts("math", folder), tmp_path / "out")
    assert rows.features == features(Prompt)
    assert list(rows) == list(read_rows(tmp_path / "out"))


def test_a_file_of_ones_own(tmp_path):
    file = write_jsonl(tmp_path / "mine.jsonl", [{"question": f"{n}?"} for n in range(20)])
    prompts = builder(tmp_path, source=PromptFile(file), limit=5)
    prompts.download_and_prepare()
    assert len(prompts.as_dataset(split="train")) == 5


def test_what_differs_lies_elsewhere(tmp_path):
    file = write_jsonl(tmp_path / "mine.jsonl", [{"question": "1?"}])
    options: list[dict[str, Any]] = [
        {"config_name": "math"},
        {"config_name": "scienceqa"},
        {"config_name": "math", "limit": 5},
        {"source": PromptFile(file)},
        {"source": PromptFile(file), "limit": 5},
        {"source": PromptFile(file), "limit": 5, "seed": 1},
    ]
    places = [builder(tmp_path, **option).cache_dir for option in options]
    assert len(set(places)) == len(options)
    assert places == [builder(tmp_path, **option).cache_dir for option in options]
    write_jsonl(tmp_path / "mine.jsonl", [{"question": "2?"}])
    assert builder(tmp_path, source=PromptFile(file)).cache_dir not in places


def test_another_commit_lies_elsewhere(tmp_path, monkeypatch):
    before = builder(tmp_path, config_name="math").cache_dir
    monkeypatch.setitem(PROMPT_SOURCES, "math", replace(PROMPT_SOURCES["math"], revision="0" * 40))
    assert builder(tmp_path, config_name="math").cache_dir != before


def test_the_source_must_be_named(tmp_path):
    with pytest.raises(ValueError, match=r"available configs: .*'scienceqa', 'math'"):
        builder(tmp_path)
    with pytest.raises(ValueError, match="say where the prompts are"):
        builder(tmp_path, limit=5)
