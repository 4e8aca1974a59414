"""What an evaluation on benchmarks says of a published model, for its card and the Hub's `model-index`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openprm.errors import InputError
from openprm.evaluation.benchmarks.baselines import BASELINES
from openprm.evaluation.report.page import RESULTS
from openprm.evaluation.report.tables import headline
from openprm.runs.folder import read_manifest

_KEPT = ("title", "data", "headline", "items", "limit")


def benchmarked(folder: str, content: str | None) -> dict[str, Any] | None:
    """The headline numbers of a model, by its hash, or of models of its kind, beside those of the baselines.

    None where the evaluation in the folder measured others. Raises InputError where the folder holds no evaluation.
    """
    manifest = read_manifest(folder)
    if manifest["stage"] != "evaluate":
        raise InputError(f"{folder} holds {manifest['stage']}; give a folder that `openprm evaluate` wrote")
    names = {role for role, made in manifest["inputs"].items() if made["hash"] == content}
    results = json.loads((Path(folder) / RESULTS).read_text("utf-8"))
    kinds = {kind: entry for kind, entry in results["models"].items() if names & {*entry["models"]}}
    found = {
        name: {key: one[key] for key in _KEPT}
        | {
            "metrics": [
                row for row in headline(one) if row["model"] in (*kinds, *BASELINES) and row["value"] is not None
            ]
        }
        for name, one in results["benchmarks"].items()
    }
    return {"models": kinds, "benchmarks": found} if kinds else None


def model_index(name: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """As the Hub shows it: the numbers of this model alone, not means over several of its kind."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    entries = [
        EvalResult(
            task_type="text-classification",
            task_name="Reward model",
            dataset_name=one["title"],
            dataset_type=one["data"]["name"].partition("@")[0],
            dataset_revision=one["data"]["hash"],
            metric_type=one["headline"],
            metric_value=row["value"],
            metric_args={"interval_95": [row["low"], row["high"]], "items": row["items"]},
        )
        for one in found["benchmarks"].values()
        for row in one["metrics"]
        if len(found["models"].get(row["model"], {"models": []})["models"]) == 1
    ]
    return eval_results_to_model_index(name, entries) if entries else []
