"""Reward token sequences by one or several servers of vLLM (`vllm serve MODEL --runner pooling`; see `openai_client`).

engine = ServerRewardEngine(["http://first:8000/v1", "http://second:8000/v1"], "openprm/openprm")
engine.rewards([[[1, 5], [1, 5, 7]]])
engine.close()
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Unpack

from ..errors import Failure, InputError
from .base import Report, no_report
from .event_loop import EventLoopThread, gathered
from .openai_client import Connection, Servers

#: vLLM has it beside `/v1`. Unlike `/pooling` with `token_classify`, it takes what is known from the prefix cache.
_CLASSIFY = "../classify"


class ServerRewardEngine:
    """A `RewardEngine` by servers that know the model as `model`. The keywords are those of `Connection`.

    A group is one request, of token ids, and all of it goes to one server: what its sequences share is computed once,
    in whole blocks, where the server's prefix cache is on (it is by default). Rewards are raw logits, whatever
    activation the checkpoint asks for. In which dtype they are computed depends on the servers.

    Connections last until `close`. Raises InputError where no server knows the model, or tells its longest sequence;
    when rewarding, where no server answers any more, or one refuses a request.
    """

    engine = "server"

    def __init__(self, servers: Sequence[str], model: str, **connection: Unpack[Connection]) -> None:
        self._servers = Servers(servers, **connection)
        self.model = model
        #: The least that any server takes which answers now.
        self.max_length = _longest(self._servers, model)
        self.version = self._servers.version
        self._thread = EventLoopThread("openprm-requests")

    def rewards(self, groups: Sequence[Sequence[Sequence[int]]], report: Report = no_report) -> list[list[float]]:
        """See `RewardEngine`. Raises ValueError for a sequence that is empty or too long."""
        for sequence in (sequence for group in groups for sequence in group):
            if not 0 < len(sequence) <= self.max_length:
                raise ValueError(f"a sequence has {len(sequence)} tokens; these servers take 1 to {self.max_length}")
        try:
            return self._thread.run(gathered(self._reward(group, report) for group in groups))
        except Failure as failure:
            raise InputError(f"{failure}. What is finished is kept") from None

    def close(self) -> None:
        """Ends what still runs, and the connections. Closing twice is closing once."""
        if not self._thread.closed:
            self._thread.run(self._servers.close())
            self._thread.close()

    async def _reward(self, group: Sequence[Sequence[int]], report: Report) -> list[float]:
        if not group:
            return []
        request = {"model": self.model, "input": [list(sequence) for sequence in group], "use_activation": False}
        rewards = await self._servers.post(_CLASSIFY, request, lambda body: rewards_in(body, len(group)))
        report(1, sum(map(len, group)))
        return rewards


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


def _longest(servers: Servers, model: str) -> int:
    listed = [models for models in map(_models, servers.get("models")) if models is not None]
    if not listed:
        urls = ", ".join(servers.urls)
        raise InputError(f"none of the servers ({urls}) tells its models (GET /models); start them first")
    known = [models[model] for models in listed if model in models]
    if not known:
        names = sorted({name for models in listed for name in models})
        raise InputError(f"no server knows the model {model!r}; they serve {', '.join(names) or 'none'}")
    lengths = [length for length in known if isinstance(length, int)]
    if not lengths:
        raise InputError("the servers do not tell the longest sequence (max_model_len); rewards need servers of vLLM")
    return min(lengths)


def _models(body: Any) -> dict[str, Any] | None:
    """The longest sequence of each model that a server lists; None where it lists none."""
    try:
        return {model["id"]: model.get("max_model_len") for model in body["data"]}
    except (KeyError, TypeError, AttributeError):
        return None
