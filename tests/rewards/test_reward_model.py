from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from openprm.engines.specs import RewardSpec
from openprm.errors import Failure, InputError
from openprm.models.reward_checkpoint import load_reward_model, save_reward_model
from openprm.rewards.base import RewardBatch, RewardResult
from openprm.rewards.reward_model import ModelRewarder
from openprm.scoring.encoding import encode
from openprm.scoring.pipeline import load_scorer
from tests import tiny_models
from tests.rewards.outcomes import candidate

RESPONSES = ["The answer is five.", "First, add the numbers.\nThen, divide by two.", "Seven."]


def outcomes(rewarder: ModelRewarder, *responses: Any) -> list[RewardResult]:
    candidates = [candidate(one) if isinstance(one, str) else one for one in responses]
    batches = [RewardBatch(0, candidates[:1]), RewardBatch(1, candidates[1:])]
    found = list(rewarder.rewards(batches))
    assert [batch for batch, _ in found] == batches
    return [outcome for _, group in found for outcome in group]


def values(found: list[RewardResult]) -> list[float]:
    rewards = [outcome.reward for outcome in found]
    assert all(reward is not None for reward in rewards)
    return [reward["value"] for reward in rewards if reward is not None]


def failure(outcome: RewardResult) -> Failure:
    assert outcome.reward is None
    assert outcome.failure is not None
    assert not outcome.failure.transient
    return outcome.failure


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
    steps = [output["rewards"][-1] for output in load_scorer(str(base))([dict(candidate(r)) for r in RESPONSES])]
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
    tokenizer = AutoTokenizer.from_pretrained(base)
    long = "five " * 300
    length = len(encode(tokenizer, candidate("")["question"], long))
    strange: Any = [{"role": "user", "content": 5}]
    found = outcomes(
        ModelRewarder(base),
        RESPONSES[0],
        long,
        " \n",
        dict(candidate("five"), question=strange),
        RESPONSES[1],
        RESPONSES[2],
    )
    assert values([found[0], *found[4:]]) == pytest.approx(plain_rewards(base), abs=1e-4)
    assert (
        failure(found[1]).reason
        == f"up to step 1, question and response take {length} tokens; the reward model reads at most 256"
    )
    assert failure(found[2]).reason == "the response is empty"
    assert "needs a text" in failure(found[3]).reason


def reward_model(folder: Path, template: str | None, **options: Any) -> Path:
    tokenizer = tiny_models.tokenizer(template, **options)
    tiny_models.model(vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_template_that_does_not_render_the_question(tmp_path: Path):
    template = "{% for m in messages %}{{ m['content'][1:] }}{% endfor %}"
    (outcome,) = outcomes(ModelRewarder(reward_model(tmp_path, template)), RESPONSES[0])
    assert "does not render the user's message" in failure(outcome).reason


def test_the_tokenizers_own_limit_counts(tmp_path: Path):
    rewarder = ModelRewarder(reward_model(tmp_path, tiny_models.CHAT_TEMPLATE, model_max_length=10))
    assert failure(outcomes(rewarder, RESPONSES[0])[0]).reason.endswith("at most 10")


def test_a_reward_that_is_no_number_is_a_failure(base: Path, tmp_path: Path):
    model: Any
    model, tokenizer = load_reward_model(base)
    model.score.weight.data.fill_(math.nan)
    save_reward_model(model, tokenizer, tmp_path)
    assert failure(outcomes(ModelRewarder(tmp_path), RESPONSES[0])[0]).reason == "the reward is nan"


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


def test_models_that_cannot_reward_are_refused(tmp_path: Path):
    sizes = {key: value for key, value in tiny_models.SIZES.items() if key != "num_labels"}
    LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(tmp_path / "language")
    with pytest.raises(InputError, match=r"no sequence-classification head.*openprm train --base"):
        outcomes(ModelRewarder(tmp_path / "language"), RESPONSES[0])
    with pytest.raises(InputError, match=r"has no chat template.*chat_template\.jinja"):
        outcomes(ModelRewarder(reward_model(tmp_path / "silent", None)), RESPONSES[0])
    with pytest.raises(InputError, match="nowhere cannot be read as a model"):
        outcomes(ModelRewarder(tmp_path / "nowhere"), RESPONSES[0])
    with pytest.raises(InputError, match="unknown engine 'jax'"):
        RewardSpec("model", "jax")


@pytest.mark.parametrize("option", ["trust_remote_code", "revision", "dtype", "model"])
def test_what_has_a_parameter_of_its_own_is_no_engine_option(option: str):
    with pytest.raises(InputError, match=f"{option} is no engine option, but a parameter of its own"):
        RewardSpec("m", options={option: True})
