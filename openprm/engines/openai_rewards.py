"""Reward token sequences by one or several servers of vLLM (`vllm serve MODEL --runner pooling`; see `fleet`).

engine = ServerRewardEngine(["http://first:8000/v1", "http://second:8000/v1"], "openprm/openprm")
engine.rewards([[[1, 5], [1, 5, 7]]])
engine.close()
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any, Unpack

from ..errors import InputError
from .background import EventLoopThread
from .base import Report, no_report
from .openai_client import Connection, Fleet
from .openai_endpoint import Key, Unanswered, Unsupported
from .openai_generator import versions

#: vLLM has it beside `/v1`. Unlike `/pooling` with `token_classify`, it takes what is known from the prefix cache.
CLASSIFY = "../classify"
_PROBE_TIMEOUT = 10.0  # seconds


class ServerRewardEngine:
    """A `RewardEngine` by servers that know the model as `model`. The keywords are those of `fleet.Connection`.

    A group is one request, of token ids, and all of it goes to one server: what its sequences share is computed once,
    in whole blocks, where the server's prefix cache is on (it is by default). Rewards are raw logits, whatever
    activation the checkpoint asks for. In which dtype they are computed is the servers' matter.

    Connections last until `close`. Raises InputError where no server knows the model, or tells its longest sequence;
    when rewarding, where no server answers any more, or one refuses a request.
    """

    engine = "server"

    def __init__(self, servers: Sequence[str], model: str, **connection: Unpack[Connection]) -> None:
        fleet = Fleet(servers, **connection)
        self.model = model
        #: The least that any server takes which answers now.
        self.max_length = _longest(fleet.urls, model, Key(connection.get("key_variable", "OPENAI_API_KEY")))
        self.version = versions(fleet.urls)
        self._fleet = fleet
        self._thread: EventLoopThread | None = EventLoopThread(fleet)
        self._thread.__enter__()

    def rewards(self, groups: Sequence[Sequence[Sequence[int]]], report: Report = no_report) -> list[list[float]]:
        """See `RewardEngine`. Raises ValueError for a sequence that is empty or too long."""
        if self._thread is None:
            raise RuntimeError("the engine is closed")
        for sequence in (sequence for group in groups for sequence in group):
            if not 0 < len(sequence) <= self.max_length:
                raise ValueError(f"a sequence has {len(sequence)} tokens; these servers take 1 to {self.max_length}")
        asked = self._thread.start(self._rewards(groups, report))
        try:
            return asked.result()
        except Unanswered as error:
            raise InputError(f"{error.failure.reason}; {error.failure.remedy}. What is kept stays") from None
        except Unsupported as error:
            raise InputError(f"{error}; rewards need servers of vLLM") from None
        finally:
            asked.cancel()

    def close(self) -> None:
        """Ends what still runs, and the connections."""
        if self._thread is not None:
            self._thread.__exit__()
            self._thread = None

    async def _rewards(self, groups: Sequence[Sequence[Sequence[int]]], report: Report) -> list[list[float]]:
        room = asyncio.Semaphore(self._fleet.concurrency)
        asked = [asyncio.ensure_future(self._group(group, room, report)) for group in groups]
        try:
            return await asyncio.gather(*asked)
        finally:
            for one in asked:
                one.cancel()

    async def _group(self, group: Sequence[Sequence[int]], room: asyncio.Semaphore, report: Report) -> list[float]:
        if not group:
            return []
        request = {"model": self.model, "input": [list(sequence) for sequence in group], "use_activation": False}
        async with room:
            rewards = await self._fleet.ask(CLASSIFY, request, lambda body: rewards_in(body, len(group)))
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


def _longest(urls: Sequence[str], model: str, key: Key) -> int:
    with ThreadPoolExecutor(16) as pool:
        listed = [models for models in pool.map(lambda url: _models(url, key), urls) if models is not None]
    if not listed:
        raise InputError(f"none of the servers ({', '.join(urls)}) tells its models (GET /models); start them first")
    known = [models[model] for models in listed if model in models]
    if not known:
        names = sorted({name for models in listed for name in models})
        raise InputError(f"no server knows the model {model!r}; they serve {', '.join(names) or 'none'}")
    lengths = [length for length in known if isinstance(length, int)]
    if not lengths:
        raise InputError("the servers do not tell the longest sequence (max_model_len); rewards need servers of vLLM")
    return min(lengths)


def _models(url: str, key: Key) -> dict[str, Any] | None:
    """The longest sequence of each model of a server; None where it does not answer so."""
    request = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {key.reveal()}"})
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_TIMEOUT) as reply:
            return {model["id"]: model.get("max_model_len") for model in json.load(reply)["data"]}
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None
