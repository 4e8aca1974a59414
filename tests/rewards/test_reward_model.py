from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from openprm.engines.specs import RewardSpec
from openprm.models.reward_checkpoint import load_reward_model, save_reward_model
from openprm.rewards.base import RewardBatch, RewardResult
from openprm.rewards.reward_model import ModelRewarder
from openprm.scoring.encoding import encode
from openprm.scoring.pipeline import load_scorer
from tests.rewards.outcomes import candidate

RESPONSES = ["The answer is five.", "First, add the numbers.\nThen, divide by two.", "Seven."]


def outcomes(rewarder: ModelRewarder, *responses: str) -> list[RewardResult]:
    candidates = list(map(candidate, responses))
    batches = [RewardBatch(0, candidates[:1]), RewardBatch(1, candidates[1:])]
    found = list(rewarder.rewards(batches))
    assert [batch for batch, _ in found] == batches
    return [outcome for _, group in found for outcome in group]


def values(found: list[RewardResult]) -> list[float]:
    assert all(outcome.reward for outcome in found)
    return [outcome.reward["value"] for outcome in found if outcome.reward]


def plain_rewards(folder: Path, suffix: str = "") -> list[float]:
    """Straight from transformers: one row a pass."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    question = candidate("")["question"]
    with torch.no_grad():
        return [
            model(torch.tensor([encode(tokenizer, question, response, suffix)])).logits.item()
            for response in RESPONSES
        ]


def test_an_off_the_shelf_model_rewards_whole_responses(base: Path):
    assert "openprm" not in json.loads((base / "config.json").read_text())
    found = outcomes(ModelRewarder(base), *RESPONSES)
    assert values(found) == pytest.approx(plain_rewards(base), abs=1e-4)
    assert {outcome.reward["name"] for outcome in found if outcome.reward} == {"base"}
    steps = [output["step_rewards"][-1] for output in load_scorer(str(base))([dict(candidate(r)) for r in RESPONSES])]
    assert values(found) == pytest.approx(steps, abs=1e-4)


def test_a_recorded_suffix_stands_behind_the_response(base: Path, tmp_path: Path):
    save_reward_model(*load_reward_model(base, suffix="The answer"), tmp_path / "orm")
    rewarder = ModelRewarder(tmp_path / "orm", name="mine")
    found = outcomes(rewarder, *RESPONSES)
    expected = plain_rewards(tmp_path / "orm", "The answer")
    assert values(found) == pytest.approx(expected, abs=1e-4)
    assert expected != pytest.approx(plain_rewards(base), abs=1e-2)
    assert found[0].reward == {"name": "mine", "value": values(found)[0], "std": None, "n_judgements": None}
    assert rewarder.describe() == {
        "kind": "model",
        "model": "orm",
        "revision": None,
        "engine": "transformers",
        "dtype": "float32",
        "trust_remote_code": False,
        "engine_options": {},
    }


def test_what_is_wrong_with_one_candidate_leaves_the_others(base: Path):
    first, long, empty, *others = outcomes(ModelRewarder(base), RESPONSES[0], "five " * 300, " \n", *RESPONSES[1:])
    assert values([first, *others]) == pytest.approx(plain_rewards(base), abs=1e-4)
    for found, reason in ((long, "the reward model reads at most 256"), (empty, "the response is empty")):
        assert found.reward is None
        assert found.failure is not None
        assert not found.failure.transient
        assert found.failure.reason.endswith(reason)


def test_the_engine_is_made_at_the_first_batch_and_kept(base: Path):
    rewarder = ModelRewarder(RewardSpec(str(base), options={"max_tokens": 1}))
    assert list(rewarder.rewards([])) == []
    assert rewarder._scorer is None
    first = values(outcomes(rewarder, *RESPONSES))
    loaded = rewarder._scorer
    assert values(outcomes(rewarder, *RESPONSES)) == first
    assert rewarder._scorer is loaded
    rewarder.close()
    assert values(outcomes(rewarder, *RESPONSES)) == first
