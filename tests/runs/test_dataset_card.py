"""The card of a dataset: YAML that `datasets` reads, words for people."""

from __future__ import annotations

import ast
from importlib.resources import files

import jinja2
import pytest
import yaml
from datasets import load_dataset

from openprm.runs.dataset_card import SplitFiles, dataset_header, literal, render, shown, write_card
from openprm.runs.folder import shard_path, write_shard
from openprm.schema import Pair, Prompt, features

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


def test_values_as_people_read_them():
    assert [shown(value) for value in (True, 1234567, 0.88, 2e-06, 1.0)] == ["yes", "1,234,567", "0.88", "2e-06", "1"]
    assert shown(".\n") == "`.\\n`"
    assert shown("a|b") == "`a\\|b`"
    assert shown(["a", 1]) == "`a`, 1"


def test_literals_are_python():
    value = {"question": [{"role": "user", "content": 'A "quote",\na ü, <tag> and \\'}]}
    assert ast.literal_eval(literal(value)) == value


def test_a_header_takes_fields_of_ones_own():
    splits = {"test": SplitFiles("data/test-*.parquet", 1, 10)}
    header = dataset_header(Pair, {"default": splits}, license="mit", size_categories=["n<1K"])
    data = yaml.safe_load(header.strip().strip("-"))
    assert (data["license"], data["size_categories"]) == ("mit", ["n<1K"])
    assert data["dataset_info"]["config_name"] == "default"


@pytest.mark.parametrize("name", sorted(path.name for path in files("openprm.cards").iterdir()))
def test_templates_are_jinja_and_name_no_host(name):
    source = files("openprm.cards").joinpath(name)
    if name.endswith(".j2"):
        jinja2.Environment().parse(source.read_text("utf-8"))
        assert "http" not in source.read_text("utf-8")
