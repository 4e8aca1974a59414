"""A real vLLM server of a tiny reward model on loopback. Run where vLLM is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openprm.engines.openai_rewards import ServerRewardEngine
from openprm.engines.specs import RewardSpec
from openprm.engines.step_scorer import StepScorer
from openprm.engines.transformers_rewards import TransformersRewardEngine
from openprm.errors import InputError
from openprm.scoring.scored_answer import ScoredAnswer

from .test_openai_live import _serve
from .test_vllm_rewards import reward_model  # noqa: F401

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

ROWS = [
    {"question": "What is the sum?", "response": f"First {i}.\nSo {i} and {i}.\nThe answer is {i}"} for i in range(9)
]


@pytest.fixture(scope="module")
def server(reward_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:  # noqa: F811
    options = "--runner pooling --dtype float32 --enforce-eager --served-model-name reward".split()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(reward_model), *options]
    yield from _serve(command, tmp_path_factory.mktemp("log") / "vllm.log")


def test_rewards_are_those_of_transformers(server: str, reward_model: Path) -> None:  # noqa: F811
    groups: Any = [[[5 + i, 6], [5 + i, 6, 7], list(range(5 + i, 40))] for i in range(30)]
    engine = ServerRewardEngine([server], "reward", concurrency=8)
    assert engine.max_length == 256
    assert engine.version
    expected = TransformersRewardEngine(reward_model, packed=False).rewards(groups)
    for found, plain in zip(engine.rewards(groups), expected, strict=True):
        assert found == pytest.approx(plain, abs=1e-3)
    engine.close()


def test_answers_are_scored_as_by_transformers(server: str, reward_model: Path) -> None:  # noqa: F811
    served = StepScorer.load(
        RewardSpec("reward", "server", servers=(server,), checkpoint=str(reward_model)), separator="line"
    )
    local = StepScorer.load(RewardSpec(str(reward_model)), separator="line")
    for found, expected in zip(served.score_rows(ROWS), local.score_rows(ROWS), strict=True):
        assert isinstance(found, ScoredAnswer)
        assert isinstance(expected, ScoredAnswer)
        assert found.steps == expected.steps
        assert found.rewards == pytest.approx(expected.rewards, abs=1e-3)
    served.close()


def test_another_model(server: str) -> None:
    with pytest.raises(InputError, match="they serve reward"):
        ServerRewardEngine([server], "other")
