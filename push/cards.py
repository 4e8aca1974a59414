"""The cards of published repositories, rendered from their publication manifests and from nothing else.

A publication manifest is what `openprm.push.publish` writes as a repository's `manifest.json`: `repository`, `kind`,
`title`, `description` and `base_model` (as the user gives them, or None), `license`, `origins`, `parts` (the manifests
of stages, by split), `repositories` (by split, then by an input's role, where the same owner publishes it, if
anywhere); of datasets `configs` (their files), `prompts` (by split and source) and `example` (a row), of models
`scoring`, `example`, `evaluation` and `benchmarks`, of a demo `demo`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from openprm.errors import InputError
from openprm.evaluation.data import RANDOM
from openprm.hub.publication import RECORDS
from openprm.runs.command_line import rerun_command
from openprm.runs.dataset_card import SplitFiles, dataset_header, header, listed_splits, render
from openprm.runs.declaration import make_stage, stage_from_manifest
from openprm.runs.provenance import HUB_LICENSES, is_permissive
from openprm.schema import described_columns

from .benchmarks import model_index
from .inputs import Input, inputs, measured

Manifest = Mapping[str, Any]

CARD = "README.md"

_TASKS = {
    "candidates": ["text-generation"],
    "trees": ["text-ranking"],
    "labels": ["text-classification"],
    "pairs": ["text-ranking"],
}
_BEFORE = {"trees": "candidates", "labels": "labels", "pairs": "trees"}
_REBUILT = ("reward", "trees", "label", "pairs", "label-pairs")
_TAGS = ["openprm", "reward-model", "process-reward-model", "preference"]
_ORIGIN = ("kind", "license", "hub", "revision", "split", "homepage", "citation")  # which an origin may lack
_POWERS = ("1", "10", "100", *(f"{number}{unit}" for unit in "KMBT" for number in (1, 10, 100)))  # of ten
_SOURCES = 20  # that a card lists
_BEST_OF = re.compile(r"best of (?P<n>\d+): (?P<kind>.+)/(?P<aggregation>\w+)")


def documents(publication: Manifest) -> dict[str, str]:
    """The files of a repository that follow from its manifest, by path: its card, and a model's results.

    Raises jinja2.UndefinedError or KeyError where the manifest lacks something that a card must say.
    """
    make = {"model": _model_card, "policy": _policy_card, "demo": _demo_card}.get(publication["kind"], _dataset_card)
    found = {CARD: make(publication)}
    if results := _eval_results(publication):
        found[".eval_results/best_of_n.yaml"] = results
    return found


def _dataset_card(publication: Manifest) -> str:
    repo, kind, parts = publication["repository"], publication["kind"], publication["parts"]
    configs = {
        config: {split: SplitFiles(**files) for split, files in splits.items()}
        for config, splits in publication["configs"].items()
    }
    first, last = (list(configs.values())[index] for index in (0, -1))
    made_of = {split: inputs(publication, split) for split in parts}
    hubs = [origin["hub"] for origin in publication["origins"] if origin.get("hub") and origin.get("kind") != "model"]
    head = dataset_header(
        RECORDS[kind],
        configs,
        **_license_fields(publication["license"]),
        pretty_name=publication["title"] or f"OpenPRM {kind}",
        task_categories=_TASKS[kind],
        size_categories=[size_category(sum(files.rows for files in first.values()))],
        source_datasets=hubs or ["original"],
        tags=_TAGS,
    )
    return head + render(
        f"{kind}.md.j2",
        **_common(publication),
        configs=configs,
        splits=listed_splits(configs),
        file=_glob(next(iter(last.values())).pattern).replace("*", "00000"),
        pattern=_glob(next(iter(first.values())).pattern),
        split=next(iter(first)),
        parameters=compared({split: part["parameters"] for split, part in parts.items()}),
        counts=compared({split: part["counts"] for split, part in parts.items()}),
        prompts=_by_source(publication["prompts"]),
        example=publication["example"] and json.dumps(publication["example"], ensure_ascii=False, indent=2),
        columns=list(described_columns(RECORDS[kind])),
        made_of=made_of,
        commands=list(_commands(repo, publication, made_of)),
    )


def _glob(pattern: str | list[str]) -> str:
    """One pattern for several folders."""
    return pattern if isinstance(pattern, str) else f"*/{pattern[0].rpartition('/')[2]}"


def _commands(repo: str, publication: Manifest, made_of: Mapping[str, Mapping[str, Input]]) -> Iterator[str]:
    """The commands that make the splits of a dataset again of what is published."""
    kind = publication["kind"]
    for split, part in publication["parts"].items():
        role = "labels" if part["stage"] == "label-pairs" else _BEFORE.get(kind, "candidates")
        source = Input(repo, repo, split) if kind == "candidates" else made_of[split].get(role)
        if source is None or source.repository is None or part["stage"] not in _REBUILT:
            continue
        parameters = {**part["parameters"], "split": source.part}
        if part["stage"] == "reward":  # the published reward is there already, under its name
            parameters["name"] += "-again"
        with suppress(InputError):  # a judge's servers and a user's file are not published
            stage = stage_from_manifest({**part, "parameters": parameters}, {role: source.repository})
            yield rerun_command(stage, f"rebuilt/{kind}-{split}")


def _model_card(publication: Manifest) -> str:
    example, evaluation = publication["example"], publication.get("evaluation")
    benchmarks = publication.get("benchmarks")
    index = model_index(publication["repository"].partition("/")[2], benchmarks) if benchmarks else []
    manifest = publication["parts"]["model"]
    parameters = manifest["parameters"]
    trained = manifest["stage"] == "train"  # not where a model was only converted
    made_of = inputs(publication, "model")
    started = made_of.get("base", made_of.get("model"))
    base = _base(publication, started) if started else None
    others = ("base", "eval_pairs", "eval_labels")
    taught = {role: made for role, made in made_of.items() if role not in others} if trained else {}
    pairs = [*taught.values()]
    command = None
    if base and pairs and all(made.train for made in pairs):
        named: dict[str, dict[str, Any]] = {"pairs": {}, "labels": {}}
        for role, made in taught.items():
            field = "labels" if role.startswith("labels/") else "pairs"
            named[field][f"{field}{len(named[field]) or ''}"] = made.train
        with suppress(InputError):  # of a version with other parameters
            stage = make_stage("train", {**parameters, **named, "base": base}, "its manifest")
            command = rerun_command(stage, f"rebuilt/{publication['repository'].partition('/')[2]}")
    head = header(
        **_license_fields(publication["license"]),
        base_model=base,
        base_model_relation="finetune" if base and trained else None,
        datasets=list(dict.fromkeys(made.hub for made in pairs if made.hub)) or None,
        pipeline_tag="text-classification",
        library_name="transformers",
        tags=_TAGS,
        **({"model-index": index} if index else {}),
    )
    question = example["question"]
    messages = [{"role": "user", "content": question}] if isinstance(question, str) else question
    return head + render(
        "model.md.j2",
        **_common(publication),
        trained=trained,
        base=f"`{base}`" if base else started,
        pairs=pairs,
        eval_pairs=made_of.get("eval_pairs"),
        question=question,
        response=example["response"],
        chat=[*messages, {"role": "assistant", "content": example["response"]}],
        ours=publication["scoring"],
        parameters=compared({"value": parameters}),
        counts=compared({"value": {**manifest.get("counts", {}), **manifest.get("metrics", {})}}),
        levels=parameters.get("levels", []) if any("labels/" not in role for role in taught) else [],
        labelled=any(role.startswith("labels/") for role in taught),
        point_loss=parameters.get("point_loss"),
        evaluation=evaluation,
        benchmarks=benchmarks,
        measured=measured(evaluation) if evaluation else None,
        command=command,
    )


def _policy_card(publication: Manifest) -> str:
    """Of a language model that responses were sampled from, or a reward model was trained from."""
    manifest = publication["parts"]["model"]
    head = header(
        **_license_fields(publication["license"]),
        pipeline_tag="text-generation",
        library_name="transformers",
        tags=["openprm"],
    )
    return head + render(
        "policy.md.j2",
        **_common(publication),
        parameters=compared({"value": manifest["parameters"]}),
        counts=compared({"value": manifest.get("counts", {})}),
    )


def _demo_card(publication: Manifest) -> str:
    demo = publication["demo"]
    title = (publication["title"] or "OpenPRM").removesuffix(": demo")
    head = header(
        title=title,
        emoji="🌳",
        sdk="gradio",
        sdk_version=demo["gradio"],
        app_file="app.py",
        pinned=False,
        **_license_fields(publication["license"]),
        models=[demo["model"]],
        tags=["openprm", "reward-model"],
    )
    return head + render("demo.md.j2", **{**_common(publication), "title": title}, model_repo=demo["model"])


def _eval_results(publication: Manifest) -> str | None:
    """The content of `.eval_results/best_of_n.yaml`, which the Hub shows on a model's page.

    None without results of this model alone (not the means over several of its kind), and where the candidates that
    were measured are in no repository: it names one.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump

    evaluation = publication.get("evaluation")
    if evaluation is None or (dataset := measured(evaluation).hub) is None:
        return None
    entries = []
    for row in evaluation["metrics"]:
        match = _BEST_OF.fullmatch(row["method"])
        if match and match["kind"] != RANDOM and len(evaluation["kinds"][match["kind"]]["models"]) == 1:
            task = f"best_of_{match['n']}_{match['aggregation']}"
            notes = f"95 % interval over prompts: {row['low']:.3f} to {row['high']:.3f}"
            entries.append(EvalResultEntry(dataset_id=dataset, task_id=task, value=row["accuracy"], notes=notes))
    return yaml_dump(eval_result_entries_to_yaml(entries)) if entries else None


