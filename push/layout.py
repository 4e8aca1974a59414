"""Lay out what a run made as the repositories of one owner: OUT/OWNER/candidates, trees, pairs, and each model.

Each folder is what its Hub repository will hold, with a `manifest.json` that says what is in it, under which license,
of whose data, and the hash of every file (see `openprm.hub.publication`, which reads it). In the folder OUT,
`load_dataset("OWNER/trees")` and `pipeline("openprm-scoring", model="OWNER/openprm")` work as they will on the Hub.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openprm.push import cards
from openprm.push.card_check import check_card, check_eval_results
from openprm.push.dataset_files import copy_pairs, copy_shards, tree_page, write_files
from openprm.push.model_files import add_scoring_code, copy_checkpoint, kind
from openprm.push.plots import plot_evaluation, plot_statistics
from openprm.push.repository_names import DEMO, check_names, check_splits
from openprm.push.upload_plan import file_names

from openprm.errors import InputError
from openprm.hub.publication import MODEL, MODELS, open_publication, restore
from openprm.runs.folder import MANIFEST, is_folder, read_manifest, read_rows
from openprm.runs.licenses import check_model_name, combined
from openprm.runs.manifest import describe_input, files_hash, run_stage
from openprm.runs.provenance import Origin, check_named, unique, with_licenses
from openprm.schema import Candidate, Pair, Tree

OWNER = "openprm"  # where nobody says another
CARD = "README.md"
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
    owner: str = OWNER,
    license: str | None = None,
    source_licenses: Mapping[str, str] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: dataset repositories from stage folders by split, model repositories by name. Returns the manifest.

    evaluation: a folder of `openprm.stages.evaluate`; its results go to the models that it measured.
    metrics: names of `openprm.evaluation.metrics.METRICS`. demo: the model that the demo Space shows.
    license: of what is published, where its origins leave a choice. source_licenses: of origins that do not say
    theirs, by the origin's name.

    Raises InputError for a name that the Hub does not allow, where `out` holds the layout of another owner (unless
    `force`), a license is missing or forbids it, a card would say what no manifest says, and a model could not be
    given back as it was made.
    """
    datasets = {"candidates": candidates or {}, "trees": trees or {}, "pairs": pairs or {}}
    models = models or {}
    check_names(owner, [*models], metrics, demo)
    check_splits(datasets)
    if not force and is_folder(out) and (there := read_manifest(out)["parameters"].get("owner", owner)) != owner:
        raise InputError(f"{out} holds the layout of {there}; choose another --out for {owner}, or --force")

    if evaluation is not None:
        _check_measured(evaluation, models)

    def work(folder: Path) -> dict[str, Any]:
        root = folder / owner
        if root.exists():
            shutil.rmtree(root)  # a killed run's: copying again is quicker than checking
        check_named(_origins(datasets, models), source_licenses or {})
        lay = _Layout(root, owner, license, source_licenses or {}, _by_content(owner, datasets, models))
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
        "license": license,
        "source_licenses": dict(source_licenses or {}),
    }
    return run_stage(out, "publish", parameters, inputs, work, force=force, replace_finished=True)


def _check_measured(evaluation: str, models: Mapping[str, str]) -> None:
    """Raises InputError where the evaluation is about none of the models, so that nothing of it would be published."""
    found = read_manifest(evaluation).get("models", {})
    measured = {made["hash"] for made in found.values() if made is not None}
    if measured.isdisjoint(describe_input(path)["hash"] for path in models.values()):
        names = ", ".join(models) or "none"
        raise InputError(f"{evaluation} measured none of the models ({names}); leave it out, or give theirs")


def _origins(datasets: Mapping[str, Mapping[str, str]], models: Mapping[str, str]) -> list[Origin]:
    paths = [path for folders in (*datasets.values(), models) for path in folders.values()]
    return unique(origin for path in paths for origin in read_manifest(path).get("origins", []))


