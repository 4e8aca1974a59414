"""The card of a dataset: YAML that `datasets` reads, words for people."""

from __future__ import annotations

import jinja2
import pytest
import yaml
from datasets import load_dataset

from openprm.card import SplitFiles, render, write_card
from openprm.folder import shard_path, write_shard
from openprm.records import Pair, Prompt, features

PROMPT = {"schema_version": 1, "prompt_id": "p", "source": "s", "question": [], "reference": None}


def card(folder) -> tuple[dict, str]:
    _, yaml_text, body = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(yaml_text), body


def test_one_split(tmp_path):
    write_shard(tmp_path, 0, [PROMPT] * 3, Prompt)
    splits = {"train": SplitFiles("data/train-*.parquet", 3, shard_path(tmp_path, 0).stat().st_size)}
    write_card(tmp_path, Prompt, "prompts", {"default": splits}, {"mean_reward": 0.5, "levels": {"a": 1}})
    data, body = card(tmp_path)
    assert data["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}
    ]
    assert [(split["name"], split["num_examples"]) for split in data["dataset_info"]["splits"]] == [("train", 3)]
    assert "# Prompts\n\nInstructions with their golden answers." in body
    assert "| default | train | 3 |" in body
    assert "| mean reward | 0.5 |" in body
    assert "levels" not in body
    loaded = load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features == features(Prompt)
    assert list(loaded) == [PROMPT] * 3


def test_several_configs(tmp_path):
    splits = {"test": SplitFiles("outcome/test-*.parquet", 1, 10)}
    write_card(tmp_path, Pair, "pairs", {"process": splits, "outcome": splits}, {})
    data, body = card(tmp_path)
    assert [(config["config_name"], config.get("default")) for config in data["configs"]] == [
        ("process", True),
        ("outcome", None),
    ]
    assert [info["config_name"] for info in data["dataset_info"]] == ["process", "outcome"]
    assert 'load_dataset("path/to/this/folder", "process", split="test")' in body


def test_a_field_without_a_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'title' is undefined"):
        render("folder.md.j2", description="", splits=[("default", "train", 1)], facts=[])
