"""Lay out what a run made as the repositories of one owner: OUT/OWNER/candidates, trees, pairs, and each model.

Each folder is what its Hub repository will hold, with a `manifest.json` that says what is in it, under which licence,
of whose data, and the hash of every file (see `openprm.published`, which reads it). In the folder OUT,
`load_dataset("OWNER/trees")` and `pipeline("openprm-scoring", model="OWNER/openprm")` work as they will on the Hub.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from openprm.push import cards
from openprm.push.card_check import check_card, check_eval_results
from openprm.push.model_files import add_scoring_code, copy_checkpoint, kind
from openprm.push.plots import plot_evaluation, plot_statistics

from openprm.card import SplitFiles
from openprm.folder import DATA, MANIFEST, read_manifest, read_rows, take_digests, write_shard
from openprm.licences import combined
from openprm.origins import unique, with_licences
from openprm.pairs import PairParameters, sibling_pairs
from openprm.published import MODEL
from openprm.records import LEVELS, Candidate, Node, Pair, Tree
from openprm.rejections import InputError
from openprm.stages import describe_input, files_hash, run_stage
from openprm.tree import siblings
from openprm.tree_page import write_tree_page

DATASETS = ("candidates", "trees", "pairs")
DEMO = "demo"
CARD = "README.md"
_SHOWN_TREES = 20
_EXAMPLE = {"question": "What is 2 + 3?", "response": "Two and three make five.\nSo: 5"}


def publish_locally(
    out: str | Path,
    *,
    candidates: Mapping[str, str] | None = None,
    trees: Mapping[str, str] | None = None,
    pairs: Mapping[str, str] | None = None,
    models: Mapping[str, str] | None = None,
    evaluation: str | None = None,
    metrics: Sequence[str] = (),
    demo: str | None = None,
    owner: str = "openprm",
    licence: str | None = None,
    source_licences: Mapping[str, str] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: dataset repositories from stage folders by split, model repositories by name. Returns the manifest.

    evaluation: a folder of `openprm.evaluation_stage`; its results go to the models that it measured.
    metrics: names of `openprm.metrics.METRICS`. demo: the model that the demo Space shows.
    licence: of what is published, where its origins leave a choice. source_licences: of origins that do not say
    theirs, by the origin's name.

    Raises InputError where a licence is missing or forbids it, or a card would say what no manifest says.
    """
    datasets = {"candidates": candidates or {}, "trees": trees or {}, "pairs": pairs or {}}
    models = models or {}
    _check_names([*models], metrics, demo)

    def work(folder: Path) -> dict[str, Any]:
        root = folder / owner
        if root.exists():
            shutil.rmtree(root)  # a killed run's: copying again is quicker than checking
        lay = _Layout(root, owner, licence, source_licences or {}, _by_content(owner, datasets, models))
        for name, splits in datasets.items():
            if splits:
                lay.dataset(name, splits, datasets)
        for name, path in models.items():
            lay.model(name, Path(path), evaluation, datasets["candidates"])
        for name in metrics:
            lay.metric(name)
        if demo is not None:
            lay.demo(demo, datasets["candidates"])
        if not root.exists():
            raise InputError("there is nothing to publish: give candidates, trees, pairs, models or metrics")
        repositories = sorted(f"{owner}/{part.name}" for part in root.iterdir())
        return {"files_hash": files_hash(folder), "counts": {"repositories": ", ".join(repositories)}}

    inputs: dict[str, str | Path] = {**({"evaluation": evaluation} if evaluation else {}), **models}
    for name, splits in datasets.items():
        inputs |= {f"{name}/{split}": path for split, path in splits.items()}
    parameters = {
        "owner": owner,
        "models": [*models],
        "metrics": [*metrics],
        "demo": demo,
        "licence": licence,
        "source_licences": dict(source_licences or {}),
    }
    return run_stage(out, "publish", parameters, inputs, work, force=force)


def _check_names(models: Sequence[str], metrics: Sequence[str], demo: str | None) -> None:
    taken = [*DATASETS, *metrics, *([DEMO] if demo else [])]
    for name in models:
        if name in taken:
            raise InputError(f"a model cannot be called {name!r}: that is another repository's name; rename it")
    if demo is not None and demo not in models:
        raise InputError(f"the demo shows {demo!r}, which is none of the models ({', '.join(models) or 'none'})")


