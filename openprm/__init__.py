"""OpenPRM: process reward models for open-domain tasks, from outcome rewards alone.

Importing it is cheap: the public names below load their modules when they are first used.
Where both openprm and transformers are imported, in whichever order, `transformers.pipeline` knows the
task "openprm-scoring".
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from . import pipeline_registration

_MODULES = {
    "BeamParameters": "decoding.beam_search",
    "Candidate": "schema",
    "GeneratorSpec": "engines.specs",
    "Method": "decoding.methods",
    "OpenPRMConfig": "training.trainer",
    "OpenPRMScoringPipeline": "scoring.pipeline",
    "OpenPRMTrainer": "training.trainer",
    "Pair": "schema",
    "RewardSpec": "engines.specs",
    "Sampling": "engines.base",
    "Searcher": "decoding.searcher",
    "SequenceRewarder": "scoring.rewarder",
    "StepScorer": "engines.step_scorer",
    "Tree": "schema",
    "aggregate": "scoring.aggregation",
    "beam_search": "decoding.beam_search",
    "best_of_n": "decoding.selection",
    "build_tree": "trees.tree",
    "encode": "scoring.encoding",
    "features": "schema",
    "load_scorer": "scoring.pipeline",
    "majority_vote": "decoding.selection",
    "merge": "trees.tree",
    "pack": "scoring.packing",
    "search": "decoding.searcher",
    "split": "scoring.steps",
    "tree_pairs": "trees.pairs",
    "weighted_vote": "decoding.selection",
}

__all__ = ["__version__", *_MODULES]

pipeline_registration.install()


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
