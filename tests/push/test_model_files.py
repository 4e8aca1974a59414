"""A model's repository gives the checkpoint back byte for byte, or is not laid out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openprm.push.publish import Publish

from openprm.errors import InputError
from openprm.hub.publication import MODEL, open_publication, restore
from openprm.runs.manifest import files_hash
from tests.publication import Fields, copy_model


def checkpoint(fields: Fields, kind: str, out: Path, change: Callable[[Path], Any] = lambda folder: None) -> str:
    def work(folder: Path) -> None:
        if kind == "policy":  # with the weights of another kind, which are not loaded here
            set_config(folder, architectures=["LlamaForCausalLM"])
        change(folder)

    return copy_model(fields["models"]["prm"], out, work)


def set_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    text = json.dumps({**config, **values}, indent=2, sort_keys=True) + "\n"
    (folder / "config.json").write_text(text, "utf-8")


def write(name: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("something", "utf-8")

    return change


@pytest.mark.parametrize("kind", ["model", "policy"])
@pytest.mark.parametrize("name", ["left_out.jsonl", "additional_chat_templates/rag.jinja", "code/deep/README.md"])
def test_a_checkpoint_is_given_back_with_its_folders(fields: Fields, tmp_path: Path, kind: str, name: str):
    model = checkpoint(fields, kind, tmp_path / "made", write(name))
    Publish(models={"prm": model}, license="mit").run(tmp_path / "hub")
    manifest = restore(open_publication(tmp_path / "hub" / "openprm" / "prm"), MODEL, tmp_path / "restored")
    assert files_hash(tmp_path / "restored") == manifest["files_hash"] == files_hash(model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (write("steps.py"), r"the checkpoint has a file steps\.py"),
        (write("statistics.png"), r"the checkpoint has a file statistics\.png"),
        (lambda folder: set_config(folder, custom_pipelines={}), "names a pipeline of its own"),
    ],
)
def test_what_could_not_be_given_back_is_refused(fields: Fields, tmp_path: Path, change: Any, said: str):
    model = checkpoint(fields, "model", tmp_path / "made", change)
    with pytest.raises(InputError, match=said):
        Publish(models={"prm": model}, license="mit").run(tmp_path / "hub")
    policy = checkpoint(fields, "policy", tmp_path / "policy", change)  # to which nothing is added
    Publish(models={"policy": policy}, license="mit").run(tmp_path / "hub")


def test_a_checkpoint_that_was_changed_is_not_published(fields: Fields, tmp_path: Path):
    model = checkpoint(fields, "model", tmp_path / "made")
    (Path(model) / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(InputError, match=r"is not as its manifest.json says"):
        Publish(models={"prm": model}, license="mit").run(tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_a_model_that_is_not_read_at_ends_is_not_published(fields: Fields, tmp_path: Path):
    def change(folder: Path) -> None:
        set_config(folder, openprm={"readout": {"kind": "marker", "text": "<m>", "head": "classes", "positive": 1}})

    model = checkpoint(fields, "model", tmp_path / "made", change)
    with pytest.raises(InputError, match="its readout is 'marker', and the pipeline that is published with a model"):
        Publish(models={"prm": model}, license="mit").run(tmp_path / "hub")
