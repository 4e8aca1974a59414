"""OpenPRM: process reward models for open-domain tasks, from outcome rewards alone.

Importing it is cheap: the public names below load their modules when they are first used.
Where both openprm and transformers are imported, in whichever order, `transformers.pipeline` knows the
task "openprm-scoring".
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from . import pipeline_registration

#: The public names, in the order of the method, and the module of each.
_MODULES = {
    "Candidate": "schema",
    "Tree": "schema",
    "Pair": "schema",
    "features": "schema",
    "Columns": "data.columns",
    "read_candidates": "data.candidates",
    "MergeParameters": "trees.tree",
    "build_tree": "data.candidates",
    "MinGap": "trees.pairs",
    "PairParameters": "trees.pairs",
    "tree_pairs": "trees.pairs",
    "load_reward_model": "models.reward_checkpoint",
    "OpenPRMConfig": "training.config",
    "OpenPRMTrainer": "training.trainer",
    "OpenPRMScoringPipeline": "scoring.pipeline",
    "load_scorer": "scoring.pipeline",
    "aggregate": "scoring.aggregation",
    "best_of_n": "decoding.selection",
    "majority_vote": "decoding.selection",
    "weighted_vote": "decoding.selection",
    "search": "decoding.searcher",
    "GeneratorSpec": "engines.specs",
    "RewardSpec": "engines.specs",
    "Sampling": "engines.base",
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
