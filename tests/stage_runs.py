"""Runs of searches from the values that tests have at hand: specs, methods, samplings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from openprm.decoding.methods import Method
from openprm.decoding.searcher import with_defaults
from openprm.engines.base import Sampling
from openprm.engines.specs import EngineSpec, GeneratorSpec, RewardSpec
from openprm.stages.search import Search


def _engine(spec: EngineSpec[Any], prefix: str = "") -> dict[str, Any]:
    values = {"servers": list(spec.servers), "revision": spec.revision, "dtype": spec.dtype}
    if not spec.servers:
        values["engine"] = spec.engine
    return {f"{prefix}{name}": value for name, value in values.items()} | {
        f"{prefix}engine_options": dict(spec.options)
    }


def search(
    prompts: str | Path,
    spec: GeneratorSpec,
    prm: RewardSpec | None,
    out: str | Path,
    method: Method,
    sampling: Sampling,
    **options: Any,
) -> Any:
    values = {name: value for name, value in asdict(sampling).items() if name not in ("n", "stop")}
    values |= {"prompts": str(prompts), "model": spec.model, **_engine(spec)}
    values |= {"method": method.name, "budget": method.budget, "aggregation": method.aggregation}
    values |= {"equivalence": method.equivalence, "answer_pattern": method.pattern}
    if prm is not None:
        values |= {"prm": prm.model, "prm_checkpoint": prm.checkpoint}
        values |= _engine(prm, "prm_")
    stage = Search(**{**values, **options})
    if method.rule:
        vars(stage)["settings"] = with_defaults(method, prm, options.get("separator"))
    return stage.run(out)
