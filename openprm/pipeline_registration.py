"""Registers the task "openprm-scoring" with transformers, without importing transformers.

Two steps, for either order of imports: once `transformers.pipelines` is there, import `openprm.scoring.pipeline`; once
that is there (it needs `transformers.pipelines` itself), register its class. Registering in the first hook
would be a circular import where `openprm.scoring.pipeline` came first.
"""

from __future__ import annotations

import importlib
from typing import Any

import wrapt

#: The model behind `pipeline("openprm-scoring")`: Hub id and revision.
DEFAULT_MODEL = ("openprm/openprm", "main")


def install() -> None:
    """Make the task known as soon as transformers' pipelines are imported, or now if they are already."""
    wrapt.register_post_import_hook(_register, "openprm.scoring.pipeline")
    wrapt.register_post_import_hook(_import_scoring, "transformers.pipelines")


def _import_scoring(_: Any) -> None:
    importlib.import_module("openprm.scoring.pipeline")


def _register(scoring: Any) -> None:
    from transformers import AutoModelForSequenceClassification
    from transformers.pipelines import PIPELINE_REGISTRY

    PIPELINE_REGISTRY.register_pipeline(
        scoring.TASK,
        pipeline_class=scoring.OpenPRMScoringPipeline,
        pt_model=AutoModelForSequenceClassification,
        default={"model": DEFAULT_MODEL},
        type="text",
    )
