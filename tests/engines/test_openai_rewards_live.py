"""A real vLLM server of a tiny reward model on loopback. Run where vLLM is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from openprm.engines.openai_rewards import ServerRewardEngine
from openprm.engines.specs import RewardSpec
from openprm.engines.step_scorer import StepScorer
from openprm.errors import InputError
from openprm.scoring.scored_answer import ScoredAnswer

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

ROWS = [
    {"question": "What is the sum?", "response": f"First {i}.\nSo {i} and {i}.\nThe answer is {i}"} for i in range(9)
]


def test_answers_are_scored_as_by_transformers(serve: Callable[..., str], reward_model: Path) -> None:
    server = serve(reward_model, "--runner", "pooling", "--served-model-name", "reward")
    engine = ServerRewardEngine([server], "reward")
    assert engine.max_length == 256
    engine.close()
    served = StepScorer.load(
        RewardSpec("reward", "server", servers=(server,), checkpoint=str(reward_model)), separator="line"
    )
    local = StepScorer.load(RewardSpec(str(reward_model)), separator="line")
    for found, expected in zip(served.score_rows(ROWS), local.score_rows(ROWS), strict=True):
        assert isinstance(found, ScoredAnswer)
        assert isinstance(expected, ScoredAnswer)
        assert found.steps == expected.steps
        assert found.step_rewards == pytest.approx(expected.step_rewards, abs=1e-3)
    served.close()
    with pytest.raises(InputError, match="they serve reward"):
        ServerRewardEngine([server], "other")
