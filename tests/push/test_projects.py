"""What the options of publishing say: names, title, description, base model, licenses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, ModelCard
from openprm.push.load_check import main as load_check
from openprm.push.preflight import check_layout, laid_out
from openprm.push.publish import Publish

from openprm.errors import InputError
from openprm.runs.folder import read_rows
from openprm.schema import Candidate
from openprm.stages.pairs import Pairs
from openprm.stages.prompts import Prompts
from openprm.stages.reward import RewardResponses
from openprm.stages.sample import SampleResponses
from openprm.stages.train import Train
from openprm.stages.trees import Trees
from openprm.verify.verify import IDENTICAL, verify
from tests.answers import write_jsonl
from tests.folders import candidate, dataset
from tests.publication import Fields, candidates_under
from tests.push.test_publish import publication

PROJECT = {
    "prefix": "psychology-",
    "title": "Psychology",
    "description": "Answers to questions of psychology exams.",
    "base_model": "somebody/base",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, fields: Fields) -> Path:
    """The owner's folder of a project with names of its own."""
    out = tmp_path_factory.mktemp("project") / "hub"
    Publish(**fields, **PROJECT).run(out)
    return out / "openprm"


def test_a_project_has_repositories_of_its_own(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    names = ["candidates", "demo", "labels", "pairs", "prm", "trees"]
    assert sorted(folder.name for folder in project.iterdir()) == [f"psychology-{name}" for name in names]
    check_layout(laid_out(project))
    for folder in project.iterdir():
        card = (folder / "README.md").read_text("utf-8")
        assert not re.findall(r"openprm/(?!openprm|psychology-)(?:candidates|demo|labels|pairs|prm|trees)\b", card), (
            folder.name
        )
    monkeypatch.chdir(project.parent)
    load_check("openprm")
    assert capsys.readouterr().out.count("load_dataset('openprm/psychology-") == 6


def test_a_project_is_verified_by_its_own_repositories(project: Path):
    for name in ("candidates", "trees", "labels", "pairs"):
        assert {check.result for check in verify(project / f"psychology-{name}")} == {IDENTICAL}


def test_cards_say_what_the_data_are_about(project: Path, fields: Fields):
    for kind in ("candidates", "trees", "labels", "pairs"):
        card = (project / f"psychology-{kind}" / "README.md").read_text("utf-8")
        assert f"\n# Psychology: {kind}\n\n{PROJECT['description']}\n" in card
        assert DatasetCard(card).data.pretty_name == f"Psychology: {kind}"
        assert "| prompts of | train | test |\n|---|---:|---:|\n| `test` | 3 | 3 |\n" in card
        example = json.loads(re.findall(r"```json\n(.*?)```", card, re.DOTALL)[0])
        row = next(read_rows(fields[kind]["train"]))
        assert (example["prompt_id"], example["question"]) == (row["prompt_id"], row["question"])
    card = (project / "psychology-prm" / "README.md").read_text("utf-8")
    assert f"\n# Psychology: prm\n\n{PROJECT['description']}\n" in card
    assert ModelCard(card).data.base_model == "somebody/base"
    demo = (project / "psychology-demo" / "README.md").read_text("utf-8")
    assert "\n# Psychology\n" in demo
    assert "title: Psychology\n" in demo


def test_long_texts_and_lists_of_an_example_are_cut_and_what_names_a_place_is_passed_over(tmp_path: Path):
    rows = [candidate("p", 0, "Look into /home/ann."), candidate("p", 1, "long " * 100)]
    rows[1]["question"] = rows[1]["question"] * 5
    Publish(candidates={"train": str(dataset(tmp_path / "c", Candidate, rows))}, license="mit").run(tmp_path / "hub")
    example = publication(tmp_path / "hub" / "openprm" / "candidates")["example"]
    assert example["response"] == "long " * 60 + "... (500 characters)"
    assert example["question"][2:] == ["... 3 more"]
    check_layout(laid_out(tmp_path / "hub" / "openprm"))


def test_a_models_example_is_from_its_pairs_where_there_are_no_candidates(fields: Fields, tmp_path: Path):
    Publish(pairs=fields["pairs"], models=fields["models"], license="mit").run(tmp_path / "hub")
    pair = next(read_rows(fields["pairs"]["train"]))
    said = publication(tmp_path / "hub" / "openprm" / "prm")["example"]
    assert said == {"question": pair["question"], "response": pair["context"] + pair["chosen"]}


@pytest.mark.parametrize("named", ["no model", "../x", "/home/ann/base"])
def test_a_base_model_is_an_id_of_the_hub(fields: Fields, tmp_path: Path, named: str):
    with pytest.raises(InputError, match="cannot be the name of a repository"):
        Publish(models=fields["models"], base_model=named, license="mit").run(tmp_path / "hub")


@pytest.mark.slow
def test_no_published_file_names_a_folder_or_a_user_of_this_machine(tmp_path: Path, base: Path, policy: Path):
    """Of a run whose every input is given by an absolute path."""
    ours = tmp_path / "ann-lee"
    ours.mkdir()
    asked = write_jsonl(ours / "asked.jsonl", [{"question": f"The dial is at {i}. First up 2."} for i in range(4)])
    Prompts(prompts=asked).run(ours / "prompts")
    SampleResponses(prompts=str(ours / "prompts"), model=str(policy), n=4, max_new_tokens=24).run(ours / "samples")
    RewardResponses(candidates=str(ours / "samples"), by="model", model=str(base)).run(ours / "rewarded")
    Trees(candidates=str(ours / "rewarded"), separator=" ").run(ours / "trees")
    Pairs(trees=str(ours / "trees"), min_gap="0.001", outcome="all").run(ours / "pairs")
    trained = {"pairs": {"pairs": str(ours / "pairs")}, "base": str(base)}
    Train(**trained, max_steps=1, batch_size=8, max_length=64).run(ours / "trained")
    data = {kind: {"train": str(ours / kind)} for kind in ("trees", "pairs")}
    data["candidates"] = {"train": str(ours / "rewarded")}
    models = {"prm": str(ours / "trained"), "policy": str(policy)}
    Publish(**data, models=models, demo="prm", license="mit").run(ours / "hub")
    for path in filter(Path.is_file, (ours / "hub").rglob("*")):
        content = path.read_bytes()
        for place in ("ann-lee", str(tmp_path), tmp_path.parent.name, "pytest-of-", str(Path.home()) + "/"):
            assert place.encode() not in content, (path, place)
    check_layout(laid_out(ours / "hub" / "openprm"), places=[str(tmp_path)])


@pytest.mark.parametrize("owner", ["..", "", "a/b", "../victim", "a--b"])
def test_nothing_outside_the_layout_is_touched_for_an_owner(fields: Fields, tmp_path: Path, owner: str):
    (tmp_path / "victim").mkdir()
    for name in (owner, str(tmp_path / "victim")):
        with pytest.raises(InputError, match="cannot be the name of a repository"):
            Publish(candidates=fields["candidates"], owner=name, license="mit").run(tmp_path / "out" / "hub")
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../../victim/n", "cannot be the name"),
        ("", "cannot be the name"),
        ("a--b", "cannot be the name"),
        ("pairs", "a model cannot be called 'pairs'"),
        ("demo", "a model cannot be called 'demo'"),
    ],
)
def test_a_model_has_a_name_of_its_own_that_the_hub_allows(fields: Fields, tmp_path: Path, name: str, said: str):
    with pytest.raises(InputError, match=said):
        Publish(models={name: fields["models"]["prm"]}, license="mit").run(tmp_path / "hub")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("split", ["../../esc", "train-a", "", "train.", "train\n"])
