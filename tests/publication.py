"""An owner's repositories, published from a small run of real stages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openprm.push.publish import Publish

from openprm.hub.publication import RECORDS, file_names
from openprm.models.reward_checkpoint import load_reward_model, save_reward_model
from openprm.runs.dataset import finish_dataset
from openprm.runs.folder import write_shard
from openprm.runs.manifest import files_hash, run_stage
from openprm.schema import Candidate
from openprm.stages.choices import Choices
from openprm.stages.label import Label
from openprm.stages.pairs import Pairs
from openprm.stages.reward import RewardResponses
from openprm.stages.score import Score
from openprm.stages.trees import Trees

from .folders import candidate, dataset

SPLITS = {"train": "", "test": "-test"}
Fields = dict[str, Any]  # of `Publish`


def make_run(run: Path) -> Path:
    """Candidates, trees, labels and pairs of two splits, each in the folder of its stage."""
    for split, end in SPLITS.items():
        dataset(run / f"samples{end}", Candidate, samples(split))
        RewardResponses(candidates=str(run / f"samples{end}"), by="answer").run(run / f"candidates{end}")
        candidates = str(run / f"candidates{end}")
        Trees(candidates=candidates, separator="line", distinct_numbers=True).run(run / f"trees{end}")
        Label(labels=str(run / f"trees{end}"), by="tree").run(run / f"labels{end}")
        Pairs(trees=str(run / f"trees{end}"), min_gap="0.2", select="all", outcome="best").run(run / f"pairs{end}")
    return run


def samples(split: str) -> list[dict[str, Any]]:
    answers = ("2 and 3 are 5.\nThe answer is 5", "", "2 and 3 are 5.\nThe answer is 9", "No idea.\nPerhaps 4")
    return [
        candidate(f"{split}-{prompt}", index, answer.replace("5", str(prompt + 5)), reference=str(prompt + 5))
        for prompt in range(3)
        for index, answer in enumerate(answers)
    ]


def make_model(run: Path, base: Path, name: str = "openprm") -> Path:
    """A model as the training stage leaves one (it is not trained), its scores, and an evaluation."""

    def work(folder: Path) -> dict[str, Any]:
        save_reward_model(*load_reward_model(base), folder)
        (folder / "left_out.jsonl").write_text("", "utf-8")
        return {"files_hash": files_hash(folder), "counts": {}}

    run_stage(run / name, "train", {"levels": ["process"]}, {"pairs": run / "pairs", "base": base}, work)
    stage = Score(candidates=str(run / "candidates-test"), model=str(run / name), separator="line")
    stage.run(run / f"scores-{name}")
    scores = {name: str(run / f"scores-{name}")}
    Choices(candidates=str(run / "candidates-test"), scores=scores).run(run / "evaluation")
    return run / name


def copy_model(
    model: str, out: Path, change: Callable[[Path], Any] = lambda folder: None, inputs: Any = None, **more: Any
) -> str:
    """The files of a model, changed, as another training leaves them; more: what its manifest says besides."""

    def work(folder: Path) -> dict[str, Any]:
        shutil.copytree(model, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json", "log.jsonl"))
        change(folder)
        return {"files_hash": files_hash(folder), "counts": {}, **more}

    run_stage(out, "train", {"levels": ["process"]}, inputs or {}, work)
    return str(out)


def datasets_of(run: Path) -> dict[str, dict[str, str]]:
    """The folders of a run's datasets, as `Publish` takes them."""
    return {kind: {split: str(run / f"{kind}{end}") for split, end in SPLITS.items()} for kind in RECORDS}


def candidates_under(root: Path, *licenses: str | None, text: str = "Red. Blue.") -> dict[str, str]:
    """Candidates whose origins have these licenses."""
    origins = [{"name": f"data{index}", "license": license} for index, license in enumerate(licenses)]

    def work(folder: Path) -> dict[str, Any]:
        rows = [candidate("p", index, f"{text} {index}", 1.0) for index in range(2)]
        digests = write_shard(folder, 0, rows, Candidate)
        return {**finish_dataset(folder, Candidate, "candidates", digests, {}), "origins": origins}

    run_stage(root, "test", {}, {}, work)
    return {"train": str(root)}


def publish(run: Path, owner: Path, model: Path | None = None) -> Path:
    """A run as an owner's repositories: its datasets, and a model of `make_model`'s; a copy, to change at will."""
    models = {model.name: str(model)} if model else {}
    evaluation = str(run / "evaluation") if model and model.parent == run else None
    out = run / ("hub-model" if model else "hub")  # laid out once
    stage = Publish(**datasets_of(run), models=models, evaluation=evaluation, license="apache-2.0")
    stage.run(out, replace=True)
    return shutil.copytree(out / "openprm", owner)


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def change_rows(file: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Changes the rows of a Parquet file, and lists the file in the manifest as it is now."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
    name = file.relative_to(file.parents[1]).as_posix()
    change_manifest(file.parents[1], lambda manifest: manifest["files"].update({name: files_hash(file)}))


def list_files(folder: Path) -> None:
    """Lists in the manifest every file as it is now."""
    hashes = {name: files_hash(folder / name) for name in file_names(folder) if name != "manifest.json"}
    change_manifest(folder, lambda manifest: manifest.update(files=hashes))
