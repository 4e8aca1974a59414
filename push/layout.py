"""Lay out what a run made as the repositories of one owner: OUT/OWNER/candidates, trees, pairs, and each model.

Each folder is what its Hub repository will hold. In the folder OUT, `load_dataset("OWNER/trees")` and
`pipeline("openprm-scoring", model="OWNER/openprm")` work on it as they will on the Hub.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openprm.card import SplitFiles, render, write_card
from openprm.folder import DATA, MANIFEST, read_manifest, read_rows, take_digests, write_shard
from openprm.records import Candidate, Pair, Tree
from openprm.rejections import InputError
from openprm.stages import files_hash, run_stage

LEVELS = ("process", "outcome")
DATASETS = ("candidates", "trees", "pairs")


def publish_locally(
    out: str | Path,
    *,
    candidates: Mapping[str, str],
    trees: Mapping[str, str],
    pairs: Mapping[str, str],
    models: Mapping[str, str],
    evaluation: str,
    owner: str = "openprm",
    force: bool = False,
) -> dict[str, Any]:
    """Stage: dataset repositories from stage folders by split, model repositories by name. Returns the manifest."""
    for name in models:
        if name in DATASETS:
            raise InputError(f"a model cannot be called {name!r}: that is the repository of the {name}; rename it")

    def work(folder: Path) -> dict[str, Any]:
        root = folder / owner
        if root.exists():
            shutil.rmtree(root)  # a killed run's: copying again is quicker than checking
        _dataset(root / "candidates", "candidates", Candidate, candidates)
        _dataset(root / "trees", "trees", Tree, trees)
        _pairs(root / "pairs", pairs)
        for name, path in models.items():
            _model(root / name, name, path, evaluation, next(iter(candidates.values())))
        repositories = sorted(f"{owner}/{part.name}" for part in root.iterdir())
        return {"files_hash": files_hash(folder), "counts": {"repositories": ", ".join(repositories)}}

    inputs: dict[str, str | Path] = {"evaluation": evaluation, **models}
    for kind, splits in (("candidates", candidates), ("trees", trees), ("pairs", pairs)):
        inputs |= {f"{kind}/{split}": path for split, path in splits.items()}
    return run_stage(out, "publish", {"owner": owner, "models": list(models)}, inputs, work, force=force)


def _dataset(folder: Path, title: str, record: type, splits: Mapping[str, str]) -> None:
    """One config; the files of a stage folder become the files of a split."""
    (folder / DATA).mkdir(parents=True)
    files = {}
    for split, path in splits.items():
        size = 0
        for file in sorted((Path(path) / DATA).glob("*.parquet")):
            copy = folder / DATA / file.name.replace("train", split, 1)
            shutil.copyfile(file, copy)
            size += copy.stat().st_size
        files[split] = SplitFiles(f"{DATA}/{split}-*.parquet", read_manifest(path)["rows"], size)
    _write_manifests(folder, splits)
    counts = read_manifest(next(iter(splits.values())))["counts"]
    write_card(folder, record, title, {"default": files}, counts)


def _pairs(folder: Path, splits: Mapping[str, str]) -> None:
    """Configs `all`, `process` and `outcome`, of which the first reads the files of the other two.

    A level without pairs has no config, nor a split of it without pairs a file: `datasets` cannot read an empty one.
    """
    parts: dict[str, dict[str, SplitFiles]] = {level: {} for level in LEVELS}
    for split, path in splits.items():
        for level in LEVELS:
            written = folder / f".{level}"
            rows = write_shard(written, 0, (row for row in read_rows(path, Pair) if row["level"] == level), Pair)
            take_digests(written)
            if rows:
                target = folder / level / f"{split}-00000.parquet"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(next((written / DATA).glob("*.parquet")), target)
                parts[level][split] = SplitFiles(f"{level}/{split}-*.parquet", rows, target.stat().st_size)
            shutil.rmtree(written)
    everything = {}
    for split in splits:
        levels = [part[split] for part in parts.values() if split in part]
        rows, size = sum(part.rows for part in levels), sum(part.size for part in levels)
        everything[split] = SplitFiles(f"*/{split}-*.parquet", rows, size)
    _write_manifests(folder, splits)
    counts = read_manifest(next(iter(splits.values())))["counts"]
    write_card(
        folder, Pair, "pairs", {"all": everything, **{level: part for level, part in parts.items() if part}}, counts
    )


def _model(folder: Path, name: str, path: str, evaluation: str, candidates: str) -> None:
    from openprm.scoring import load_scorer

    # from the package, and as the last thing done to the model: only so does the scoring code go along
    load_scorer(path).save_pretrained(str(folder))
    shutil.copyfile(Path(path) / MANIFEST, folder / MANIFEST)
    results = json.loads((Path(evaluation) / "results.json").read_text("utf-8"))["table"]
    counts = read_manifest(evaluation)["counts"]
    example = next(iter(read_rows(candidates, Candidate)))
    card = render(
        "model.md.j2",
        title=name,
        levels=" and ".join(read_manifest(path)["parameters"]["levels"]),
        question=example["question"],
        response=example["response"],
        n=counts["candidates"],
        prompts=counts["prompts"],
        results=results,
    )
    (folder / "README.md").write_text(card, "utf-8")


def _write_manifests(folder: Path, splits: Mapping[str, str]) -> None:
    manifests = {split: read_manifest(path) for split, path in splits.items()}
    (folder / MANIFEST).write_text(json.dumps(manifests, indent=2, ensure_ascii=False) + "\n", "utf-8")