def _common(publication: Manifest) -> dict[str, Any]:
    """What every template may use. Versions are those of the stages, each that occurs."""
    versions: dict[str, dict[str, None]] = {}
    for part in publication["parts"].values():
        for package, version in part["versions"].items():
            versions.setdefault(package, {})[version] = None
    return {
        "repo": publication["repository"],
        "title": publication["title"] or publication["repository"].partition("/")[2],
        **{name: publication[name] for name in ("parts", "license", "published_by", "description")},
        "origins": [{**dict.fromkeys(_ORIGIN), **origin} for origin in publication["origins"]],
        "permissive": all(map(is_permissive, publication["origins"])),
        "versions": versions,
    }


def _license_fields(license: str) -> dict[str, Any]:
    """As the Hub wants it: an id that it does not know is the name of another license."""
    return {"license": license} if license in HUB_LICENSES else {"license": "other", "license_name": license}


def _base(publication: Manifest, started: Input) -> str | None:
    """The Hub id of the model that this one started from, or was converted from, where it has one."""
    if known := started.repository or publication["base_model"]:
        return known
    name = started.name.partition("@")[0]
    for origin in publication["origins"]:
        if origin.get("kind") == "model" and origin["name"] == name and origin.get("hub"):
            return str(origin["hub"])
    return started.hub


