"""OpenPRM: process reward models for open-domain tasks, from outcome rewards alone.

Importing it is cheap: the public names below load their modules when they are first used.
Where both openprm and transformers are imported, in whichever order, `transformers.pipeline` knows the
task "openprm-scoring".
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from . import hooks

# Not lazily: a module and a function share this name, and the function is to have it whatever is imported when.
from .aggregate import aggregate as aggregate

_MODULES = {
    "BeamParameters": "beam",
    "Candidate": "records",
    "GeneratorSpec": "engines",
    "Method": "methods",
    "OpenPRMConfig": "trainer",
    "OpenPRMScoringPipeline": "scoring",
    "OpenPRMTrainer": "trainer",
    "Pair": "records",
    "RewardSpec": "engines",
    "Sampling": "engines.base",
    "Searcher": "searcher",
    "SequenceRewarder": "sequences",
    "StepScorer": "step_scorer",
    "Tree": "records",
    "beam_search": "beam",
    "best_of_n": "search",
    "build_tree": "tree",
    "draw": "drawing",
    "encode": "encoding",
    "features": "records",
    "load_scorer": "scoring",
    "majority_vote": "search",
    "merge": "tree",
    "pack": "packing",
    "split": "steps",
    "tree_pairs": "pairs",
    "weighted_vote": "search",
}

__all__ = ["__version__", "aggregate", *_MODULES]

hooks.install()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("openprm")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