def test_a_split_is_called_as_datasets_calls_one(fields: Fields, tmp_path: Path, split: str):
    with pytest.raises(InputError, match="trees: no split can be called"):
        Publish(trees={split: fields["trees"]["train"]}, license="mit").run(tmp_path / "hub")
    assert not [*tmp_path.iterdir()]


def test_a_layout_of_another_owner_is_not_replaced(fields: Fields, tmp_path: Path):
    Publish(candidates=fields["candidates"], license="mit", owner="first").run(tmp_path / "hub")
    with pytest.raises(InputError, match="was made with owner 'first', not 'second'; choose another --out"):
        Publish(candidates=fields["candidates"], license="mit", owner="second").run(tmp_path / "hub")
    Publish(candidates=fields["candidates"], license="mit", owner="second").run(tmp_path / "hub", force=True)
    assert [path.name for path in (tmp_path / "hub").iterdir() if path.is_dir()] == ["second"]


def test_a_license_is_asked_for_unless_the_sources_have_one_that_is_permissive(tmp_path: Path):
    for licenses in (("CC-BY-NC-SA-4.0",), (None,), ("MIT", "Apache-2.0"), ()):
        candidates = candidates_under(tmp_path / str(licenses), *licenses)
        with pytest.raises(InputError, match="--license"):
            Publish(candidates=candidates).run(tmp_path / "hub")
    candidates = candidates_under(tmp_path / "mine", "MIT", None)
    with pytest.raises(
        InputError, match="--source-license data2: there is no such source; the sources are: data0, da"
    ):
        Publish(candidates=candidates, source_licenses={"data2": "mit"}).run(tmp_path / "hub")
    Publish(candidates=candidates, source_licenses={"data1": "mit"}).run(tmp_path / "hub")
    said = publication(tmp_path / "hub" / "openprm" / "candidates")
    assert (said["license"], [origin["license"] for origin in said["origins"]]) == ("mit", ["MIT", "mit"])
    candidates = candidates_under(tmp_path / "nc", "CC-BY-NC-4.0")
    Publish(candidates=candidates, license="CC-BY-NC-4.0").run(tmp_path / "hub", force=True)
    assert publication(tmp_path / "hub" / "openprm" / "candidates")["license"] == "cc-by-nc-4.0"