def _by_source(prompts: Mapping[str, Mapping[str, int]]) -> dict[str, list[int | None]]:
    """How many prompts each source has in each split; the rest of many sources together."""
    sources = [*dict.fromkeys(source for split in prompts.values() for source in split)]
    found = {f"`{source}`": [split.get(source) for split in prompts.values()] for source in sources[:_SOURCES]}
    if rest := sources[_SOURCES:]:
        found[f"{len(rest):,} more"] = [sum(split.get(source, 0) for source in rest) for split in prompts.values()]
    return found


def compared(by_split: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Names of values (nested ones after a colon, underscores as spaces) with the value of each split, None where it
    has none. What is empty or none in all is left out.
    """
    flat = [dict(_flat(values)) for values in by_split.values()]
    names = dict.fromkeys(name for values in flat for name in values)
    return {name: [values.get(name) for values in flat] for name in names}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = prefix + name.replace("\n", "\\n").replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}: ")
        elif value is not None and value != []:
            yield path, value


def size_category(rows: int) -> str:
    """The Hub's category of a dataset's size.

    >>> size_category(999), size_category(1000), size_category(36_800)
    ('n<1K', '1K<n<10K', '10K<n<100K')
    """
    if rows < 1000:
        return "n<1K"
    power = len(str(rows)) - 1
    return f"{_POWERS[power]}<n<{_POWERS[power + 1]}"
