"""Reward token sequences by one or several servers of vLLM (`vllm serve MODEL --runner pooling`; see `openai_client`).

engine = ServerRewardEngine(["http://first:8000/v1", "http://second:8000/v1"], "openprm/openprm")
engine.rewards([[[1, 5], [1, 5, 7]]])
engine.close()
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..errors import Failure, InputError
from .base import Report, check_lengths, no_report
from .event_loop import gathered
from .openai_client import Servers

#: vLLM has it beside `/v1`. Unlike `/pooling` with `token_classify`, it takes what is known from the prefix cache.
_CLASSIFY = "../classify"


class ServerRewardEngine(Servers):
    """A `RewardEngine` by servers that know the model as `model`.

    A group is one request, of token ids, and all of it goes to one server: what its sequences share is computed once,
    in whole blocks, where the server's prefix cache is on (it is by default). Rewards are raw logits, whatever
    activation the checkpoint asks for, computed in the servers' dtype.

    Raises InputError where no server knows the model, or says how long its sequences may be; when rewarding, where no
    server answers any more, or one refuses a request.
    """

    def __init__(self, servers: Sequence[str], model: str, **connection: Any) -> None:
        super().__init__(servers, **connection)
        self.model = model
        self.max_length = self._longest()  # the least of the servers that answer now

    def rewards(self, groups: Sequence[Sequence[Sequence[int]]], report: Report = no_report) -> list[list[float]]:
        """See `RewardEngine`. Raises ValueError for a sequence that is empty or too long."""
        check_lengths(groups, self.max_length)
        try:
            return self.thread.run(gathered(self._reward(group, report) for group in groups))
        except Failure as failure:
            raise InputError(f"{failure}. What is finished is kept") from None

    async def _reward(self, group: Sequence[Sequence[int]], report: Report) -> list[float]:
        if not group:
            return []
        request = {"model": self.model, "input": [list(sequence) for sequence in group], "use_activation": False}
        rewards = await self.post(_CLASSIFY, request, lambda body: rewards_in(body, len(group)))
        report(1, sum(map(len, group)))
        return rewards

    def _longest(self) -> int:
        listed = [one for body in self.get("models") if isinstance(body, dict) for one in body.get("data") or []]
        if not listed:
            urls = ", ".join(self.urls)
            raise InputError(f"none of the servers ({urls}) lists its models (GET /models); start them first")
        served = {str(one.get("id")) for one in listed}
        if self.model not in served:
            raise InputError(f"no server knows the model {self.model!r}; they serve {', '.join(sorted(served))}")
        lengths = [one["max_model_len"] for one in listed if one.get("id") == self.model and one.get("max_model_len")]
        if not lengths:
            raise InputError(
                "the servers do not report the longest sequence (max_model_len); rewards need vLLM's servers"
            )
        return min(lengths)


def rewards_in(body: Any, n: int) -> list[float]:
    """The rewards in an answer of `/classify`. Raises ValueError for a body of another shape, or of another number."""
    try:
        data = sorted(body["data"], key=lambda one: one["index"])
        rewards = [float(value) for one in data for value in one["probs"]]
    except (KeyError, TypeError, AttributeError):
        raise ValueError(json.dumps(body)) from None
    if len(rewards) != n:
        raise ValueError(f"{len(rewards)} rewards of {n} sequences")
    return rewards
