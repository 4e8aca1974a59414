"""The stage that lays out a run as the repositories of one owner: OUT/OWNER/candidates, trees,
labels, pairs, and each model.

Each folder is what its Hub repository will hold, with a `manifest.json` that says what is in it, under which license,
from which sources, and the hash of every file (see `openprm.hub.publication`, which reads it). In the folder OUT,
`load_dataset("OWNER/trees")` and `pipeline("openprm-scoring", model="OWNER/openprm")` work as they will on the Hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openprm.errors import InputError
from openprm.evaluation.choices_plot import plot_evaluation
from openprm.evaluation.data import RANDOM
from openprm.hub.publication import MODEL, RECORDS, file_names
from openprm.runs.declaration import Stage, input_path, parameter
from openprm.runs.folder import MANIFEST, read_manifest, read_rows
from openprm.runs.manifest import copy_hashed, describe_input, files_hash
from openprm.runs.provenance import choose_license, unique, with_licenses

from .benchmarks import benchmarked
from .cards import documents
from .dataset_files import copy_pairs, copy_shards, excerpt, prompts_by_source, tree_page, write_files
from .model_files import add_scoring_code, kind_of
from .plots import plot_statistics
from .secret_scan import is_harmless

OWNER = "openprm"  # the default
DEMO = "demo"
_EXAMPLE = {"question": "What is 2 + 3?", "response": "Two and three make five.\nSo: 5"}


@dataclass(frozen=True, kw_only=True)
class Publish(Stage, kind="publish"):
    """Publish data, models and cards on the Hub. The same command finishes an interrupted upload."""

    candidates: dict[str, str] = input_path("SPLIT=FOLDER of candidates; may be repeated.", {})
    trees: dict[str, str] = input_path("SPLIT=FOLDER of trees; may be repeated.", {})
    labels: dict[str, str] = input_path("SPLIT=FOLDER of step labels; may be repeated.", {})
    pairs: dict[str, str] = input_path("SPLIT=FOLDER of pairs; may be repeated.", {})
    models: dict[str, str] = input_path("NAME=FOLDER of a model; may be repeated.", {}, flag="--model")
    evaluation: str | None = input_path("Folder of `openprm choices`, for the models that it measured.", None)
    benchmarks: str | None = input_path("Folder of `openprm evaluate`, for the models that it measured.", None)
    demo: str | None = parameter("The model that a demo Space is to show.", None)
    owner: str = parameter("User or organization that the repositories belong to.", OWNER)
    prefix: str = parameter("Beginning of all repositories' names, such as psychology-: a project of its own.", "")
    title: str | None = parameter("Title of the cards.", None)
    description: str | None = parameter("What it is about, for the cards: a text, or @FILE.", None, file=True)
    base_model: str | None = parameter("Hub id of the base that models were trained from, where it is local.", None)
    license: str | None = parameter(
        "License of what is published; may be left out where all sources have the same permissive one.", None
    )
    source_licenses: dict[str, str] = parameter(
        "NAME=LICENSE of a source that does not say; may be repeated.", {}, flag="--source-license"
    )

    def inputs(self) -> dict[str, str]:
        measured = {"evaluation": self.evaluation, "benchmarks": self.benchmarks}
        folders = {f"{kind}/{name}": path for kind, name, path in self._folders()}
        return folders | {role: path for role, path in measured.items() if path}

    def run(self, out: str | Path, *, force: bool = False, replace: bool = False) -> dict[str, Any]:
        """Makes the layout.

        Raises InputError as every stage does, and for a name that the Hub does not allow, where the license is
        missing, and for a checkpoint that was changed after it was made.
        """
        self._check_names()
        self._check_measured()
        self._check_sources()
        return super().run(out, force=force, replace=replace)

    def work(self, folder: Path) -> Mapping[str, Any]:
        root = folder / self.owner
        for kind in RECORDS:
            if splits := getattr(self, kind):
                self._lay_out_dataset(folder / self._repository(kind), kind, splits)
        for name, path in self.models.items():
            self._lay_out_model(folder / self._repository(name), name, Path(path))
        if self.demo is not None:
            self._lay_out_demo(folder / self._repository(DEMO), self.demo)
        if not root.exists():
            raise InputError("there is nothing to publish: give candidates, trees, labels, pairs or models")
        repositories = sorted(f"{self.owner}/{part.name}" for part in root.iterdir())
        return {"files_hash": files_hash(folder), "counts": {"repositories": ", ".join(repositories)}}

    def _repository(self, name: str) -> str:
        """Its id, and where it lies in the layout."""
        return f"{self.owner}/{self.prefix}{name}"

    def _folders(self) -> Iterator[tuple[str, str, str]]:
        """Kind, name and path of each folder to be published; the name of a dataset's is a split."""
        for kind in (*RECORDS, "models"):
            for name, path in getattr(self, kind).items():
                yield kind, name, path

    def _check_names(self) -> None:
        """Raises InputError for a name that the Hub or `datasets` does not allow, or that two repositories have."""
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id

        names = [*map(self._repository, (*RECORDS, *self.models)), *([self.base_model] if self.base_model else [])]
        for name in names:
            try:
                validate_repo_id(name)
            except HFValidationError as error:
                raise InputError(f"{name} cannot be the name of a repository: {error}; rename it") from None
        for kind, name, _ in self._folders():
            if kind != "models" and not re.fullmatch(r"\w+(\.\w+)*", name):
                raise InputError(
                    f"{kind}: no split can be called {name!r}; use letters, digits and _, such as train or test_a"
                )
            if kind == "models" and name in (*RECORDS, DEMO):
                raise InputError(f"a model cannot be called {name!r}: that is another repository's name; rename it")
        if self.demo is not None and self.demo not in self.models:
            there = ", ".join(self.models) or "none"
            raise InputError(f"the demo shows {self.demo!r}, which is none of the models ({there})")

    def _check_measured(self) -> None:
        """Raises InputError where none of an evaluation's results would be published."""
        models = [read_manifest(path) for path in self.models.values()]
        for folder, measured in ((self.evaluation, self._measured), (self.benchmarks, self._benchmarked)):
            if folder and not any(map(measured, models)):
                names = ", ".join(self.models) or "none"
                raise InputError(f"{folder} measured none of the models ({names}); leave it out, or give theirs")

    def _check_sources(self) -> None:
        sources = {o["name"] for *_, path in self._folders() for o in read_manifest(path).get("origins", [])}
        for name in self.source_licenses.keys() - sources:
            there = ", ".join(sorted(sources)) or "none"
            raise InputError(f"--source-license {name}: there is no such source; the sources are: {there}")

    def _lay_out_dataset(self, folder: Path, kind: str, splits: Mapping[str, str]) -> None:
        for path in splits.values() if kind == "labels" else ():
            if read_manifest(path)["stage"] == "rollouts":
                raise InputError(
                    f"{path} has what rollouts cost beside the labels; `openprm label {path} --by labels`"
                )
        configs = copy_pairs(folder, splits) if kind == "pairs" else copy_shards(folder, splits)
        publication = self._publication(kind, kind, {split: read_manifest(path) for split, path in splits.items()})
        publication["configs"] = {
            config: {split: asdict(files) for split, files in parts.items()} for config, parts in configs.items()
        }
        publication["prompts"] = {split: prompts_by_source(path) for split, path in splits.items()}
        rows_of_all = (excerpt(row) for path in splits.values() for row in read_rows(path))
        publication["example"] = next((row for row in rows_of_all if is_harmless(json.dumps(row))), None)
        rows: dict[str, Iterator[Any]] = {split: read_rows(path, RECORDS[kind]) for split, path in splits.items()}
        plot_statistics(kind, rows, folder / "statistics.png")
        if kind == "trees":
            first = next(iter(splits.values()))
            tree_page(folder / "trees.html", publication["repository"], first, self.pairs.values())
        _finish(folder, publication)

    def _lay_out_model(self, folder: Path, name: str, path: Path) -> None:
        manifest = read_manifest(path)
        copy_hashed(path, folder)
        if files_hash(folder) != manifest["files_hash"]:
            raise InputError(
                f"{path} is not as its {MANIFEST} says: a file of it was changed or added after it was made; make it"
                " again"
            )
        publication = self._publication(name, kind_of(path), {MODEL: manifest})
        if publication["kind"] == "model":
            add_scoring_code(folder)
            publication["scoring"] = json.loads((folder / "config.json").read_text("utf-8"))["openprm"]
            publication["example"] = self._example(publication)
            if measured := self._measured(manifest):
                publication["evaluation"] = measured
                plot_evaluation(measured, folder / "statistics.png")
            if found := self._benchmarked(manifest):
                publication["benchmarks"] = found
        _finish(folder, publication)

    def _lay_out_demo(self, folder: Path, model: str) -> None:
        from openprm.viewer.demo import EXAMPLE, GRADIO, example_of, space_files

        first = next(iter(self.candidates.values()), None)
        example = example_of(first) if first else None
        publication = self._publication(DEMO, "demo", {}, [read_manifest(first)] if first and example else [])
        publication["demo"] = {"model": self._repository(model), "gradio": GRADIO}
        write_files(folder, space_files(publication["demo"]["model"], example or EXAMPLE))
        _finish(folder, publication)

    def _publication(
        self, name: str, kind: str, parts: Mapping[str, Any], sources: list[Mapping[str, Any]] | None = None
    ) -> dict[str, Any]:
        """The start of a publication manifest. sources: the manifests to take origins from, where not the parts'."""
        manifests = parts.values() if sources is None else sources
        origins = unique(origin for manifest in manifests for origin in manifest.get("origins", []))
        origins = with_licenses(origins, self.source_licenses)
        own = kind == "demo" and not origins  # our code alone
        return {
            "published_by": f"openprm {version('openprm')}",
            "repository": self._repository(name),
            "kind": kind,
            "title": f"{self.title}: {name}" if self.title else None,
            "description": self.description,
            "base_model": self.base_model,
            "license": "apache-2.0" if own else choose_license(origins, self.license),
            "origins": origins,
            "parts": dict(parts),
            "repositories": {part: self._published_inputs(manifest) for part, manifest in parts.items()},
        }

    @cached_property
    def _published(self) -> dict[str, dict[str, str]]:
        """By hash of content, the repository and its part (a split, or `model`) that hold it; the first that do."""
        found: dict[str, dict[str, str]] = {}
        for kind, name, path in self._folders():
            repository, part = (name, MODEL) if kind == "models" else (kind, name)
            place = {"repository": self._repository(repository), "part": part}
            found.setdefault(describe_input(path)["hash"], place)
        return found

    def _published_inputs(self, manifest: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
        """Where in this layout the inputs of a stage are, by role, as far as they are."""
        inputs = manifest["inputs"].items()
        return {role: self._published[made["hash"]] for role, made in inputs if made["hash"] in self._published}

    def _example(self, publication: Mapping[str, Any]) -> dict[str, Any]:
        """The first candidate, or chosen side of a pair, whose sources are the model's too, which the card names."""
        for path in (*self.candidates.values(), *self.pairs.values()):
            origins = with_licenses(read_manifest(path).get("origins", []), self.source_licenses)
            for row in read_rows(path) if all(origin in publication["origins"] for origin in origins) else ():
                response = row["response"] if "response" in row else row["context"] + row["chosen"]
                if is_harmless(json.dumps([row["question"], response])):
                    return {"question": row["question"], "response": response}
        return _EXAMPLE

    def _benchmarked(self, model: Mapping[str, Any]) -> dict[str, Any] | None:
        return benchmarked(self.benchmarks, model.get("files_hash")) if self.benchmarks else None

    def _measured(self, model: Mapping[str, Any]) -> dict[str, Any] | None:
        """The evaluation's manifest as far as it is about one model, by its manifest, or about models of its kind.

        None where it measured others.
        """
        if self.evaluation is None:
            return None
        manifest = read_manifest(self.evaluation)
        content = model.get("files_hash")
        names = [name for name, made in manifest["models"].items() if made is not None and made["hash"] == content]
        kinds = {kind: entry for kind, entry in manifest["kinds"].items() if {*names} & {*entry["models"]}}
        if not kinds:
            return None

        def is_about(row: Mapping[str, Any]) -> bool:
            scorer = row["method"].partition(": ")[2]
            return not scorer or scorer.rpartition("/")[0] in (RANDOM, *kinds)

        unscored = manifest["counts"]["unscored"]
        return {
            **{key: value for key, value in manifest.items() if key != "differences"},
            "dataset": self._published.get(manifest["inputs"]["candidates"]["hash"]),
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
