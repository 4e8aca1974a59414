"""An owner's repositories, published from a small run of real stages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openprm.push.model_files import add_scoring_code

from openprm.hub.publication import RECORDS
from openprm.runs.dataset_card import SplitFiles, dataset_header
from openprm.runs.folder import count_and_hash, read_manifest, read_rows, shard_path, write_shard
from openprm.runs.manifest import files_hash, run_stage
from openprm.schema import LEVELS, Candidate, Pair
from openprm.stages.evaluate import Evaluate
from openprm.stages.pairs import Pairs
from openprm.stages.reward import RewardResponses
from openprm.stages.score import Score
from openprm.stages.trees import Trees

from .folders import candidate, dataset

SPLITS = {"train": "", "test": "-test"}


def make_run(run: Path) -> Path:
    """Candidates, trees and pairs of two splits, each in the folder of its stage."""
    for split, end in SPLITS.items():
        dataset(run / f"samples{end}", Candidate, samples(split))
        RewardResponses(candidates=str(run / f"samples{end}"), by="answer").run(run / f"candidates{end}")
        candidates = str(run / f"candidates{end}")
        Trees(candidates=candidates, separator="line", distinct_numbers=True).run(run / f"trees{end}")
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
        for file in base.iterdir():
            shutil.copyfile(file, folder / file.name)
        (folder / "left_out.jsonl").write_text("", "utf-8")
        config = json.loads((folder / "config.json").read_text("utf-8"))
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
        return {"files_hash": files_hash(folder), "counts": {}}

    run_stage(run / name, "train", {"levels": ["process"]}, {"pairs": run / "pairs", "base": base}, work)
    stage = Score(candidates=str(run / "candidates-test"), model=str(run / name), separator="line")
    stage.run(run / f"scores-{name}")
    scores = {name: str(run / f"scores-{name}")}
    Evaluate(candidates=str(run / "candidates-test"), scores=scores).run(run / "evaluation")
    return run / name


def publish(run: Path, owner: Path) -> Path:
    """The datasets of a run as an owner's repositories."""
    for kind, record in RECORDS.items():
        folder = owner / kind
        parts = {split: read_manifest(run / f"{kind}{end}") for split, end in SPLITS.items()}
        for split, end in SPLITS.items():
            if kind == "pairs":
                for level in LEVELS:
                    _write_level(run / f"pairs{end}", folder, level, split)
            else:
                copy = folder / "data" / f"{split}-00000.parquet"
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(shard_path(run / f"{kind}{end}", 0), copy)
        configs = {"default": _split_files(folder, "data")}
        if kind == "pairs":
            rows = {split: part["rows"] for split, part in parts.items()}
            levels = {level: _split_files(folder, level) for level in LEVELS}
            configs = {"all": {split: SplitFiles(f"*/{split}-*.parquet", rows[split], 1) for split in parts}, **levels}
        card = dataset_header(record, configs, license="apache-2.0") + f"# {kind}\n"
        (folder / "README.md").write_text(card, "utf-8")
        _finish(folder, kind, parts, repositories={part: _inputs(run, made) for part, made in parts.items()})
    return owner


def _split_files(folder: Path, name: str) -> dict[str, SplitFiles]:
    files = {split: folder / name / f"{split}-00000.parquet" for split in SPLITS}
    return {
        split: SplitFiles(f"{name}/{split}-*.parquet", len(read_parquet(folder, split, name)), file.stat().st_size)
        for split, file in files.items()
        if file.exists()
    }


def _inputs(run: Path, made: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Where each input of a stage is published, by role."""
    there = {
        read_manifest(run / f"{kind}{end}")["row_hash"]: {"name": f"openprm/{kind}", "part": split}
        for kind in RECORDS
        for split, end in SPLITS.items()
    }
    return {role: there[entry["hash"]] for role, entry in made["inputs"].items() if entry["hash"] in there}


def _write_level(pairs: Path, folder: Path, level: str, split: str) -> None:
    scratch = folder / "scratch"
    digests = write_shard(scratch, 0, (row for row in read_rows(pairs, Pair) if row["level"] == level), Pair)
    rows, _ = count_and_hash(digests)
    if rows:  # `datasets` reads no empty file
        (folder / level).mkdir(exist_ok=True)
        shutil.move(shard_path(scratch, 0), folder / level / f"{split}-00000.parquet")
    shutil.rmtree(scratch)


def publish_model(run: Path, owner: Path, name: str = "openprm") -> Path:
    folder = owner / name
    shutil.copytree(run / name, folder, ignore=shutil.ignore_patterns("manifest.json", "log.jsonl"))
    add_scoring_code(folder)
    (folder / "statistics.png").write_bytes(b"png")
    (folder / ".eval_results").mkdir()
    (folder / ".eval_results" / "openprm.yaml").write_text("[]", "utf-8")
    (folder / "README.md").write_text(f"---\nlicense: apache-2.0\n---\n\n# {name}\n", "utf-8")
    manifest, evaluation = read_manifest(run / name), read_manifest(run / "evaluation")
    inputs = {"model": _inputs(run, manifest)}
    evaluation["dataset"] = _inputs(run, evaluation)["candidates"]
    _finish(
        folder,
        "model",
        {"model": manifest},
        origins=_licensed(manifest["origins"]),
        repositories=inputs,
        evaluation=evaluation,
    )
    return folder


def _licensed(origins: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**origin, "license": "apache-2.0"} for origin in origins]


def _finish(folder: Path, kind: str, parts: Mapping[str, Any], **more: Any) -> None:
    manifest = {
        "published_by": f"openprm {version('openprm')}",
        "kind": kind,
        "license": "apache-2.0",
        "origins": [],
        "parts": parts,
        **more,
        "files": listed(folder),
    }
    if kind == "pairs":
        manifest["rows"] = {
            level: {split: sum(row["level"] == level for row in read_parquet(folder, split, level)) for split in parts}
            for level in LEVELS
        }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2), "utf-8")


def read_parquet(folder: Path, split: str, level: str = "data") -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    file = folder / level / f"{split}-00000.parquet"
    return pq.read_table(file).to_pylist() if file.exists() else []


def listed(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != "manifest.json")
    return {file.relative_to(folder).as_posix(): files_hash(file) for file in files}


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
    change_manifest(file.parents[1], partial(_list, name=name, content=files_hash(file)))


def _list(manifest: dict[str, Any], name: str, content: str) -> None:
    manifest["files"][name] = content
