"""Rewards from servers that answer as a test says; from a real vLLM: `test_openai_rewards_live`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from openprm.engines.openai_rewards import ServerRewardEngine, rewards_in
from openprm.errors import InputError

from .faulty_server import RewardServer

QUICK: dict[str, Any] = {"timeout": 20}
GROUPS = [[[i], [i, 5], [i, 5, 7]] for i in range(40)]


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with RewardServer() as running:
        yield running


def sums(groups: list[list[list[int]]]) -> list[list[float]]:
    return [[float(sum(sequence)) for sequence in group] for group in groups]


def test_what_is_sent(server: RewardServer) -> None:
    engine = ServerRewardEngine([server.url], "reward", **QUICK)
    assert engine.max_length == 16
    assert engine.rewards([]) == []
    assert engine.rewards([[], [[3, 4], [3]]]) == [[], [7.0, 3.0]]
    assert server.requests == [{"model": "reward", "input": [[3, 4], [3]], "use_activation": False}]
    assert server.paths == ["/classify"]
    engine.close()
    engine.close()
    for body in ({}, [], {"data": [{"index": 0, "probs": [1.0, 2.0]}]}, {"data": None}):
        with pytest.raises(ValueError, match=r"data|\[\]|\{\}|2 rewards of 1"):
            rewards_in(body, 1)


def test_several_servers_share_the_work_and_a_dead_one_is_left_out(server: RewardServer) -> None:
    with RewardServer(longest=8) as second, RewardServer() as dead:
        dead.down = True
        engine = ServerRewardEngine([server.url, second.url, dead.url], "reward", **QUICK, concurrency=3, retries=2)
        assert engine.max_length == 8
        assert engine.rewards(GROUPS) == sums(GROUPS)
        assert min(len(server.requests), len(second.requests)) >= 5
        assert server.most_in_flight <= 3
        second.down = True
        assert engine.rewards(GROUPS) == sums(GROUPS)
        engine.close()


def test_all_servers_dead(server: RewardServer) -> None:
    engine = ServerRewardEngine([server.url], "reward", **QUICK, retries=2)
    server.down = True
    with pytest.raises(InputError, match="What is finished is kept"):
        engine.rewards(GROUPS)
    server.down = False
    engine.close()


def test_what_does_not_fit(server: RewardServer) -> None:
    engine = ServerRewardEngine([server.url], "reward", **QUICK)
    for length in (0, 17):
        with pytest.raises(ValueError, match=f"{length} tokens"):
            engine.rewards([[[5] * length]])
    engine.close()
    assert not server.requests


def test_a_server_of_another_model_or_kind(server: RewardServer) -> None:
    with pytest.raises(InputError, match="no server knows the model 'other'; they serve reward"):
        ServerRewardEngine([server.url], "other", **QUICK)
    server.models = [{"id": "reward"}]
    with pytest.raises(InputError, match="max_model_len"):
        ServerRewardEngine([server.url], "reward", **QUICK)
    server.down = True
    with pytest.raises(InputError, match="start them first"):
        ServerRewardEngine([server.url], "reward", **QUICK)
