"""The stage that runs reward models on benchmarks (paper, sections 4.3, 5 and 6)."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ..data.holdout import drawn, question_rank, read_trained_on
from ..engines.readout_scorer import check_declared, load_scorer
from ..engines.specs import RewardSpec
from ..errors import InputError
from ..evaluation.benchmarks.baselines import baselines, is_baseline
from ..evaluation.benchmarks.declaration import Benchmark, is_data_file, load_benchmark
from ..evaluation.benchmarks.items import Item, Measured, distinct
from ..evaluation.benchmarks.measure import Scorer, measure
from ..evaluation.benchmarks.suites import suite
from ..evaluation.benchmarks.summary import summarize
from ..evaluation.probes import PROBES, Views
from ..evaluation.report.page import write_report
from ..models.readout import declared_model
from ..runs.command_line import rerun_command
from ..runs.dataset import Rejections, most_common
from ..runs.declaration import execution, input_path, nearest, parameter
from ..runs.folder import REJECTED
from ..runs.manifest import WORK, describe_input, files_hash
from ..runs.progress import say
from .choices import grouped, one_unit
from .shared_options import ReadsRows, RunsEngine, named_models, spec_of


@dataclass(frozen=True, kw_only=True)
class Evaluate(RunsEngine, ReadsRows, kind="evaluate"):
    """Run reward models on benchmarks that others made. The same command resumes a killed run.

    Writes results.json, tables.md and report.html, with a 95 % interval (bootstrap over prompts) for each number, the
    revision or hash of its data, how many items it is over and what was skipped; differences between models are
    paired. Beside the models stand a random score, the length, and choices that need no rewards. Prompts that a model
    was trained on are left out.
    """

    derived = ("benchmarks", "named_models")

    models: dict[str, str] = input_path(
        "Reward models: folders, Hub ids, or YAML files that declare how one is read; NAME=MODEL names one.",
        argument=True,
        named=lambda text: (Path(text).name, text),
    )
    on: dict[str, str] = input_path(
        "Benchmark, by name or by the file that declares it, or a file of pairs; BENCHMARK=PATH reads its rows there; "
        "may be repeated.",
        {},
        named=lambda text: (text, ""),
    )
    suite: str | None = parameter("All benchmarks of a suite, such as paper; what cannot be read is skipped.", None)
    data: str | None = execution("Folder of data files, where benchmarks may lie instead of on the Hub.", None)
    kinds: dict[str, list[str]] = parameter(
        "KIND=MODEL,MODEL: models that differ only in their training seed are measured as one; may be repeated.",
        {},
        flag="--kind",
    )
    aggregation: str | None = parameter("min, mean, last, ...; default: each model's own.", None)
    probes: list[str] = parameter(
        "What to measure of every benchmark beside its own numbers; may be repeated.", [], flag="--probe"
    )
    limit: int | None = parameter("Only so many prompts of each benchmark.", None, above=0)
    seed: int = parameter("Seed of what is drawn: the prompts of --limit, the bootstrap.", 0)
    dtype: str = parameter("auto, float32, bfloat16, ...", "float32")
    rewards: str | None = execution(
        "Folder that keeps the rewards, for other evaluations with these models or benchmarks; default: in --out.",
        None,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.on or self.suite):
            raise InputError("no benchmark is named; choose one with --on, or several with --suite paper")
        grouped(self.kinds, self.models)
        if taken := sorted(filter(is_baseline, {*self.models, *self.kinds})):
            raise InputError(f"{taken[0]!r} is the name of a baseline; give the model another: NAME=MODEL")
        if unknown := [probe for probe in self.probes if probe not in PROBES]:
            raise InputError(f"there is no probe {unknown[0]!r}{nearest(unknown[0], PROBES)}")

    @cached_property
    def benchmarks(self) -> dict[str, Benchmark]:
        """Those that are asked for, by name."""
        found: dict[str, Benchmark] = {}
        for asked, one in self._asked:
            if one.name in found:
                raise InputError(f"two benchmarks are called {one.name!r}, one of them {asked}; rename a file")
            if unknown := [probe for probe in one.probes if probe not in PROBES]:
                raise InputError(f"{asked}: there is no probe {unknown[0]!r}{nearest(unknown[0], PROBES)}")
            found[one.name] = one.model_copy(update={"probes": tuple(dict.fromkeys([*one.probes, *self.probes]))})
        return found

    @cached_property
    def _asked(self) -> list[tuple[str, Benchmark]]:
        """The benchmarks with what the command line calls them."""
        names = dict.fromkeys([*self.on, *(suite(self.suite) if self.suite else ())])
        return [(name, load_benchmark(name)) for name in names]

    @cached_property
    def places(self) -> dict[str, str | InputError]:
        """Where the rows of each benchmark are; of one of a suite that cannot be had, why."""
        return {one.name: self._place(asked, one) for asked, one in self._asked}

    def _place(self, asked: str, benchmark: Benchmark) -> str | InputError:
        try:
            place = self.on.get(asked) or (asked if is_data_file(asked) else benchmark.place(self.data))
            describe_input(place, "data")
            benchmark.beside(place)
        except InputError as error:
            if asked in self.on:
                raise
            return error
        return place

    def inputs(self) -> dict[str, str]:
        places = {f"on/{name}": place for name, place in self.places.items() if isinstance(place, str)}
        return {**self.models, **places}

    def recorded(self) -> dict[str, Any]:
        """With the declarations, which say the arithmetic."""
        declared = {name: one.model_dump(mode="json", exclude_defaults=True) for name, one in self.benchmarks.items()}
        named = {name: found for name, found in self.named_models.items() if found}
        for name, place in self.places.items():
            if isinstance(place, str) and (beside := self.benchmarks[name].beside(place)):
                declared[name]["beside"] = describe_input(beside)
        return super().recorded() | {"benchmarks": declared} | ({"named_models": named} if named else {})

    @cached_property
    def described_models(self) -> dict[str, dict[str, str]]:
        """What identifies each model, by a hash that takes a while of large ones."""
        return {name: describe_input(model, "model") for name, model in self.models.items()}

    @cached_property
    def named_models(self) -> dict[str, dict[str, dict[str, str]]]:
        """What the declaration of each model names, with hashes, which take a while of large models."""
        return {name: named_models(model, self.revision) for name, model in self.models.items()}

    def work(self, folder: Path) -> Mapping[str, Any]:
        """Raises InputError where a benchmark that was named cannot be read, or nothing of it is left."""
        results: dict[str, Any] = {"models": {}, "benchmarks": {}, "skipped": {}}
        items: dict[str, list[Item]] = {}
        rejections = Rejections(folder / REJECTED, self.strict)
        for asked, benchmark in self._asked:
            name, place = benchmark.name, self.places[benchmark.name]
            try:
                if isinstance(place, InputError):
                    raise place
                items[name], results["benchmarks"][name] = self._read(name, place, rejections)
            except InputError as error:
                if asked in self.on:
                    raise
                results["skipped"][name] = str(error)
        if not items:
            raise InputError("no benchmark of the suite can be read; " + "; ".join(results["skipped"].values()))
        for model in () if self.servers else self.models.values():
            check_declared(model, self.revision, self.trust_remote_code)
        kept = Path(self.rewards) if self.rewards else folder / WORK / "rewards"
        asked_of = {name: benchmark_views(self.benchmarks[name], some) for name, some in items.items()}
        given: dict[str, dict[str, Views]] = {}
        for model in self.models:
            with ExitStack() as stack:
                scorer = _once(stack, self._scorer, model)
                given[model] = {
                    name: self._measure(kept, model, name, views, scorer) for name, views in asked_of.items()
                }
        kinds = grouped(self.kinds, self.models)
        for kind, models in kinds.items():
            one_unit(kind, {model: next(iter(given[model].values()))[""].unit for model in models})
        for name, some in items.items():
            say(f"evaluate: the numbers of {name}")
            benchmark = self.benchmarks[name]
            by_kind: dict[str, Sequence[Views]] = {
                kind: [given[model][name] for model in models]
                for kind, models in kinds.items()
                if any(_rewarded(given[model][name]) for model in models)
            }
            plain = [by_seed[0][""] for by_seed in by_kind.values()] if benchmark.aggregated else []
            by_kind |= baselines(asked_of[name], {one.aggregation: one.unit for one in plain})
            results["benchmarks"][name] |= summarize(benchmark, some, by_kind, self.seed)
            results["benchmarks"][name]["unscored"] = {
                model: sum(not one.whole for of_item in given[model][name][""].rewarded for one in of_item)
                for model in self.models
            }
            for model in self.models:
                if _rewarded(given[model][name]) and (rows := benchmark.chosen(given[model][name][""], model)):
                    (folder / "chosen" / name).mkdir(parents=True, exist_ok=True)
                    (folder / "chosen" / name / f"{model}.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
        results["models"] = {
            kind: {"models": list(models), **_described(given[models[0]])} for kind, models in kinds.items()
        }
        if not self.rewards:
            # a killed run may have copied some
            shutil.copytree(kept, folder / "rewards", dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        write_report(results, folder, rerun_command(self, "again"))
        return {"files_hash": files_hash(folder), "counts": {name: len(some) for name, some in items.items()}}

    def _read(self, name: str, place: str, rejections: Rejections) -> tuple[list[Item], dict[str, Any]]:
        """The items of a benchmark that are measured, and what the results say of them."""
        benchmark = self.benchmarks[name]
        before = Counter(rejections.counts)
        items = list(rejections.filter(distinct(benchmark.read(place), place)))
        skipped: Counter[str] = Counter()
        limit = None
        if self.limit is not None:
            ranks = [_rank(item, self.seed) for item in items]
            kept = {*drawn(ranks, self.limit)}
            limit = self.limit if len(kept) < len(set(ranks)) else None
            items = [item for item, rank in zip(items, ranks, strict=True) if rank in kept]
        for model in self.models:
            if trained := read_trained_on(declared_model(self.models[model], self.revision).model):
                left = [item for item in items if question_rank(item.question) not in trained]
                if len(left) < len(items):
                    skipped[f"{model} was trained on the question"] += len(items) - len(left)
                items = left
        items = list(rejections.filter(benchmark.graded(items)))
        skipped += Counter(rejections.counts) - before
        if not items:
            why = most_common(skipped) if skipped or not benchmark.where else f"no row has {benchmark.where}"
            raise InputError(f"{place}: nothing of benchmark {name!r} can be measured; {why}")
        described = benchmark.model_dump(mode="json", include={"title", "note", "license", "homepage", "citation"})
        data: dict[str, Any] = {
            "kind": benchmark.kind,
            "headline": benchmark.headline,
            "data": describe_input(place, "data"),
        }
        data["arithmetic"] = benchmark.arithmetic(items)
        data["responses"] = sum(len(item.responses) for item in items)
        return items, {**described, **data, "items": len(items), "limit": limit, "skipped": dict(skipped)}

    def _scorer(self, model: str) -> Scorer:
        spec: RewardSpec = spec_of(RewardSpec, self, self.models[model])
        return load_scorer(spec, aggregation=self.aggregation)

    def _measure(self, kept: Path, model: str, name: str, views: Mapping[str, Sequence[Item]], scorer: Any) -> Views:
        names = ("engine", "engine_options", "dtype", "trust_remote_code", "aggregation")
        recorded = {key: value for key, value in super().recorded().items() if key in names}
        recorded |= {"model": self.described_models[model], "named_models": self.named_models[model]}
        title = f"evaluate {model} on {name}"
        aggregation, unit, rewarded = measure(kept / model / name, views, scorer, title, recorded)
        say(f"{title}: {len(rewarded['']):,} items")
        return {view: Measured(some, rewarded[view], aggregation, unit) for view, some in views.items()}


def benchmark_views(benchmark: Benchmark, items: Sequence[Item]) -> dict[str, Sequence[Item]]:
    """The benchmark's items, and those that its probes change, by the name of the view."""
    found: dict[str, Sequence[Item]] = {"": items}
    for probe in benchmark.probes:
        found |= PROBES[probe].views(items)
    return found


def _rank(item: Item, seed: int) -> int:
    return question_rank([{"role": "user", "content": item.prompt or item.id}], seed)


def _once(stack: ExitStack, make: Any, model: str) -> Any:
    """Makes the model's scorer when it is first needed, and closes it with the stack."""
    return cache(lambda: stack.enter_context(closing(make(model))))


def _rewarded(views: Views) -> bool:
    """Whether a model rewarded any response of a benchmark; numbers of one that did not would be those of ties."""
    return any(one.whole for of_item in views[""].rewarded for one in of_item)


def _described(views: Mapping[str, Views]) -> dict[str, Any]:
    plain = next(iter(views.values()))[""]
    return {"aggregation": plain.aggregation, "unit": plain.unit}
