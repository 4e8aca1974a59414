"""Runs of stages from the values that tests have at hand: specs, samplings, injected rewarders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openprm.decoding.methods import Method
from openprm.decoding.searcher import with_defaults
from openprm.engines.base import Sampling
from openprm.engines.specs import EngineSpec, GeneratorSpec, RewardSpec
from openprm.rewards.base import Rewarder
from openprm.runs.manifest import Part
from openprm.stages.reward import RewardResponses
from openprm.stages.sample import SampleResponses
from openprm.stages.score import Score
from openprm.stages.search import Search
from openprm.stages.train import Train

_HOW = ("force", "replace_finished")


def _run(kind: type, out: str | Path, values: Mapping[str, Any], options: Mapping[str, Any], **made: Any) -> Any:
    """Runs a stage; `made` are values in place of what it would make of its fields."""
    values = {**values, **{name: value for name, value in options.items() if name not in _HOW}}
    part: Part | None = values.pop("part", None)
    if part is not None:
        values["shard"] = f"{part.index}/{part.of}"
    stage = kind(**values)
    vars(stage).update(made)
    return stage.run(out, **{name: value for name, value in options.items() if name in _HOW})


def _engine(spec: EngineSpec[Any], prefix: str = "") -> dict[str, Any]:
    values = {"servers": list(spec.servers), "revision": spec.revision, "dtype": spec.dtype}
    if not spec.servers:
        values["engine"] = spec.engine
    return {f"{prefix}{name}": value for name, value in values.items()} | {
        f"{prefix}engine_options": dict(spec.options)
    }


def _sampling(sampling: Sampling) -> dict[str, Any]:
    return {**asdict(sampling), "stop": list(sampling.stop)}


def sample(prompts: str | Path, spec: GeneratorSpec, out: str | Path, sampling: Sampling, **options: Any) -> Any:
    values = {"prompts": str(prompts), "model": spec.model, **_engine(spec), **_sampling(sampling)}
    return _run(SampleResponses, out, values, options)


def reward(candidates: str | Path, rewarder: Rewarder, out: str | Path, *, inputs: Any = None, **options: Any) -> Any:
    """With an injected rewarder, which the manifest cannot describe by parameters."""
    values = {"candidates": str(candidates), "by": "injected"}
    return _run(RewardResponses, out, values, options, _rewarder=(rewarder, dict(inputs or {})))


def score(candidates: str | Path, model: str | Path | RewardSpec, out: str | Path, **options: Any) -> Any:
    spec = model if isinstance(model, RewardSpec) else RewardSpec(str(model))
    values = {"candidates": str(candidates), "model": spec.model, "checkpoint": spec.checkpoint, **_engine(spec)}
    return _run(Score, out, values, options)


def search(
    prompts: str | Path,
    spec: GeneratorSpec,
    prm: RewardSpec | None,
    out: str | Path,
    method: Method,
    sampling: Sampling,
    **options: Any,
) -> Any:
    values = {name: value for name, value in _sampling(sampling).items() if name not in ("n", "stop")}
    values |= {"prompts": str(prompts), "model": spec.model, **_engine(spec)}
    values |= {"method": method.name, "budget": method.budget, "aggregation": method.aggregation}
    values |= {"equivalence": method.equivalence, "answer_pattern": method.pattern}
    if prm is not None:
        values |= {"prm": prm.model, "prm_checkpoint": prm.checkpoint}
        values |= _engine(prm, "prm_")
    rule = {"settings": with_defaults(method, prm, options.get("separator"))} if method.rule else {}
    return _run(Search, out, values, options, **rule)


def train(pairs: Mapping[str, Any], base: str | Path, out: str | Path, options: Any = None, **more: Any) -> Any:
    named = {name: str(path) for name, path in pairs.items()}
    if "eval_pairs" in more:
        more["eval_pairs"] = str(more["eval_pairs"])
    if "levels" in more:
        more["levels"] = list(more["levels"])
    return _run(Train, out, {"pairs": named, "base": str(base), "trainer_options": dict(options or {})}, more)