def _by_content(
    owner: str, datasets: Mapping[str, Mapping[str, str]], models: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """The repository and the part of it (a split, or `model`) that hold what has this hash; the first that do."""
    found: dict[str, dict[str, str]] = {}
    splits = [(name, split, path) for name, paths in datasets.items() for split, path in paths.items()]
    for name, part, path in [*splits, *((name, MODEL, path) for name, path in models.items())]:
        found.setdefault(describe_input(path)["hash"], {"name": f"{owner}/{name}", "part": part})
    return found


_RECORDS: dict[str, type] = {"candidates": Candidate, "trees": Tree, "pairs": Pair}


class _Layout:
    """The owner's folder, with what holds for all repositories in it."""

    def __init__(
        self,
        root: Path,
        owner: str,
        license: str | None,
        source_licenses: Mapping[str, str],
        by_content: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.root = root
        self.owner = owner
        self.license = license
        self.source_licenses = source_licenses
        self.by_content = by_content

    def dataset(self, name: str, splits: Mapping[str, str], datasets: Mapping[str, Mapping[str, str]]) -> None:
        folder = self.root / name
        configs = copy_pairs(folder, splits) if name == "pairs" else copy_shards(folder, splits)
        publication = self._publication(name, {split: read_manifest(path) for split, path in splits.items()})
        if name == "pairs":
            publication["rows"] = {
                config: {split: part.rows for split, part in parts.items()} for config, parts in configs.items()
            }
        record = _RECORDS[name]
        rows: dict[str, Iterator[dict[str, Any]]] = {split: read_rows(path, record) for split, path in splits.items()}
        plot_statistics(name, rows, folder / "statistics.png")
        if name == "trees":
            first = next(iter(splits.values()))
            tree_page(folder / "trees.html", f"{self.owner}/{name}", first, datasets["pairs"].values())
        self._finish(folder, publication, cards.dataset_card(f"{self.owner}/{name}", publication, configs))

    def model(self, name: str, path: Path, evaluation: str | None, candidates: Mapping[str, str]) -> None:
        folder = self.root / name
        repository = f"{self.owner}/{name}"
        manifest = read_manifest(path)
        copy_checkpoint(path, folder)
        publication = self._publication(kind(path), {MODEL: manifest})
        check_model_name(name, [origin for origin in publication["origins"] if _is_model(origin)])
        if publication["kind"] == "policy":
            self._finish(folder, publication, cards.policy_card(repository, publication))
            _check_restored(folder, path)
            return
        add_scoring_code(folder)
        if evaluation is not None and (measured := self._measured(evaluation, manifest["files_hash"])):
            publication["evaluation"] = measured
            plot_evaluation(measured, folder / "statistics.png")
            results = cards.eval_results(publication)
            if results is not None:
                (folder / ".eval_results").mkdir()
                (folder / ".eval_results" / "best_of_n.yaml").write_text(results, "utf-8")
                _refuse(repository, check_eval_results(results, publication))
        example = self._example(publication, candidates)
        config = json.loads((folder / "config.json").read_text("utf-8"))
        self._finish(folder, publication, cards.model_card(repository, publication, example, config))
        _check_restored(folder, path)

    def _example(self, publication: Mapping[str, Any], candidates: Mapping[str, str]) -> Mapping[str, Any]:
        """The first candidate, where the model is under its terms anyhow: its license, and all of its origins."""
        first = next(iter(candidates.values()), None)
        if first is None:
            return _EXAMPLE
        origins, license = self._terms([read_manifest(first)])
        if license != publication["license"] or any(origin not in publication["origins"] for origin in origins):
            return _EXAMPLE
        return next(iter(read_rows(first, Candidate)), _EXAMPLE)

    def metric(self, name: str) -> None:
        from openprm.evaluation.metrics import metric_files

        folder = self.root / name
        write_files(folder, metric_files(name))
        publication = {**_published("metric"), "license": "apache-2.0", "origins": [], "parts": {}}
        self._finish(folder, publication, cards.metric_card(f"{self.owner}/{name}", name, publication))

    def demo(self, model: str, candidates: Mapping[str, str]) -> None:
        from openprm.viewer.demo import GRADIO, example_of, space_files

        folder = self.root / DEMO
        first = next(iter(candidates.values()), None)
        shown = None if first is None else example_of(first)
        origins: list[Origin] = []
        license = "apache-2.0"
        if first is not None and shown is not None:  # it is of their text, and under their terms
            origins, license = self._terms([read_manifest(first)])
        write_files(folder, space_files(f"{self.owner}/{model}", **({"example": shown} if shown else {})))
        publication = {**_published("demo"), "license": license, "origins": origins, "parts": {}}
        card = cards.demo_card(f"{self.owner}/{DEMO}", publication, f"{self.owner}/{model}", GRADIO)
        self._finish(folder, publication, card)

    def _publication(self, kind: str, parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        weights = _weights(parts[MODEL]) if kind in MODELS else []
        origins, license = self._terms(parts.values(), weights)
        return {
            **_published(kind),
            "license": license,
            "origins": origins,
            "parts": dict(parts),
            "repositories": {part: self._published_inputs(manifest) for part, manifest in parts.items()},
        }

    def _terms(
        self, manifests: Iterable[Mapping[str, Any]], weights: Sequence[Origin] = ()
    ) -> tuple[list[Origin], str]:
        """The origins of what stages made, with the licenses that were named, and the license that follows."""
        origins = unique(origin for manifest in manifests for origin in manifest.get("origins", []))
        origins = with_licenses(origins, self.source_licenses)
        weights = with_licenses(weights, self.source_licenses)
        return origins, combined(origins, self.license, weights=weights)

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
        _refuse(f"{self.owner}/{folder.name}", check_card(card, publication, file_names(folder)))
        (folder / CARD).write_text(card, "utf-8")
        write_publication(folder, publication)


def _is_model(origin: Origin) -> bool:
    return origin.get("kind") == "model"


def _weights(manifest: Mapping[str, Any]) -> list[Origin]:
    """The origins that the weights derive from: the one that training began with, else, for safety, every model."""
    models = [origin for origin in manifest.get("origins", []) if _is_model(origin)]
    base = manifest["inputs"].get("base", {}).get("name", "").partition("@")[0]
    return [origin for origin in models if base in (origin["name"], origin.get("hub"))] or models


def _check_restored(folder: Path, checkpoint: Path) -> None:
    """Raises InputError where what is published does not give the checkpoint back byte for byte."""
    with tempfile.TemporaryDirectory(dir=folder.parent.parent, prefix=".") as temporary:
        try:
            restore(open_publication(folder), MODEL, Path(temporary) / "restored")
        except InputError as error:
            raise InputError(
                f"{checkpoint} is not as its {MANIFEST} says: what is published would not give it back ({error}); "
                "if a file of it was changed or added after it was made, make it again"
            ) from error


def _refuse(repository: str, problems: Sequence[str]) -> None:
    if problems:
        raise InputError(f"the card of {repository} cannot be published: {'; '.join(problems)}")


def write_publication(folder: Path, publication: Mapping[str, Any]) -> None:
    """Writes `manifest.json`, with the hash of every other file, into a repository's folder."""
    hashes = {name: files_hash(folder / name) for name in file_names(folder) if name != MANIFEST}
    text = json.dumps({**publication, "files": hashes}, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, "utf-8")


def _published(kind: str) -> dict[str, Any]:
    return {"published_by": f"openprm {version('openprm')}", "kind": kind}
