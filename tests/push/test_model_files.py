"""A model's repository gives the checkpoint back byte for byte, or is not laid out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openprm.push.layout import publish_locally

from openprm.errors import InputError
from openprm.hub.publication import MODEL, open_publication, restore
from openprm.models.reward_checkpoint import load_reward_model, save_reward_model
from openprm.runs.manifest import files_hash, run_stage
from tests import tiny_models


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    tokenizer = tiny_models.tokenizer()
    tiny_models.model(vocab_size=len(tokenizer)).save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    (root / "reward").mkdir()
    save_reward_model(*load_reward_model(root / "base"), root / "reward")
    shutil.copytree(root / "base", root / "policy")  # with the weights of another kind, which nobody loads
    config = json.loads((root / "policy" / "config.json").read_text("utf-8"))
    config["architectures"] = ["LlamaForCausalLM"]
    (root / "policy" / "config.json").write_text(json.dumps(config), "utf-8")
    return root


def checkpoint(source: Path, out: Path, change: Callable[[Path], Any] = lambda folder: None) -> str:
    def work(folder: Path) -> dict[str, Any]:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        change(folder)
        return {"files_hash": files_hash(folder), "counts": {}}

    run_stage(out, "model", {"levels": ["process"]}, {}, work)
    return str(out)


def write(name: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("something", "utf-8")

    return change


@pytest.mark.parametrize("kind", ["reward", "policy"])
@pytest.mark.parametrize(
    "name", ["left_out.jsonl", "additional_chat_templates/rag.jinja", "code/deep/README.md", ".x/y"]
)
def test_a_checkpoint_is_given_back_with_its_folders(trained: Path, tmp_path: Path, kind: str, name: str):
    model = checkpoint(trained / kind, tmp_path / "made", write(name))
    publish_locally(tmp_path / "hub", models={"prm": model}, license="mit")
    manifest = restore(open_publication(tmp_path / "hub" / "openprm" / "prm"), MODEL, tmp_path / "restored")
    assert files_hash(tmp_path / "restored") == manifest["files_hash"] == files_hash(model)
    assert [path.name for path in (tmp_path / "hub").iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["steps.py", "pipeline.py", "statistics.png"])
def test_a_file_that_publishing_adds_may_not_be_there(trained: Path, tmp_path: Path, name: str):
    model = checkpoint(trained / "reward", tmp_path / "made", write(name))
    with pytest.raises(InputError, match=f"the checkpoint has a file {name}"):
        publish_locally(tmp_path / "hub", models={"prm": model}, license="mit")
    policy = checkpoint(trained / "policy", tmp_path / "policy", write(name))  # to which nothing is added
    publish_locally(tmp_path / "hub", models={"policy": policy}, license="mit")


def test_a_config_with_a_pipeline_could_not_be_given_back(trained: Path, tmp_path: Path):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        text = json.dumps({**config, "custom_pipelines": {}}, indent=2, sort_keys=True) + "\n"
        (folder / "config.json").write_text(text, "utf-8")

    model = checkpoint(trained / "reward", tmp_path / "made", change)
    with pytest.raises(InputError, match="names a pipeline of its own"):
        publish_locally(tmp_path / "hub", models={"prm": model}, license="mit")


@pytest.mark.parametrize("kind", ["reward", "policy"])
def test_a_checkpoint_that_was_changed_is_not_published(trained: Path, tmp_path: Path, kind: str):
    model = checkpoint(trained / kind, tmp_path / "made")
    (Path(model) / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(InputError, match=r"is not as its manifest.json says"):
        publish_locally(tmp_path / "hub", models={"prm": model}, license="mit")
    assert not (tmp_path / "hub").exists()
