"""Lay out what a run made as the repositories of one owner: OUT/OWNER/candidates, trees, pairs, and each model.

Each folder is what its Hub repository will hold, with a `manifest.json` that says what is in it, under which license,
from which sources, and the hash of every file (see `openprm.hub.publication`, which reads it). In the folder OUT,
`load_dataset("OWNER/trees")` and `pipeline("openprm-scoring", model="OWNER/openprm")` work as they will on the Hub.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openprm.errors import InputError
from openprm.hub.publication import MODEL
from openprm.runs.folder import MANIFEST, is_folder, read_manifest, read_rows
from openprm.runs.licenses import choose_license
from openprm.runs.manifest import describe_input, files_hash, run_stage
from openprm.runs.provenance import unique, with_licenses
from openprm.schema import Candidate

from .cards import RECORDS, documents
from .dataset_files import copy_pairs, copy_shards, tree_page, write_files
from .model_files import add_scoring_code, copy_checkpoint, kind
from .plots import plot_evaluation, plot_statistics
from .repositories import check_name, file_names

OWNER = "openprm"  # the default
DEMO = "demo"
_EXAMPLE = {"question": "What is 2 + 3?", "response": "Two and three make five.\nSo: 5"}

Splits = Mapping[str, str]


def publish_locally(
    out: str | Path,
    *,
    candidates: Splits | None = None,
    trees: Splits | None = None,
    pairs: Splits | None = None,
    models: Mapping[str, str] | None = None,
    evaluation: str | None = None,
    demo: str | None = None,
    owner: str = OWNER,
    license: str | None = None,
    source_licenses: Mapping[str, str] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: dataset repositories from stage folders by split, model repositories by name. Returns the manifest.

    evaluation: a folder of `openprm.stages.evaluate`; its results go to the models that it measured.
    demo: the model that the demo Space shows. license: of what is published; may be left out where all sources have
    the same permissive one. source_licenses: of sources whose license is not known, by name.

    Raises InputError for a name that the Hub does not allow, where `out` holds the layout of another owner (unless
    `force`), where the license is missing, and for a checkpoint that was changed after it was made.
    """
    datasets = {"candidates": candidates or {}, "trees": trees or {}, "pairs": pairs or {}}
    models, source_licenses = models or {}, source_licenses or {}
    _check_names(owner, datasets, models, demo)
    if not force and is_folder(out) and (there := read_manifest(out)["parameters"].get("owner", owner)) != owner:
        raise InputError(f"{out} holds the layout of {there}; choose another --out for {owner}, or --force")
    if evaluation is not None:
        _check_measured(evaluation, models)

    def work(folder: Path) -> dict[str, Any]:
        root = folder / owner
        if root.exists():
            shutil.rmtree(root)  # a killed run's: copying again is quicker than checking
        layout = _Layout(root, license, source_licenses, datasets, models)
        for name, splits in datasets.items():
            if splits:
                layout.dataset(name, splits)
        for name, path in models.items():
            layout.model(name, Path(path), evaluation)
        if demo is not None:
            layout.demo(demo)
        if not root.exists():
            raise InputError("there is nothing to publish: give candidates, trees, pairs or models")
        repositories = sorted(f"{owner}/{part.name}" for part in root.iterdir())
        return {"files_hash": files_hash(folder), "counts": {"repositories": ", ".join(repositories)}}

    inputs: dict[str, str | Path] = {**({"evaluation": evaluation} if evaluation else {}), **models}
    for name, splits in datasets.items():
        inputs |= {f"{name}/{split}": path for split, path in splits.items()}
    parameters = {
        "owner": owner,
        "models": [*models],
        "demo": demo,
        "license": license,
        "source_licenses": dict(source_licenses),
    }
    return run_stage(out, "publish", parameters, inputs, work, force=force, replace_finished=True)


