"""A small run of real stages, and its layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openprm.push.layout import publish_locally

from openprm.data.candidate_source import CandidateSource
from openprm.models.reward_checkpoint import load_reward_model, save_reward_model
from openprm.runs.manifest import files_hash, run_stage
from openprm.schema import Candidate
from openprm.stages.datasets import make_pairs, make_trees
from openprm.stages.evaluate import evaluate_models
from openprm.stages.score import score_candidates
from openprm.trees.pairs import MinGap, PairParameters
from tests import tiny_models
from tests.folders import candidate, dataset

TEXTS = [
    "The sum.\nThen five.\nThe answer is 5",
    "The sum.\nThen two.\nThe answer is 2",
    "Add.\nThe answer is 5",
    "No",
]
GOLDEN = [1.0, 0.0, 1.0, 0.0]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `publish_locally` takes."""
    root = tmp_path_factory.mktemp("run")
    found: dict[str, dict[str, str]] = {"candidates": {}, "trees": {}, "pairs": {}}
    for split, prompts in (("train", 5), ("test", 2)):
        rows = [candidate(f"{split}{p}", i, text, GOLDEN[i]) for p in range(prompts) for i, text in enumerate(TEXTS)]
        candidates = dataset(root / f"candidates-{split}", Candidate, rows)
        make_trees(CandidateSource(str(candidates)), root / f"trees-{split}")
        parameters = PairParameters(select="all", outcome="best")
        make_pairs(root / f"trees-{split}", root / f"pairs-{split}", MinGap.parse("0.2"), parameters)
        for kind in found:
            found[kind][split] = str(root / f"{kind}-{split}")

    def work(folder: Path) -> dict[str, Any]:
        tokenizer = tiny_models.tokenizer()
        tiny_models.model(vocab_size=len(tokenizer)).save_pretrained(root / "base")
        tokenizer.save_pretrained(root / "base")
        save_reward_model(*load_reward_model(root / "base"), folder)
        return {"files_hash": files_hash(folder), "counts": {}}

    run_stage(root / "reward", "model", {"levels": ["process", "outcome"]}, {}, work)
    score_candidates(CandidateSource(found["candidates"]["test"]), root / "reward", root / "scores")
    evaluate_models(found["candidates"]["test"], {"prm": root / "scores"}, root / "evaluation")
    made = {"models": {"prm": str(root / "reward")}, "evaluation": str(root / "evaluation")}
    return {**found, **made, "license": "mit"}


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory, run: dict[str, Any]) -> Path:
    """The owner's folder, which no test may change."""
    out = tmp_path_factory.mktemp("published") / "hub"
    publish_locally(out, **run, owner="somebody")
    return out / "somebody"
