"""Publishing: what the repositories of an owner hold, and that they load without this package."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from datasets import get_dataset_config_names, load_dataset
from openprm.push.layout import publish_locally

from openprm.data.candidate_source import CandidateSource
from openprm.errors import InputError
from openprm.models.reward_checkpoint import load_reward_model, save_reward_model
from openprm.runs.dataset import finish_dataset
from openprm.runs.folder import read_manifest, read_rows, write_shard
from openprm.runs.manifest import files_hash, run_stage
from openprm.schema import LEVELS, Candidate, Pair
from openprm.scoring.pipeline import load_scorer
from openprm.stages.datasets import make_pairs, make_trees
from openprm.stages.evaluate import evaluate_models
from openprm.stages.score import score_candidates
from openprm.trees.pairs import MinGap, PairParameters
from tests import tiny_models
from tests.folders import candidate, dataset

TEXTS = [
    "The sum.\nThen five.\nThe answer is 5",
    "The sum.\nThen two.\nThe answer is 2",
    "Add.\nThe answer is 5",
    "No",
]
GOLDEN = [1.0, 0.0, 1.0, 0.0]


def stages(root: Path, outcome: str = "best") -> dict[str, Any]:
    """The folders of a small run: what `publish_locally` takes."""
    found: dict[str, dict[str, str]] = {"candidates": {}, "trees": {}, "pairs": {}}
    for split, prompts in (("train", 5), ("test", 2)):
        rows = [candidate(f"{split}{p}", i, text, GOLDEN[i]) for p in range(prompts) for i, text in enumerate(TEXTS)]
        candidates = dataset(root / f"candidates-{split}", Candidate, rows)
        make_trees(CandidateSource(str(candidates)), root / f"trees-{split}")
        parameters = PairParameters(select="all", outcome=outcome)
        make_pairs(root / f"trees-{split}", root / f"pairs-{split}", MinGap.parse("0.2"), parameters)
        for kind in found:
            found[kind][split] = str(root / f"{kind}-{split}")

    def work(folder: Path) -> dict[str, Any]:
        tokenizer = tiny_models.tokenizer()
        tiny_models.model(vocab_size=len(tokenizer)).save_pretrained(root / "base")
        tokenizer.save_pretrained(root / "base")
        save_reward_model(*load_reward_model(root / "base"), folder)
        return {"files_hash": files_hash(folder), "counts": {}}

    run_stage(root / "reward", "model", {"levels": ["process", "outcome"]}, {}, work)
    score_candidates(CandidateSource(found["candidates"]["test"]), root / "reward", root / "scores")
    evaluate_models(found["candidates"]["test"], {"prm": root / "scores"}, root / "evaluation")
    made = {"models": {"prm": str(root / "reward")}, "evaluation": str(root / "evaluation")}
    return {**found, **made, "license": "mit"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return stages(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, run: dict[str, Any]) -> Path:
    out = tmp_path_factory.mktemp("published") / "hub"
    publish_locally(out, **run, owner="somebody")
    return out / "somebody"


def publication(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text("utf-8"))


def canonical(rows: Any) -> Counter[str]:
    return Counter(json.dumps(row, sort_keys=True) for row in rows)


def test_the_repositories_are_the_owners(hub: Path):
    assert sorted(part.name for part in hub.iterdir()) == ["candidates", "pairs", "prm", "trees"]
    counts = read_manifest(hub.parent)["counts"]
    assert counts["repositories"] == "somebody/candidates, somebody/pairs, somebody/prm, somebody/trees"


@pytest.mark.parametrize("kind", ["candidates", "trees"])
def test_datasets_load_with_their_splits(hub: Path, run: dict[str, Any], tmp_path: Path, kind: str):
    loaded = load_dataset(str(hub / kind), cache_dir=str(tmp_path))
    assert [*loaded] == ["train", "test"]
    for split, rows in loaded.items():
        assert [*map(dict, rows)] == [*read_rows(run[kind][split])]


def test_pairs_load_by_level_and_together(hub: Path, run: dict[str, Any], tmp_path: Path):
    configs = {
        name: load_dataset(str(hub / "pairs"), name, cache_dir=str(tmp_path)) for name in ("process", "outcome")
    }
    whole = load_dataset(str(hub / "pairs"), cache_dir=str(tmp_path))  # `all` is the default
    for split in ("train", "test"):
        pairs = [*read_rows(run["pairs"][split])]
        for level, loaded in configs.items():
            expected = [row for row in pairs if row["level"] == level]
            assert len(expected) >= 2
            assert [*map(dict, loaded[split])] == expected
        assert [*map(dict, whole[split])] == pairs  # in the stage's order, so that training is the same


def test_a_level_without_pairs_has_no_config(tmp_path: Path):
    found = stages(tmp_path, outcome="none")
    publish_locally(tmp_path / "hub", **found)
    repository = str(tmp_path / "hub" / "openprm" / "pairs")
    assert get_dataset_config_names(repository) == ["all", "process"]
    whole = load_dataset(repository, cache_dir=str(tmp_path / "cache"))
    for split, rows in whole.items():
        assert [*map(dict, rows)] == [*read_rows(found["pairs"][split])]


def test_a_split_without_pairs_of_a_level_is_left_out(run: dict[str, Any], tmp_path: Path):
    rows = [row for row in read_rows(run["pairs"]["test"]) if row["level"] == "process"]
    splits = {"train": run["pairs"]["train"], "test": str(dataset(tmp_path / "test", Pair, rows))}
    publish_locally(tmp_path / "hub", **{**run, "pairs": splits})
    repository = str(tmp_path / "hub" / "openprm" / "pairs")
    sizes = {name: load_dataset(repository, name, cache_dir=str(tmp_path / "cache")).num_rows for name in LEVELS}
    assert sizes["process"]["test"] == len(rows)
    assert [*sizes["outcome"]] == ["train"]


def test_a_model_brings_its_scoring_code_and_its_results(hub: Path, run: dict[str, Any]):
    folder = hub / "prm"
    code = {path.name for path in folder.glob("*.py")}
    assert code == {
        "pipeline.py",
        "steps.py",
        "encoding.py",
        "packing.py",
        "forward.py",
        "rewarder.py",
        "aggregation.py",
    }
    config = json.loads((folder / "config.json").read_text())
    assert config["custom_pipelines"]["openprm-scoring"]["impl"] == "pipeline.OpenPRMScoringPipeline"
    assert "_name_or_path" not in config
    assert publication(folder)["parts"] == {"model": read_manifest(run["models"]["prm"])}
    table = json.loads((Path(run["evaluation"]) / "results.json").read_text())["metrics"]
    assert publication(folder)["evaluation"]["metrics"] == table  # there is only one model
    assert publication(folder)["evaluation"]["dataset"] == {"name": "somebody/candidates", "part": "test"}
    assert (folder / ".eval_results" / "best_of_n.yaml").exists()
    answer = {"question": "What is it?", "response": "The sum.\nThe answer is five."}
    published, trained = (load_scorer(str(path))(answer) for path in (folder, run["models"]["prm"]))
    assert published == trained


def test_a_models_files_are_those_that_transformers_saves_with_the_pipeline(
    hub: Path, run: dict[str, Any], tmp_path: Path
):
    load_scorer(run["models"]["prm"]).save_pretrained(str(tmp_path / "saved"))
    for path in (tmp_path / "saved").iterdir():
        assert (hub / "prm" / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_each_part_was_made_of_is_named_where_it_is_published(hub: Path, run: dict[str, Any], tmp_path: Path):
    assert publication(hub / "candidates")["repositories"] == {"train": {}, "test": {}}
    for kind, source in (("trees", "candidates"), ("pairs", "trees")):
        assert publication(hub / kind)["repositories"] == {
            split: {source: {"name": f"somebody/{source}", "part": split}} for split in ("train", "test")
        }
    publish_locally(
        tmp_path / "hub", pairs=run["pairs"], models=run["models"], evaluation=run["evaluation"], license="mit"
    )
    root = tmp_path / "hub" / "openprm"
    assert publication(root / "pairs")["repositories"] == {"train": {}, "test": {}}
    assert publication(root / "prm")["evaluation"]["dataset"] is None


def test_a_model_names_its_base_and_its_pairs_by_their_content(run: dict[str, Any], tmp_path: Path):
    inputs = {"pairs": run["pairs"]["train"], "more": run["pairs"]["test"], "base": run["models"]["prm"]}
    models = {**run["models"], "tuned": _again(run, tmp_path / "tuned", {"metrics": {}}, inputs)}
    publish_locally(tmp_path / "hub", pairs=run["pairs"], models=models, license="mit")
    assert publication(tmp_path / "hub" / "openprm" / "tuned")["repositories"] == {
        "model": {
            "pairs": {"name": "openprm/pairs", "part": "train"},
            "more": {"name": "openprm/pairs", "part": "test"},
            "base": {"name": "openprm/prm", "part": "model"},
        }
    }


def test_a_model_that_nobody_measured_says_no_results(run: dict[str, Any], tmp_path: Path):
    publish_locally(tmp_path / "hub", models=run["models"], license="mit")
    folder = tmp_path / "hub" / "openprm" / "prm"
    assert "evaluation" not in publication(folder)
    assert not (folder / ".eval_results").exists()
    assert "model-index" not in (folder / "README.md").read_text()
    assert "statistics.png" not in (folder / "README.md").read_text()


def check(folder: Path, owner: str) -> subprocess.CompletedProcess[str]:
    """`push/check.py` where `openprm` cannot be imported at all."""
    script = str(files("openprm.push").joinpath("load_check.py"))
    code = f"import runpy, sys; sys.modules['openprm'] = None; sys.argv[1:] = [{owner!r}]; "
    command = [sys.executable, "-c", code + f"runpy.run_path({script!r}, run_name='__main__')"]
    home = {"HF_HOME": str(folder.parent / "home"), "HF_HUB_OFFLINE": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | home
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_everything_loads_without_the_package(hub: Path, run: dict[str, Any]):
    done = check(hub.parent, "somebody")
    assert done.returncode == 0, done.stderr
    train, test = (read_manifest(run["pairs"][split])["rows"] for split in ("train", "test"))
    assert f"load_dataset('somebody/pairs', 'all'): {{'train': {train}, 'test': {test}}}" in done.stdout
    assert "pipeline('openprm-scoring', model='somebody/prm'): {'score': " in done.stdout


def test_each_repository_says_what_is_in_it(hub: Path, run: dict[str, Any]):
    for kind in ("candidates", "trees", "pairs"):
        said = publication(hub / kind)
        assert (said["kind"], said["license"]) == (kind, "mit")
        assert said["parts"] == {split: read_manifest(path) for split, path in run[kind].items()}
        files = {path.relative_to(hub / kind).as_posix() for path in (hub / kind).rglob("*") if path.is_file()}
        assert set(said["files"]) == files - {"manifest.json"}
        assert {"README.md", "statistics.png"} <= files
        for name, digest in said["files"].items():
            assert hashlib.sha256((hub / kind / name).read_bytes()).hexdigest() == digest


def test_the_tree_page_marks_the_pairs_that_were_taken(hub: Path, run: dict[str, Any], tmp_path: Path):
    assert "Marked are the siblings" in (hub / "trees" / "trees.html").read_text()
    publish_locally(tmp_path / "hub", trees=run["trees"], license="mit")
    assert "Marked are the siblings" not in (tmp_path / "hub" / "openprm" / "trees" / "trees.html").read_text()


def test_nothing_is_published_without_a_license(run: dict[str, Any], tmp_path: Path):
    origins = [{"name": "scienceqa", "license": "CC-BY-NC-SA-4.0"}, {"name": "mine", "license": None}]
    out = tmp_path / "candidates"
    run_stage(out, "test", {}, {}, lambda folder: _with_origins(folder, origins))
    candidates = {"train": str(out)}
    with pytest.raises(InputError, match="--source-license mine=LICENSE"):
        publish_locally(tmp_path / "hub", candidates=candidates)
    with pytest.raises(InputError, match="scienceqa"):
        publish_locally(tmp_path / "hub", candidates=candidates, source_licenses={"mine": "mit"}, license="mit")
    publish_locally(tmp_path / "hub", candidates=candidates, source_licenses={"mine": "mit"})
    said = publication(tmp_path / "hub" / "openprm" / "candidates")
    assert said["license"] == "cc-by-nc-sa-4.0"
    assert said["origins"][1]["license"] == "mit"


def _with_origins(folder: Path, origins: list[dict[str, Any]]) -> dict[str, Any]:
    write_shard(folder, 0, [candidate("p", 0, "One. Two.", 1.0)], Candidate)
    return {**finish_dataset(folder, Candidate, "candidates", 1, {}), "origins": origins}


def test_metrics_and_a_demo_are_spaces_of_their_own(run: dict[str, Any], tmp_path: Path):
    publish_locally(tmp_path / "hub", models=run["models"], metrics=["best_of_n"], demo="prm", license="mit")
    root = tmp_path / "hub" / "openprm"
    assert sorted(path.name for path in root.iterdir()) == ["best_of_n", "demo", "prm"]
    assert publication(root / "demo")["kind"] == "demo"
    assert "openprm/prm" in (root / "demo" / "app.py").read_text()
    assert publication(root / "best_of_n")["kind"] == "metric"
    with pytest.raises(InputError, match="the demo shows 'other'"):
        publish_locally(tmp_path / "other", models=run["models"], demo="other")


def test_nothing_published_tells_where_it_was_made(hub: Path, run: dict[str, Any]):
    published = [path for path in hub.parent.rglob("*") if path.is_file()]
    assert len(published) > 20
    places = [str(hub.parent.parent).encode(), str(Path(run["evaluation"]).parent).encode(), b"/tmp/", b"/home/"]
    for path in published:
        content = path.read_bytes()
        assert not [place for place in places if place in content], path
        assert not path.name.startswith("."), path
        assert not path.name.endswith((".partial", ".lock", ".pyc", ".digests")), path
    assert {path.name for path in published if path.suffix == ".jsonl"} == {"log.jsonl"}


def test_what_is_published_can_be_made_again(hub: Path, run: dict[str, Any], tmp_path: Path):
    manifest = publish_locally(tmp_path / "again", **run, owner="somebody")
    assert manifest == read_manifest(hub.parent)
    cards = [(folder / "prm" / "README.md").read_text() for folder in (hub, tmp_path / "again" / "somebody")]
    assert cards[0] == cards[1]


def test_a_killed_publication_starts_over(hub: Path, run: dict[str, Any], tmp_path: Path, monkeypatch):
    from openprm.push import layout

    with monkeypatch.context() as patch:
        patch.setattr(layout, "copy_checkpoint", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            publish_locally(tmp_path / "hub", **run, owner="somebody")
    assert not (tmp_path / "hub").exists()
    assert publish_locally(tmp_path / "hub", **run, owner="somebody") == read_manifest(hub.parent)


@pytest.mark.parametrize("name", ["pairs", "trees", "candidates"])
def test_a_model_may_not_take_a_datasets_name(run: dict[str, Any], tmp_path: Path, name: str):
    with pytest.raises(InputError, match=f"a model cannot be called {name!r}"):
        publish_locally(tmp_path / "hub", **{**run, "models": {name: run["models"]["prm"]}})


@pytest.mark.parametrize("owner", ["..", ".", "", "a/b", "../victim", "a--b", "-a"])
def test_nothing_outside_the_layout_is_touched_for_an_owner(run: dict[str, Any], tmp_path: Path, owner: str):
    (tmp_path / "victim").mkdir()
    for name in (owner, str(tmp_path / "victim")):
        with pytest.raises(InputError, match="cannot be the name of a repository"):
            publish_locally(tmp_path / "out" / "hub", candidates=run["candidates"], owner=name, license="mit")
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]


@pytest.mark.parametrize("name", ["../../victim/n", "..", "a/b", "", "a--b"])
def test_nothing_outside_the_layout_is_touched_for_a_model(run: dict[str, Any], tmp_path: Path, name: str):
    with pytest.raises(InputError, match="cannot be the name of a repository"):
        publish_locally(tmp_path / "hub", models={name: run["models"]["prm"]}, license="mit")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("split", ["../../esc", "train-a", "", "a b", "train.", "train\n"])
def test_a_split_is_called_as_datasets_calls_one(run: dict[str, Any], tmp_path: Path, split: str):
    with pytest.raises(InputError, match="trees: no split can be called"):
        publish_locally(tmp_path / "hub", trees={split: run["trees"]["train"]}, license="mit")
    assert not [*tmp_path.iterdir()]


def test_a_layout_of_another_owner_is_not_replaced(run: dict[str, Any], tmp_path: Path):
    publish_locally(tmp_path / "hub", candidates=run["candidates"], license="mit", owner="first")
    with pytest.raises(InputError, match="holds the layout of first; choose another --out for second"):
        publish_locally(tmp_path / "hub", candidates=run["candidates"], license="mit", owner="second")
    publish_locally(tmp_path / "hub", candidates=run["candidates"], license="mit", owner="second", force=True)
    assert [path.name for path in (tmp_path / "hub").iterdir() if path.is_dir()] == ["second"]


def under(root: Path, *licenses: str | None, text: str = "Red. Blue.") -> dict[str, str]:
    """Candidates whose origins have these licenses."""
    origins = [{"name": f"data{index}", "license": license} for index, license in enumerate(licenses)]

    def work(folder: Path) -> dict[str, Any]:
        rows = [candidate("p", index, f"{text} {index}", 1.0) for index in range(2)]
        write_shard(folder, 0, rows, Candidate)
        return {**finish_dataset(folder, Candidate, "candidates", 1, {}), "origins": origins}

    run_stage(root, "test", {}, {}, work)
    return {"train": str(root)}


def test_a_license_that_is_known_is_not_overridden(tmp_path: Path):
    candidates = under(tmp_path / "candidates", "CC-BY-NC-4.0", None)
    for named, said in (({"data0": "mit"}, "data0 says itself"), ({"data2": "mit"}, "there is no such source")):
        with pytest.raises(InputError, match=said):
            publish_locally(tmp_path / "hub", candidates=candidates, source_licenses={"data1": "mit", **named})


def test_what_a_demo_and_a_models_card_show_is_under_the_terms_of_the_candidates(run: dict[str, Any], tmp_path: Path):
    restricted = under(tmp_path / "candidates", "CC-BY-NC-4.0")
    found = {"candidates": restricted, "models": {"prm": _of_mit(run, tmp_path / "prm")}, "demo": "prm"}
    publish_locally(tmp_path / "hub", **found)
    root = tmp_path / "hub" / "openprm"
    assert publication(root / "prm")["license"] == "mit"
    assert "Red. Blue." not in (root / "prm" / "README.md").read_text("utf-8")
    assert "Red. Blue." in (root / "demo" / "example.json").read_text("utf-8")
    demo = publication(root / "demo")
    assert (demo["license"], [origin["name"] for origin in demo["origins"]]) == ("cc-by-nc-4.0", ["data0"])
    publish_locally(tmp_path / "open", **{**found, "candidates": under(tmp_path / "free", "MIT")})
    assert "Red. Blue." in (tmp_path / "open" / "openprm" / "prm" / "README.md").read_text("utf-8")


def _of_mit(run: dict[str, Any], out: Path, **origin: Any) -> str:
    """The model, derived from what the candidates of license MIT in `under` are of, or from another origin."""
    made = origin or {"name": "data0", "license": "MIT"}
    return _again(run, out, {"origins": [made]})


def _again(run: dict[str, Any], out: Path, more: dict[str, Any], inputs: dict[str, Any] | None = None) -> str:
    def work(folder: Path) -> dict[str, Any]:
        left = shutil.ignore_patterns("manifest.json", "log.jsonl")
        shutil.copytree(run["models"]["prm"], folder, dirs_exist_ok=True, ignore=left)
        return {"files_hash": files_hash(folder), "counts": {}, **more}

    run_stage(out, "model", {"levels": ["process"]}, inputs or {}, work)
    return str(out)


def test_weights_stay_under_the_agreement_of_their_base(run: dict[str, Any], tmp_path: Path):
    model = _of_mit(run, tmp_path / "prm", name="Llama-3.1-8B", kind="model", license="llama3.1")
    with pytest.raises(InputError, match=r"stay under the Llama 3\.1 Community License"):
        publish_locally(tmp_path / "hub", models={"Llama-PRM": model}, license="apache-2.0")
    with pytest.raises(InputError, match="rename it"):
        publish_locally(tmp_path / "hub", models={"prm": model})
    publish_locally(tmp_path / "hub", models={"Llama-PRM": model})
    assert publication(tmp_path / "hub" / "openprm" / "Llama-PRM")["license"] == "llama3.1"


def test_weights_are_not_bound_by_who_wrote_what_they_were_trained_on(run: dict[str, Any], tmp_path: Path):
    base, writer = tmp_path / "qwen", {"name": "Llama-3.1-8B", "kind": "model", "license": "llama3.1"}
    base.mkdir()
    (base / "config.json").write_text("{}")
    origins = [writer, {"name": "qwen", "kind": "model", "license": "apache-2.0"}]
    model = _again(run, tmp_path / "prm", {"origins": origins}, {"base": base})
    publish_locally(tmp_path / "hub", models={"Llama-PRM": model}, license="apache-2.0")
    assert publication(tmp_path / "hub" / "openprm" / "Llama-PRM")["license"] == "apache-2.0"


@pytest.mark.parametrize("other", [{"shuffle_rewards": 0}, {"reward_name": "golden"}])
def test_the_tree_page_marks_no_pairs_of_other_values(run: dict[str, Any], tmp_path: Path, other: dict[str, Any]):
    trees = run["trees"]["train"]
    make_pairs(trees, tmp_path / "pairs", MinGap.parse("0.01"), PairParameters(select="all"), **other)
    publish_locally(
        tmp_path / "hub", trees={"train": trees}, pairs={"control": str(tmp_path / "pairs")}, license="mit"
    )
    assert "Marked are" not in (tmp_path / "hub" / "openprm" / "trees" / "trees.html").read_text("utf-8")


def test_a_folder_of_another_kind_is_told(run: dict[str, Any], tmp_path: Path):
    with pytest.raises(InputError, match="holds no trees"):
        publish_locally(tmp_path / "hub", trees={"train": run["pairs"]["train"]}, license="mit")


def test_an_evaluation_of_other_models_is_told(run: dict[str, Any], tmp_path: Path):
    with pytest.raises(InputError, match=r"measured none of the models \(none\)"):
        publish_locally(tmp_path / "hub", trees=run["trees"], evaluation=run["evaluation"], license="mit")
    with pytest.raises(InputError, match=r"no manifest\.json"):
        publish_locally(tmp_path / "hub", trees=run["trees"], evaluation=str(tmp_path / "nowhere"), license="mit")
