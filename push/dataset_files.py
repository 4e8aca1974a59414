"""What the repository of a dataset or a Space holds besides card and manifest: copies, and pages made of rows."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from openprm.runs.dataset_card import SplitFiles
from openprm.runs.folder import DATA, count_and_hash, read_manifest, read_rows, write_shard
from openprm.schema import LEVELS, Node, Pair, Tree
from openprm.trees.pairs import PairParameters, sibling_pairs
from openprm.trees.tree import siblings
from openprm.viewer.tree_page import write_tree_page

_SHOWN_TREES = 20


def copy_shards(folder: Path, splits: Mapping[str, str]) -> dict[str, dict[str, SplitFiles]]:
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
    return {"default": files}


def copy_pairs(folder: Path, splits: Mapping[str, str]) -> dict[str, dict[str, SplitFiles]]:
    """Config `all`, and one of each level, of which the first reads the files of the others.

    A level without pairs has no config, nor a split of it without pairs a file: `datasets` cannot read an empty one.
    """
    parts: dict[str, dict[str, SplitFiles]] = {level: {} for level in LEVELS}
    for split, path in splits.items():
        for level in LEVELS:
            written = folder / f".{level}"
            digests = write_shard(written, 0, (row for row in read_rows(path, Pair) if row["level"] == level), Pair)
            rows, _ = count_and_hash(digests)
            if rows:
                target = folder / level / f"{split}-00000.parquet"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(next((written / DATA).glob("*.parquet")), target)
                parts[level][split] = SplitFiles(f"{level}/{split}-*.parquet", rows, target.stat().st_size)
            shutil.rmtree(written)
    everything = {}
    for split in splits:
        levels = [part[split] for part in parts.values() if split in part]
        # in the stage's order, which a mere `*/` would turn round
        patterns = [str(part.pattern) for part in levels]
        everything[split] = SplitFiles(patterns, sum(part.rows for part in levels), sum(part.size for part in levels))
    return {"all": everything, **{level: part for level, part in parts.items() if part}}


def tree_page(path: Path, title: str, trees: str, pairs: Iterable[str]) -> None:
    """The first trees with a fork; marked are the siblings of which the process pairs of `pairs` were made."""
    content = read_manifest(trees)["row_hash"]
    taken = next((manifest for manifest in map(read_manifest, pairs) if _made_of(manifest, content)), None)
    about = f"The first {_SHOWN_TREES} trees with a fork."
    if taken is not None:
        about += " Marked are the siblings of which process pairs were made."
        given = taken["parameters"].items()
        parameters = PairParameters(**{key: value for key, value in given if key in PairParameters.__annotations__})

    def marked(tree: Tree) -> list[tuple[Node, Node]]:
        if taken is None:
            return []
        counts, source = taken["counts"], tree["source"]
        prior = counts.get("prior_by_source", {}).get(source)  # null where it is infinite
        return sibling_pairs(
            tree, counts["min_gap_by_source"][source], parameters, math.inf if prior is None else prior
        )

    forked: Iterator[Any] = (tree for tree in read_rows(trees, Tree) if siblings(tree))  # type: ignore[arg-type]
    write_tree_page(islice(forked, _SHOWN_TREES), path, title=title, pairs=marked, about=about)


def _made_of(manifest: Mapping[str, Any], trees: str) -> bool:
    """Whether process pairs are of trees of this content, by the values that the trees have."""
    parameters = manifest["parameters"]
    same = manifest["inputs"].get("trees", {}).get("hash") == trees and parameters["process"]
    return same and parameters.get("reward_name") is None and parameters.get("shuffle_rewards") is None


def prompts_by_source(path: str) -> dict[str, int]:
    """The number of different prompts from each source of a stage's folder, the most first."""
    prompts = {(row["source"], row["prompt_id"]) for row in read_rows(path)}
    return dict(Counter(source for source, _ in sorted(prompts)).most_common())


def excerpt(value: Any, characters: int = 300, items: int = 2) -> Any:
    """A row whose long texts and lists are cut, and say so."""
    if isinstance(value, Mapping):
        return {name: excerpt(item) for name, item in value.items()}
    if isinstance(value, list):
        return [*map(excerpt, value[:items]), *([f"... {len(value) - items:,} more"] if len(value) > items else [])]
    if isinstance(value, str) and len(value) > characters:
        return f"{value[:characters]}... ({len(value):,} characters)"
    return value


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Texts by their path in the repository."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
