"""Publishing: what the repositories of an owner hold, and that they load without this package."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import get_dataset_config_names, load_dataset
from openprm.push.publish import Publish

from openprm.errors import InputError
from openprm.hub.publication import CODE
from openprm.runs.folder import read_manifest, read_rows
from openprm.schema import Pair
from openprm.scoring.pipeline import load_scorer
from openprm.stages.pairs import Pairs
from tests.folders import dataset
from tests.publication import Fields, candidates_under, copy_model


def publication(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text("utf-8"))


def test_the_repositories_are_the_owners(layout: Path):
    assert sorted(part.name for part in layout.iterdir()) == ["candidates", "demo", "labels", "pairs", "prm", "trees"]
    counts = read_manifest(layout.parent)["counts"]
    assert (
        counts["repositories"]
        == "openprm/candidates, openprm/demo, openprm/labels, openprm/pairs, openprm/prm, openprm/trees"
    )


@pytest.mark.parametrize("kind", ["candidates", "trees"])
def test_datasets_load_with_their_splits(layout: Path, fields: Fields, tmp_path: Path, kind: str):
    loaded = load_dataset(str(layout / kind), cache_dir=str(tmp_path))
    assert [*loaded] == ["train", "test"]
    for split, rows in loaded.items():
        assert [*map(dict, rows)] == [*read_rows(fields[kind][split])]


def test_pairs_load_by_level_and_together(layout: Path, fields: Fields, tmp_path: Path):
    configs = {
        name: load_dataset(str(layout / "pairs"), name, cache_dir=str(tmp_path)) for name in ("process", "outcome")
    }
    whole = load_dataset(str(layout / "pairs"), cache_dir=str(tmp_path))  # `all` is the default
    for split in ("train", "test"):
        pairs = [*read_rows(fields["pairs"][split])]
        for level, loaded in configs.items():
            expected = [row for row in pairs if row["level"] == level]
            assert expected
            assert [*map(dict, loaded[split])] == expected
        assert [*map(dict, whole[split])] == pairs  # in the stage's order, so that training is the same


def test_a_split_or_a_config_without_pairs_of_a_level_is_left_out(fields: Fields, tmp_path: Path):
    rows = [row for row in read_rows(fields["pairs"]["test"]) if row["level"] == "process"]
    one_level = str(dataset(tmp_path / "test", Pair, rows))
    Publish(pairs={"train": fields["pairs"]["train"], "test": one_level}, license="mit").run(tmp_path / "hub")
    repository = str(tmp_path / "hub" / "openprm" / "pairs")
    sizes = {
        name: load_dataset(repository, name, cache_dir=str(tmp_path / "cache")).num_rows
        for name in ("process", "outcome")
    }
    assert sizes["process"]["test"] == len(rows)
    assert [*sizes["outcome"]] == ["train"]
    Publish(pairs={"train": one_level}, license="mit").run(tmp_path / "other")
    assert get_dataset_config_names(str(tmp_path / "other" / "openprm" / "pairs")) == ["all", "process"]


def test_a_model_brings_its_scoring_code_and_its_results(layout: Path, fields: Fields):
    folder = layout / "prm"
    code = {path.name for path in folder.glob("*.py")}
    assert code == set(CODE)
    config = json.loads((folder / "config.json").read_text())
    assert config["custom_pipelines"]["openprm-scoring"]["impl"] == "pipeline.OpenPRMScoringPipeline"
    assert "_name_or_path" not in config
    assert publication(folder)["parts"] == {"model": read_manifest(fields["models"]["prm"])}
    table = json.loads((Path(fields["evaluation"]) / "results.json").read_text())["metrics"]
    assert publication(folder)["evaluation"]["metrics"] == table  # there is only one model
    assert publication(folder)["evaluation"]["dataset"] == {"repository": "openprm/candidates", "part": "test"}
    assert (folder / ".eval_results" / "best_of_n.yaml").exists()
    answer = {"question": "What is it?", "response": "The sum.\nThe answer is five."}
    published, trained = (load_scorer(str(path))(answer) for path in (folder, fields["models"]["prm"]))
    assert published == trained


def test_a_models_files_are_those_that_transformers_saves_with_the_pipeline(
    layout: Path, fields: Fields, tmp_path: Path
):
    load_scorer(fields["models"]["prm"]).save_pretrained(str(tmp_path / "saved"))
    for path in (tmp_path / "saved").iterdir():
        assert (layout / "prm" / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_each_part_was_made_of_is_named_where_it_is_published(layout: Path, fields: Fields, tmp_path: Path):
    assert publication(layout / "candidates")["repositories"] == {"train": {}, "test": {}}
    for kind, source in (("trees", "candidates"), ("pairs", "trees")):
        assert publication(layout / kind)["repositories"] == {
            split: {source: {"repository": f"openprm/{source}", "part": split}} for split in ("train", "test")
        }
    Publish(pairs=fields["pairs"], models=fields["models"], evaluation=fields["evaluation"], license="mit").run(
        tmp_path / "hub"
    )
    root = tmp_path / "hub" / "openprm"
    assert publication(root / "pairs")["repositories"] == {"train": {}, "test": {}}
    assert publication(root / "prm")["evaluation"]["dataset"] is None


def test_a_model_names_its_base_and_its_pairs_by_their_content(fields: Fields, tmp_path: Path):
    inputs = {"pairs": fields["pairs"]["train"], "more": fields["pairs"]["test"], "base": fields["models"]["prm"]}
    models = {
        **fields["models"],
        "tuned": copy_model(fields["models"]["prm"], tmp_path / "tuned", inputs=inputs, metrics={}),
    }
    Publish(pairs=fields["pairs"], models=models, license="mit").run(tmp_path / "hub")
    assert publication(tmp_path / "hub" / "openprm" / "tuned")["repositories"] == {
        "model": {
            "pairs": {"repository": "openprm/pairs", "part": "train"},
            "more": {"repository": "openprm/pairs", "part": "test"},
            "base": {"repository": "openprm/prm", "part": "model"},
        }
    }


def test_a_model_that_was_not_measured_has_no_results(fields: Fields, tmp_path: Path):
    Publish(models=fields["models"], license="mit").run(tmp_path / "hub")
    folder = tmp_path / "hub" / "openprm" / "prm"
    assert "evaluation" not in publication(folder)
    assert not (folder / ".eval_results").exists()
    assert "statistics.png" not in (folder / "README.md").read_text()


def test_each_repository_says_what_is_in_it(layout: Path, fields: Fields):
    for kind in ("candidates", "trees", "labels", "pairs"):
        said = publication(layout / kind)
        assert (said["kind"], said["license"]) == (kind, "mit")
        assert said["parts"] == {split: read_manifest(path) for split, path in fields[kind].items()}
        files = {path.relative_to(layout / kind).as_posix() for path in (layout / kind).rglob("*") if path.is_file()}
        assert set(said["files"]) == files - {"manifest.json"}
        assert {"README.md", "statistics.png"} <= files
        for name, digest in said["files"].items():
            assert hashlib.sha256((layout / kind / name).read_bytes()).hexdigest() == digest


def test_the_tree_page_marks_the_pairs_that_were_taken(layout: Path, fields: Fields, tmp_path: Path):
    assert "Marked are the siblings" in (layout / "trees" / "trees.html").read_text()
    Publish(trees=fields["trees"], license="mit").run(tmp_path / "hub")
    assert "Marked are the siblings" not in (tmp_path / "hub" / "openprm" / "trees" / "trees.html").read_text()


def test_nothing_published_tells_where_it_was_made(layout: Path, fields: Fields):
    published = [path for path in layout.parent.rglob("*") if path.is_file()]
    assert len(published) > 20
    places = [str(layout.parent.parent).encode(), str(Path(fields["evaluation"]).parent).encode(), b"/tmp/", b"/home/"]
    for path in published:
        content = path.read_bytes()
        assert not [place for place in places if place in content], path
        assert not path.name.startswith("."), path
        assert not path.name.endswith((".partial", ".lock", ".pyc", ".digests")), path
    assert {path.name for path in published if path.suffix == ".jsonl"} == {"log.jsonl", "left_out.jsonl"}


def test_a_killed_publication_starts_over(layout: Path, fields: Fields, tmp_path: Path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("openprm.push.publish.copy_hashed", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Publish(**fields).run(tmp_path / "hub")
    assert not (tmp_path / "hub").exists()
    # and gives the same again
    assert Publish(**fields).run(tmp_path / "hub") == read_manifest(layout.parent)


def test_texts_of_others_are_shown_where_their_source_is_named(fields: Fields, tmp_path: Path):
    found = {"candidates": candidates_under(tmp_path / "candidates", "MIT"), "models": fields["models"], "demo": "prm"}
    Publish(**found, license="apache-2.0").run(tmp_path / "hub")
    root = tmp_path / "hub" / "openprm"
    assert sorted(path.name for path in root.iterdir()) == ["candidates", "demo", "prm"]
    assert "Red. Blue." not in (root / "prm" / "README.md").read_text("utf-8")
    assert "Red. Blue." in (root / "demo" / "example.json").read_text("utf-8")
    assert publication(root / "demo")["origins"] == [{"name": "data0", "license": "MIT"}]
    assert "openprm/prm" in (root / "demo" / "app.py").read_text()
    model = copy_model(fields["models"]["prm"], tmp_path / "prm", origins=[{"name": "data0", "license": "MIT"}])
    Publish(**{**found, "models": {"prm": model}}).run(tmp_path / "open")
    assert "Red. Blue." in (tmp_path / "open" / "openprm" / "prm" / "README.md").read_text("utf-8")
    with pytest.raises(InputError, match="the demo shows 'other'"):
        Publish(models=fields["models"], demo="other").run(tmp_path / "other")


@pytest.mark.parametrize("other", [{"shuffle_rewards": 0}, {"reward_name": "golden"}])
def test_the_tree_page_marks_no_pairs_of_other_values(fields: Fields, tmp_path: Path, other: dict[str, Any]):
    trees = fields["trees"]["train"]
    Pairs(trees=str(trees), min_gap="0.01", select="all", **other).run(tmp_path / "pairs")
    Publish(trees={"train": trees}, pairs={"control": str(tmp_path / "pairs")}, license="mit").run(tmp_path / "hub")
    assert "Marked are" not in (tmp_path / "hub" / "openprm" / "trees" / "trees.html").read_text("utf-8")


def test_a_folder_of_another_kind_is_told(fields: Fields, tmp_path: Path):
    with pytest.raises(InputError, match="holds no trees"):
        Publish(trees={"train": fields["pairs"]["train"]}, license="mit").run(tmp_path / "hub")


def test_an_evaluation_of_other_models_is_told(fields: Fields, tmp_path: Path):
    with pytest.raises(InputError, match=r"measured none of the models \(none\)"):
        Publish(trees=fields["trees"], evaluation=fields["evaluation"], license="mit").run(tmp_path / "hub")
    with pytest.raises(InputError, match=r"no manifest\.json"):
        Publish(models=fields["models"], evaluation=str(tmp_path / "nowhere"), license="mit").run(tmp_path / "hub")
