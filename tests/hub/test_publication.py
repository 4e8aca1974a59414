"""What was published, read from a folder: checked, restored, found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.hub.publication import CODE, check_files, open_publication, part_rows, restore
from openprm.hub.repository import Repository
from openprm.runs.folder import read_manifest, read_rows
from openprm.runs.manifest import describe_input, files_hash
from openprm.stages.trees import Trees
from tests.folders import contents
from tests.publication import SPLITS, change_manifest, change_rows, publish


@pytest.fixture
def owner(run: Path, tmp_path: Path) -> Path:
    return publish(run, tmp_path / "hub" / "me", run / "openprm")


def test_a_repository_is_named_as_on_the_hub_or_by_its_folder(tmp_path: Path):
    there = Repository.parse("some-body/trees@v1.0")
    assert (there.owner, there.name, there.revision, there.is_local) == ("some-body", "trees", "v1.0", False)
    assert str(Repository.parse("some-body/trees")) == "some-body/trees"
    assert Repository.of("some-body@v1.0", "trees") == there
    (tmp_path / "me" / "trees").mkdir(parents=True)
    local = Repository.parse(tmp_path / "me" / "trees")
    assert local == Repository.of(tmp_path / "me", "trees")
    assert local.is_local
    for wrong in ("trees", "a/b/c", "/nowhere/trees", "../x/y", "a/b@", ""):
        with pytest.raises(InputError, match="neither a folder that exists nor OWNER/NAME"):
            Repository.parse(wrong)
    for wrong in ("a/b", "@v1", ""):
        with pytest.raises(InputError, match="neither a folder that exists nor OWNER/NAME"):
            Repository.of(wrong, "trees")


def test_what_this_package_did_not_publish_is_refused(tmp_path: Path, owner: Path, run: Path):
    with pytest.raises(InputError, match=r"not published by openprm: it has no manifest.json"):
        open_publication(tmp_path)
    with pytest.raises(InputError, match="another's"):
        open_publication(run / "trees")  # a stage's
    for text in ("{", "[]", '"x"'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=r"is damaged|is another's"):
            open_publication(tmp_path)
    damages: list[dict[str, Any]] = [{"parts": None}, {"parts": {"train": {}}}, {"files": []}, {"kind": ["trees"]}]
    for damage in [*damages, {"kind": "../../escaped"}, {"kind": None}]:
        shutil.copyfile(owner / "trees" / "manifest.json", tmp_path / "manifest.json")
        change_manifest(tmp_path, lambda manifest, damage=damage: manifest.update(damage))
        with pytest.raises(InputError, match=r"is damaged \((parts|files|kind)"):
            open_publication(tmp_path)


def test_every_file_is_checked(owner: Path):
    publication = open_publication(owner / "pairs")
    assert (publication.kind, [*publication.parts]) == ("pairs", [*SPLITS])
    assert check_files(publication) == []
    assert check_files(open_publication(owner / "openprm")) == []
    (owner / "pairs" / ".gitattributes").write_text("the Hub's own")
    (owner / "pairs" / ".cache" / "huggingface").mkdir(parents=True)
    (owner / "pairs" / ".cache" / "huggingface" / "x").write_text("its client's")
    assert check_files(publication) == []
    (owner / "pairs" / ".cache" / "pairs.py").write_text("")
    (owner / "pairs" / "README.md").write_text("changed")
    (owner / "pairs" / "process" / "test-00000.parquet").unlink()
    (owner / "pairs" / "pairs.py").write_text("")
    assert check_files(publication) == [
        "README.md was changed: its SHA-256 is not the one in manifest.json",
        "process/test-00000.parquet is missing",
        ".cache/pairs.py is not listed in manifest.json",
        "pairs.py is not listed in manifest.json",
    ]


@pytest.mark.parametrize("kind", ["candidates", "trees", "pairs"])
def test_a_dataset_is_restored_as_its_stage_left_it(owner: Path, run: Path, tmp_path: Path, kind: str):
    publication = open_publication(owner / kind)
    for split, end in SPLITS.items():
        made = run / f"{kind}{end}"
        assert list(part_rows(publication, split)) == list(read_rows(made))
        out = tmp_path / "out" / f"{kind}{end}"
        itself = {"name": kind, "kind": "data", "license": "apache-2.0"}  # which the stage knew nothing of
        restored = restore(publication, split, out)
        assert restored == {**read_manifest(made), "origins": [itself]} == read_manifest(out)
        others = ("README.md", "rejected.jsonl", "manifest.json")
        assert {name: content for name, content in contents(out).items() if name not in others} == {
            name: content for name, content in contents(made).items() if name not in others
        }
        assert (out / "README.md").read_text() == (made / "README.md").read_text()
        assert describe_input(out) == describe_input(made)
    with pytest.raises(InputError, match=r"has no part 'dev'; there are: train, test"):
        restore(publication, "dev", tmp_path / "dev")


@pytest.mark.parametrize("kind", ["model", "policy"])
def test_a_model_is_restored_as_it_was_trained(owner: Path, run: Path, tmp_path: Path, kind: str):
    if kind == "policy":  # without code, nor a word of it in its config
        shutil.copyfile(run / "openprm" / "config.json", owner / "openprm" / "config.json")
        for name in (*CODE, "statistics.png"):
            (owner / "openprm" / name).unlink()
        change_manifest(owner / "openprm", lambda manifest: manifest.update(kind="policy"))
    restore(open_publication(owner / "openprm"), "model", tmp_path / "openprm")
    restored, trained = contents(tmp_path / "openprm"), contents(run / "openprm")
    said = {**json.loads(restored.pop("manifest.json")), "origins": []}
    assert said == {**json.loads(trained.pop("manifest.json")), "origins": []}
    assert restored == trained


def test_restoring_twice_changes_nothing_and_another_result_is_never_replaced(owner: Path, tmp_path: Path):
    publication, out = open_publication(owner / "trees"), tmp_path / "trees"
    (tmp_path / ".trees.restored" / "data").mkdir(parents=True)  # of a killed run
    (tmp_path / ".trees.restored" / "data" / "train-00007.parquet").write_text("half")
    restore(publication, "train", out)
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    restore(publication, "train", out)
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before
    with pytest.raises(InputError, match=r"holds another result than .*trees \(test\)"):
        restore(publication, "test", out)
    with pytest.raises(InputError, match="holds the result of another stage"):
        restore(open_publication(owner / "pairs"), "train", out)
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before


def test_changed_damaged_and_missing_content_is_not_restored(owner: Path, tmp_path: Path):
    change_rows(owner / "trees" / "data" / "train-00000.parquet", lambda rows: rows[1]["nodes"][2].update(value=7.0))
    (owner / "openprm" / "tokenizer.json").write_text("{}")
    for name, part in (("trees", "train"), ("openprm", "model")):
        with pytest.raises(InputError, match="is not what its manifest says: the hash of its content is"):
            restore(open_publication(owner / name), part, tmp_path / name)
        assert not (tmp_path / name).exists()
    file = owner / "pairs" / "process" / "train-00000.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"train-00000.parquet.* is damaged"):
        restore(open_publication(owner / "pairs"), "train", tmp_path / "pairs")
    file.unlink()
    with pytest.raises(InputError, match=r"train-00000.parquet is missing"):
        restore(open_publication(owner / "pairs"), "train", tmp_path / "pairs")


def test_a_checkpoint_s_folders_are_restored_whatever_its_files_are_called(owner: Path, tmp_path: Path):
    published, as_trained = owner / "openprm", tmp_path / "as-trained"
    restore(open_publication(published), "model", as_trained)
    for folder in (published, as_trained):
        for name in ("more/steps.py", "more/statistics.png"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("1")
    content = files_hash(as_trained)
    change_manifest(published, lambda manifest: manifest["parts"]["model"].update(files_hash=content))
    (published / "more" / "log.jsonl").write_text("")  # which no hash covers
    restore(open_publication(published), "model", tmp_path / "out")
    assert {*contents(tmp_path / "out")} == {*contents(as_trained)}


def test_a_restored_folder_is_the_same_input_to_the_stages_behind_it(owner: Path, run: Path, tmp_path: Path):
    shutil.copytree(run / "trees", tmp_path / "trees")
    log = (tmp_path / "trees" / "log.jsonl").read_text()
    restore(open_publication(owner / "candidates"), "train", tmp_path / "candidates")
    stage = Trees(candidates=str(tmp_path / "candidates"), separator="line", distinct_numbers=True)
    manifest = stage.run(tmp_path / "trees")
    assert (tmp_path / "trees" / "log.jsonl").read_text() == log  # skipped
    assert manifest == json.loads((run / "trees" / "manifest.json").read_text())


def test_a_restored_folder_keeps_the_license_that_it_was_published_under(owner: Path, tmp_path: Path):
    sources = [{"name": "sums", "license": "mit"}]
    for license, itself in (
        ("mit", []),
        ("cc-by-nc-4.0", [{"name": "trees", "kind": "data", "license": "cc-by-nc-4.0"}]),
    ):
        change_manifest(
            owner / "trees", lambda manifest, license=license: manifest.update(license=license, origins=sources)
        )
        restored = restore(open_publication(owner / "trees"), "train", tmp_path / license)
        assert restored["origins"] == [*sources, *itself]