def _by_content(
    owner: str, datasets: Mapping[str, Mapping[str, str]], models: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """The repository and the part of it (a split, or `model`) that hold what has this hash; the first that do."""
    found: dict[str, dict[str, str]] = {}
    splits = [(name, split, path) for name, paths in datasets.items() for split, path in paths.items()]
    for name, part, path in [*splits, *((name, MODEL, path) for name, path in models.items())]:
        found.setdefault(describe_input(path)["hash"], {"name": f"{owner}/{name}", "part": part})
    return found


class _Layout:
    """The owner's folder, with what holds for all repositories in it."""

    def __init__(
        self,
        root: Path,
        owner: str,
        licence: str | None,
        source_licences: Mapping[str, str],
        by_content: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.root = root
        self.owner = owner
        self.licence = licence
        self.source_licences = source_licences
        self.by_content = by_content

    def dataset(self, name: str, splits: Mapping[str, str], datasets: Mapping[str, Mapping[str, str]]) -> None:
        folder = self.root / name
        configs = _copy_pairs(folder, splits) if name == "pairs" else _copy_shards(folder, splits)
        publication = self._publication(name, {split: read_manifest(path) for split, path in splits.items()})
        if name == "pairs":
            publication["rows"] = {
                config: {split: part.rows for split, part in parts.items()} for config, parts in configs.items()
            }
        rows: dict[str, Iterator[dict[str, Any]]] = {split: read_rows(path) for split, path in splits.items()}
        plot_statistics(name, rows, folder / "statistics.png")
        if name == "trees":
            first = next(iter(splits.values()))
            _tree_page(folder / "trees.html", f"{self.owner}/{name}", first, datasets["pairs"].values())
        self._finish(folder, publication, cards.dataset_card(f"{self.owner}/{name}", publication, configs))

    def model(self, name: str, path: Path, evaluation: str | None, candidates: Mapping[str, str]) -> None:
        folder = self.root / name
        repository = f"{self.owner}/{name}"
        manifest = read_manifest(path)
        copy_checkpoint(path, folder)
        publication = self._publication(kind(path), {MODEL: manifest})
        if publication["kind"] == "policy":
            self._finish(folder, publication, cards.policy_card(repository, publication))
            return
        add_scoring_code(folder)
        if evaluation is not None and (measured := self._measured(evaluation, manifest["files_hash"])):
            publication["evaluation"] = measured
            plot_evaluation(measured, folder / "statistics.png")
            results = cards.eval_results(repository, publication)
            if results is not None:
                (folder / ".eval_results").mkdir()
                (folder / ".eval_results" / "best_of_n.yaml").write_text(results, "utf-8")
                _refuse(repository, check_eval_results(results, publication))
        example = (
            next(iter(read_rows(next(iter(candidates.values())), Candidate)), _EXAMPLE) if candidates else _EXAMPLE
        )
        config = json.loads((folder / "config.json").read_text("utf-8"))
        self._finish(folder, publication, cards.model_card(repository, publication, example, config))

    def metric(self, name: str) -> None:
        from openprm.metrics import metric_files

        folder = self.root / name
        _write_files(folder, metric_files(name))
        publication = {**_published("metric"), "licence": "apache-2.0", "origins": [], "parts": {}}
        self._finish(folder, publication, cards.metric_card(f"{self.owner}/{name}", name, publication))

    def demo(self, model: str, candidates: Mapping[str, str]) -> None:
        from openprm.demo import GRADIO, space_files

        folder = self.root / DEMO
        _write_files(folder, space_files(f"{self.owner}/{model}", **_demo_example(candidates)))
        publication = {**_published("demo"), "licence": "apache-2.0", "origins": [], "parts": {}}
        card = cards.demo_card(f"{self.owner}/{DEMO}", publication, f"{self.owner}/{model}", GRADIO)
        self._finish(folder, publication, card)

    def _publication(self, kind: str, parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        origins = unique(origin for manifest in parts.values() for origin in manifest.get("origins", []))
        origins = with_licences(origins, self.source_licences)
        return {
            **_published(kind),
            "licence": combined(origins, self.licence),
            "origins": origins,
            "parts": dict(parts),
            "repositories": {part: self._published_inputs(manifest) for part, manifest in parts.items()},
        }

    def _published_inputs(self, manifest: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
        """Where in this layout the inputs of a stage are, by role, as far as they are."""
        contents = {role: made_of["hash"] for role, made_of in manifest["inputs"].items()}
        return {role: self.by_content[content] for role, content in contents.items() if content in self.by_content}

    def _measured(self, evaluation: str, model: str) -> dict[str, Any] | None:
        """An evaluation's manifest as far as it is about one model, known by its hash; None if it measured others."""
        manifest = read_manifest(evaluation)
        names = [name for name, made in manifest["models"].items() if made is not None and made["hash"] == model]
        if not names:
            return None

        def about(row: Mapping[str, Any]) -> bool:
            scorer = row["method"].partition(": ")[2]
            return not scorer or scorer.rpartition("/")[0] in names

        return {
            **manifest,
            "dataset": self.by_content.get(manifest["inputs"]["candidates"]["hash"]),
            "inputs": {"candidates": manifest["inputs"]["candidates"]},
            "counts": {
                **manifest["counts"],
                "unscored": {name: manifest["counts"]["unscored"][name] for name in names},
            },
            "metrics": [row for row in manifest["metrics"] if about(row)],
            "models": {name: manifest["models"][name] for name in names},
        }

    def _finish(self, folder: Path, publication: Mapping[str, Any], card: str) -> None:
        _refuse(f"{self.owner}/{folder.name}", check_card(card, publication))
        (folder / CARD).write_text(card, "utf-8")
        write_publication(folder, publication)


def _refuse(repository: str, problems: Sequence[str]) -> None:
    if problems:
        raise InputError(f"the card of {repository} cannot be published: {'; '.join(problems)}")


def write_publication(folder: Path, publication: Mapping[str, Any]) -> None:
    """Writes `manifest.json`, with the hash of every other file, into a repository's folder."""
    hashes = {
        path.relative_to(folder).as_posix(): files_hash(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }
    text = json.dumps({**publication, "files": hashes}, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, "utf-8")


def _published(kind: str) -> dict[str, Any]:
    return {"published_by": f"openprm {version('openprm')}", "kind": kind}


def _copy_shards(folder: Path, splits: Mapping[str, str]) -> dict[str, dict[str, SplitFiles]]:
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


def _copy_pairs(folder: Path, splits: Mapping[str, str]) -> dict[str, dict[str, SplitFiles]]:
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
    return {"all": everything, **{level: part for level, part in parts.items() if part}}


def _tree_page(path: Path, title: str, trees: str, pairs: Iterable[str]) -> None:
    """The first trees with a fork; marked are the siblings of which the process pairs of `pairs` were made."""
    content = read_manifest(trees)["row_hash"]
    taken = [manifest for manifest in map(read_manifest, pairs) if _made_of(manifest, content)]

    def marked(tree: Tree) -> list[tuple[Node, Node]]:
        if not taken:
            return []
        names = PairParameters.__dataclass_fields__
        parameters = PairParameters(**{key: value for key, value in taken[0]["parameters"].items() if key in names})
        return sibling_pairs(tree, taken[0]["counts"]["min_gap_by_source"][tree["source"]], parameters)

    about = f"The first {_SHOWN_TREES} trees with a fork."
    if taken:
        about += " Marked are the siblings of which process pairs were made."
    forked: Iterator[Any] = (tree for tree in read_rows(trees, Tree) if siblings(tree))  # type: ignore[arg-type]
    write_tree_page(islice(forked, _SHOWN_TREES), path, title=title, pairs=marked, about=about)


def _made_of(manifest: Mapping[str, Any], trees: str) -> bool:
    return manifest["inputs"].get("trees", {}).get("hash") == trees and manifest["parameters"]["process"]


def _demo_example(candidates: Mapping[str, str]) -> dict[str, Any]:
    """The first question of one message, with its first two different answers; nothing where there is none."""
    answers: dict[str, dict[str, None]] = {}
    for row in read_rows(next(iter(candidates.values())), Candidate) if candidates else ():
        if len(row["question"]) == 1 and row["response"].strip():
            question = row["question"][0]["content"]
            answers.setdefault(question, {})[row["response"]] = None
            if len(answers[question]) == 2:
                return {"example": {"question": question, "answers": [*answers[question]]}}
    return {}


def _write_files(folder: Path, files: Mapping[str, str | Path]) -> None:
    """Texts, and copies of files, by their path in the repository."""
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, target)
        else:
            target.write_text(content, "utf-8")