def _check_names(owner: str, datasets: Mapping[str, Splits], models: Mapping[str, str], demo: str | None) -> None:
    """Raises InputError for a name that the Hub or `datasets` does not allow, or that two repositories would have."""
    for name in (*datasets, *models):
        check_name(f"{owner}/{name}")
    for name in models:
        if name in (*datasets, DEMO):
            raise InputError(f"a model cannot be called {name!r}: that is another repository's name; rename it")
    if demo is not None and demo not in models:
        raise InputError(f"the demo shows {demo!r}, which is none of the models ({', '.join(models) or 'none'})")
    for name, split in ((name, split) for name, splits in datasets.items() for split in splits):
        if not re.fullmatch(r"\w+(\.\w+)*", split):
            raise InputError(
                f"{name}: no split can be called {split!r}; use letters, digits and _, such as train or test_a"
            )


def _check_measured(evaluation: str, models: Mapping[str, str]) -> None:
    """Raises InputError where the evaluation is about none of the models, so that nothing of it would be published."""
    found = read_manifest(evaluation).get("models", {})
    measured = {made["hash"] for made in found.values() if made is not None}
    if measured.isdisjoint(describe_input(path)["hash"] for path in models.values()):
        names = ", ".join(models) or "none"
        raise InputError(f"{evaluation} measured none of the models ({names}); leave it out, or give theirs")


