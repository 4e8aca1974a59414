"""A small run of real stages, and its layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openprm.push.publish import Publish

from openprm.models.reward_checkpoint import load_reward_model, save_reward_model
from openprm.runs.manifest import files_hash, run_stage
from openprm.schema import Candidate
from openprm.stages.evaluate import Evaluate
from openprm.stages.pairs import Pairs
from openprm.stages.score import Score
from openprm.stages.trees import Trees
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
    """The fields of `Publish`."""
    root = tmp_path_factory.mktemp("run")
    found: dict[str, dict[str, str]] = {"candidates": {}, "trees": {}, "pairs": {}}
    for split, prompts in (("train", 5), ("test", 2)):
        rows = [candidate(f"{split}{p}", i, text, GOLDEN[i]) for p in range(prompts) for i, text in enumerate(TEXTS)]
        candidates = dataset(root / f"candidates-{split}", Candidate, rows)
        Trees(candidates=str(candidates)).run(root / f"trees-{split}")
        Pairs(trees=str(root / f"trees-{split}"), min_gap="0.2", select="all", outcome="best").run(
            root / f"pairs-{split}"
        )
        for kind in found:
            found[kind][split] = str(root / f"{kind}-{split}")

    def work(folder: Path) -> dict[str, Any]:
        tokenizer = tiny_models.tokenizer()
        tiny_models.model(vocab_size=len(tokenizer)).save_pretrained(root / "base")
        tokenizer.save_pretrained(root / "base")
        save_reward_model(*load_reward_model(root / "base"), folder)
        return {"files_hash": files_hash(folder), "counts": {}}

    run_stage(root / "reward", "train", {"levels": ["process", "outcome"]}, {}, work)
    test = found["candidates"]["test"]
    Score(candidates=test, model=str(root / "reward")).run(root / "scores")
    Evaluate(candidates=test, scores={"prm": str(root / "scores")}).run(root / "evaluation")
    made = {"models": {"prm": str(root / "reward")}, "evaluation": str(root / "evaluation")}
    return {**found, **made, "license": "mit"}


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory, run: dict[str, Any]) -> Path:
    """The owner's folder, which no test may change."""
    out = tmp_path_factory.mktemp("published") / "hub"
    Publish(**run, owner="somebody").run(out)
    return out / "somebody"
