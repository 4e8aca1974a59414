"""The results of an evaluation on benchmarks in a model's card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from openprm.push.benchmarks import benchmarked, model_index
from openprm.push.cards import documents
from openprm.push.publish import Publish

from openprm.errors import InputError
from openprm.runs.folder import read_manifest
from tests.evaluation.report.results import benchmark, metric, results
from tests.publication import Fields

from .publications import publication

HASH = "f" * 40


def evaluation(folder: Path, content: str = "abc", stage: str = "evaluate", **models: Any) -> str:
    """A folder that says what the model with this hash, called `mine`, gave."""
    rows = [
        metric("mine", 0.75, 0.5, 1.0),
        metric("mine", 0.25, subset="hard"),
        metric("other", 0.9),
        metric("length", 0.4, None, None),
        metric("random score", None),
    ]
    data = {"name": "somebody/pairs@v1", "hash": HASH}
    found = results("mine", "other", one=benchmark(rows, title="One | pair", data=data, limit=1_000))
    found["models"] |= models
    inputs = {"mine": {"name": "m", "hash": content}, "on/one": data}
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(found))
    manifest = {"stage": stage, "fingerprint": "0", "files_hash": "1", "inputs": inputs, "origins": []}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


def test_the_numbers_of_one_model_and_of_the_baselines_are_taken(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "evaluation")
    found = benchmarked(folder, "abc")
    assert found is not None
    assert list(found["models"]) == ["mine"]
    assert [row["model"] for row in found["benchmarks"]["one"]["metrics"]] == ["mine", "length"]
    assert found["benchmarks"]["one"]["metrics"][0]["value"] == 0.75
    assert benchmarked(folder, "another") is None
    assert benchmarked(folder, None) is None
    with pytest.raises(InputError, match="holds choices; give a folder that `openprm evaluate` wrote"):
        benchmarked(evaluation(tmp_path / "choices", stage="choices"), "abc")


def test_the_hub_reads_them_from_the_card(tmp_path: Path) -> None:
    made = publication("model", benchmarks=benchmarked(evaluation(tmp_path / "evaluation"), "abc"))
    text = documents(made)["README.md"]
    (entry,) = ModelCard(text).data.eval_results or []
    assert (entry.dataset_type, entry.dataset_name, entry.dataset_revision) == ("somebody/pairs", "One | pair", HASH)
    assert (entry.metric_type, entry.metric_value) == ("accuracy", 0.75)
    assert entry.metric_args == {"interval_95": [0.5, 1.0], "items": 10}
    start = f"| `One \\| pair` | `somebody/pairs@v1` at `{HASH[:12]}` | `accuracy` | "
    assert [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)] == [
        "`mine` | 0.750 | 0.500 to 1.000 | 10, of 1,000 prompts drawn |",
        "`length` | 0.400 |  | 10, of 1,000 prompts drawn |",
    ]
    plain = documents(publication("model"))["README.md"]
    assert ModelCard(plain).data.eval_results is None
    assert "## Benchmarks" not in plain


def test_a_mean_over_several_seeds_is_no_number_of_one_model(tmp_path: Path) -> None:
    several = {"models": ["mine", "mine-1"], "aggregation": "min", "unit": "strength"}
    found = benchmarked(evaluation(tmp_path / "evaluation", mine=several), "abc")
    assert found is not None
    assert model_index("prm", found) == []
    text = documents(publication("model", benchmarks=found))["README.md"]
    assert "`mine`: mean over 2 models of this kind" in text
    assert "model-index" not in text


def test_they_are_published_with_the_model_that_was_measured(fields: Fields, tmp_path: Path) -> None:
    content = read_manifest(fields["models"]["prm"])["files_hash"]
    options = {"models": fields["models"], "license": "mit"}
    measured = evaluation(tmp_path / "evaluation", content)
    Publish(**options, benchmarks=measured).run(tmp_path / "hub")
    folder = tmp_path / "hub" / "openprm" / "prm"
    (entry,) = ModelCard.load(str(folder / "README.md")).data.eval_results or []
    assert entry.metric_value == 0.75
    assert str(tmp_path) not in (folder / "manifest.json").read_text()
    other = evaluation(tmp_path / "other", "another")
    with pytest.raises(InputError, match=r"other measured none of the models \(prm\)"):
        Publish(**options, benchmarks=other).run(tmp_path / "refused")