class _Layout:
    """The owner's folder, with what holds for all repositories in it."""

    def __init__(
        self,
        root: Path,
        license: str | None,
        source_licenses: Mapping[str, str],
        datasets: Mapping[str, Splits],
        models: Mapping[str, str],
    ) -> None:
        self.root, self.license, self.source_licenses = root, license, source_licenses
        self.datasets = datasets
        #: The repository and the part of it (a split, or `model`) that hold what has this hash; the first that do.
        self.published: dict[str, dict[str, str]] = {}
        splits = [(name, split, path) for name, paths in datasets.items() for split, path in paths.items()]
        for name, part, path in [*splits, *((name, MODEL, path) for name, path in models.items())]:
            place = {"name": f"{root.name}/{name}", "part": part}
            self.published.setdefault(describe_input(path)["hash"], place)
        paths = [path for _, _, path in splits] + [*models.values()]
        sources = {origin["name"] for path in paths for origin in read_manifest(path).get("origins", [])}
        for name in source_licenses.keys() - sources:
            there = ", ".join(sorted(sources)) or "none"
            raise InputError(f"--source-license {name}: there is no such source; the sources are: {there}")

    def dataset(self, name: str, splits: Splits) -> None:
        folder = self.root / name
        configs = copy_pairs(folder, splits) if name == "pairs" else copy_shards(folder, splits)
        publication = self._publication(name, name, {split: read_manifest(path) for split, path in splits.items()})
        publication["configs"] = {
            config: {split: asdict(files) for split, files in parts.items()} for config, parts in configs.items()
        }
        rows: dict[str, Iterator[dict[str, Any]]] = {s: read_rows(path, RECORDS[name]) for s, path in splits.items()}
        plot_statistics(name, rows, folder / "statistics.png")
        if name == "trees":
            first = next(iter(splits.values()))
            tree_page(folder / "trees.html", publication["repository"], first, self.datasets["pairs"].values())
        _finish(folder, publication)

    def model(self, name: str, path: Path, evaluation: str | None) -> None:
        folder = self.root / name
        manifest = read_manifest(path)
        copy_checkpoint(path, folder)
        if files_hash(folder) != manifest["files_hash"]:
            raise InputError(
                f"{path} is not as its {MANIFEST} says: a file of it was changed or added after it was made; make it"
                " again"
            )
        publication = self._publication(name, kind(path), {MODEL: manifest})
        if publication["kind"] == "model":
            add_scoring_code(folder)
            publication["scoring"] = json.loads((folder / "config.json").read_text("utf-8"))["openprm"]
            publication["example"] = self._example(publication)
            if evaluation is not None and (measured := self._measured(evaluation, manifest["files_hash"])):
                publication["evaluation"] = measured
                plot_evaluation(measured, folder / "statistics.png")
        _finish(folder, publication)

    def demo(self, model: str) -> None:
        from openprm.viewer.demo import EXAMPLE, GRADIO, example_of, space_files

        first = next(iter(self.datasets["candidates"].values()), None)
        example = None if first is None else example_of(first)
        shown = {} if first is None or example is None else {"candidates": read_manifest(first)}
        publication = self._publication(DEMO, "demo", {}, [*shown.values()])
        publication["demo"] = {"model": f"{self.root.name}/{model}", "gradio": GRADIO}
        write_files(self.root / DEMO, space_files(publication["demo"]["model"], example or EXAMPLE))
        _finish(self.root / DEMO, publication)

    def _publication(
        self, name: str, kind: str, parts: Mapping[str, Any], sources: list[Mapping[str, Any]] | None = None
    ) -> dict[str, Any]:
        """The start of a publication manifest. sources: the manifests to take origins from, where not the parts'."""
        manifests = [*parts.values()] if sources is None else sources
        origins = unique(origin for manifest in manifests for origin in manifest.get("origins", []))
        origins = with_licenses(origins, self.source_licenses)
        own = kind == "demo" and not origins  # our code alone
        return {
            "published_by": f"openprm {version('openprm')}",
            "repository": f"{self.root.name}/{name}",
            "kind": kind,
            "license": "apache-2.0" if own else choose_license(origins, self.license),
            "origins": origins,
            "parts": dict(parts),
            "repositories": {part: self._published_inputs(manifest) for part, manifest in parts.items()},
        }

    def _published_inputs(self, manifest: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
        """Where in this layout the inputs of a stage are, by role, as far as they are."""
        contents = {role: made_of["hash"] for role, made_of in manifest["inputs"].items()}
        return {role: self.published[content] for role, content in contents.items() if content in self.published}

    def _example(self, publication: Mapping[str, Any]) -> dict[str, Any]:
        """The first candidate, where its sources are the model's too, which the card names."""
        for path in self.datasets["candidates"].values():
            origins = with_licenses(read_manifest(path).get("origins", []), self.source_licenses)
            row = next(iter(read_rows(path, Candidate)), None)
            if row is not None and all(origin in publication["origins"] for origin in origins):
                return {"question": row["question"], "response": row["response"]}
        return _EXAMPLE

    def _measured(self, evaluation: str, model: str) -> dict[str, Any] | None:
        """An evaluation's manifest as far as it is about one model, known by its hash, or about models of its kind.

        None if it measured others.
        """
        manifest = read_manifest(evaluation)
        names = [name for name, made in manifest["models"].items() if made is not None and made["hash"] == model]
        kinds = {kind: entry for kind, entry in manifest["kinds"].items() if {*names} & {*entry["models"]}}
        if not kinds:
            return None

        def is_about(row: Mapping[str, Any]) -> bool:
            scorer = row["method"].partition(": ")[2]
            return not scorer or scorer.rpartition("/")[0] in kinds

        unscored = manifest["counts"]["unscored"]
        return {
            **{key: value for key, value in manifest.items() if key != "differences"},
            "dataset": self.published.get(manifest["inputs"]["candidates"]["hash"]),
            "inputs": {"candidates": manifest["inputs"]["candidates"]},
            "counts": {**manifest["counts"], "unscored": {name: unscored[name] for name in names}},
            "metrics": [row for row in manifest["metrics"] if is_about(row)],
            "models": {name: manifest["models"][name] for name in names},
            "kinds": kinds,
        }


def _finish(folder: Path, publication: Mapping[str, Any]) -> None:
    """Writes the card, and `manifest.json` with the hash of every other file."""
    write_files(folder, documents(publication))
    hashes = {name: files_hash(folder / name) for name in file_names(folder)}
    text = json.dumps({**publication, "files": hashes}, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, "utf-8")
