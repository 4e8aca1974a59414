"""One or several OpenAI-compatible servers behind one door: balanced, retried, the dead ones left out.

    fleet = Fleet(["http://first:8000/v1", "http://second:8000/v1"])
    async with fleet:
        samples = await fleet.ask(CHAT, {"model": "policy", "messages": messages, "n": 64}, read)

What may go well another time is tried again, rather at another server: HTTP 429 and 5xx, time-outs, broken
connections, bodies that `read` makes no sense of. A server that fails three times in a row is left out until it
answers `GET /models`; each one begins so. HTTP 429 is no failure: it only says "later".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

from ..errors import Failure, InputError
from .openai_endpoint import Endpoint, Key, Trouble, Unanswered, checked_address

T = TypeVar("T")

_ROW = 3  # failures in a row, and a server is left out
_LONGEST_PAUSE = 30.0  # seconds, between two attempts or two probes

logger = logging.getLogger(__name__)


class Connection(TypedDict, total=False):
    """How to talk to the servers. All times are in seconds.

    `concurrency`: requests at once, for each server. `timeout`: for one request with all its samples. `retries`:
    attempts after the first that failed; `backoff`: the pause before the first of them, doubled each time, give or
    take a half. `patience`: how long no server may answer before requests are given up. `key_variable`: the
    environment variable that holds the key; none is needed where the servers ask for none.
    """

    concurrency: int
    timeout: float
    retries: int
    backoff: float
    patience: float
    key_variable: str


@dataclass
class _Server:
    endpoint: Endpoint
    in_flight: int = 0
    failures: int = 0  # in a row
    probe_pause: float = 0.0  # seconds before the next probe, longer each time until a request is answered
    out: bool = True
    resume: float = 0.0  # nothing is sent before this time
    trouble_since: float | None = None  # the first failure or HTTP 429 after the last answer
    probe: asyncio.Task[None] | None = None


class Fleet:
    """Servers by their base addresses, which usually end in `/v1`; the options are those of `Connection`.

    Connections last as long as an `async with` block; there may be several, one after the other. Raises InputError
    for an address that is none or that holds a secret, and where the extra `server` is not installed.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        concurrency: int = 64,
        timeout: float = 600.0,
        retries: int = 5,
        backoff: float = 0.5,
        patience: float = 300.0,
        key_variable: str = "OPENAI_API_KEY",
    ) -> None:
        try:
            import openai  # noqa: F401
        except ImportError as error:
            raise InputError("asking servers needs the extra: pip install 'openprm[server]'") from error
        if isinstance(servers, str) or not servers:
            raise InputError("give the base addresses of the servers as a list of one or more")
        if concurrency < 1 or retries < 0 or timeout <= 0:
            raise InputError("concurrency is at least 1, retries at least 0 and timeout above 0")
        self.urls = list(dict.fromkeys(checked_address(url) for url in servers))
        self.concurrency = concurrency * len(self.urls)
        self._each = concurrency
        self._timeout = timeout
        self._retries = retries
        self._backoff = backoff
        self._patience = patience
        self._key = Key(key_variable)
        self._servers: list[_Server] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Fleet:
        self._changed = asyncio.Event()
        self._servers = [_Server(Endpoint(url, self._key, self._timeout)) for url in self.urls]
        for server in self._servers:
            self._leave_out(server, first=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        probes = [server.probe for server in self._servers if server.probe is not None]
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        for server in self._servers:
            await server.endpoint.close()

    async def ask(self, path: str, request: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """See `Endpoint.ask`. Raises Unanswered also where no attempt succeeds."""
        attempts = failed = 0
        server: _Server | None = None
        while True:
            server = await self._acquire(avoid=server)
            pause = min(self._backoff * 2**attempts, _LONGEST_PAUSE) * random.uniform(0.5, 1.5)
            try:
                answer = await server.endpoint.ask(path, request, read)
            except Trouble as trouble:
                attempts += 1
                failed += not trouble.busy
                self._note(server, trouble, pause)
                if failed > self._retries:
                    raise _given_up(f"{failed} attempts failed, the last one with: {trouble}") from None
                if trouble.busy:  # which no number of attempts ends
                    self._patience_left(time.monotonic())
            else:
                server.failures, server.trouble_since, server.probe_pause = 0, None, self._backoff
                return answer
            finally:
                server.in_flight -= 1
                self._wake()
            await asyncio.sleep(pause)

    async def _acquire(self, avoid: _Server | None) -> _Server:
        """A place at the least busy server, rather at another than `avoid`."""
        while True:
            now = time.monotonic()
            standing = [server for server in self._servers if not server.out and server.resume <= now]
            free = [server for server in standing if server.in_flight < self._places(server)]
            if free:
                server = min(free, key=lambda server: (server is avoid, server.in_flight))
                server.in_flight += 1
                return server
            wait = None
            if not standing:
                resumes = [server.resume - now for server in self._servers if not server.out]
                wait = min([self._patience_left(now), *resumes])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)

    def _places(self, server: _Server) -> int:
        return self._each if server.failures < _ROW - 1 else 1  # one request tries out what a row of them failed at

    def _wake(self) -> None:
        """Lets all who wait for a place look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _patience_left(self, now: float) -> float:
        """In seconds. Raises Unanswered where all servers have been in trouble for longer."""
        since = [now if server.trouble_since is None else server.trouble_since for server in self._servers]
        left = max(since) + self._patience - now
        if left <= 0:
            raise _given_up(f"no server has answered for {self._patience:g} s")
        return left

    def _note(self, server: _Server, trouble: Trouble, pause: float) -> None:
        now = time.monotonic()
        if server.trouble_since is None:
            server.trouble_since = now
        if trouble.busy or trouble.pause is not None:
            server.resume = max(server.resume, now + (pause if trouble.pause is None else trouble.pause))
        if trouble.busy:
            return
        server.failures += 1
        if server.failures >= _ROW and not server.out:
            logger.warning("%s is left out: %d failures in a row: %s", server.endpoint.url, server.failures, trouble)
            self._leave_out(server)

    def _leave_out(self, server: _Server, first: bool = False) -> None:
        server.out = True
        if server.trouble_since is None:
            server.trouble_since = time.monotonic()
        server.probe = asyncio.create_task(self._bring_back(server, first))

    async def _bring_back(self, server: _Server, first: bool) -> None:
        while True:
            pause = server.probe_pause
            server.probe_pause = min(max(2 * pause, self._backoff), _LONGEST_PAUSE)
            await asyncio.sleep(pause)
            if await server.endpoint.lives():
                break
            if not pause:
                logger.warning("%s does not answer yet", server.endpoint.url)
        server.out = False
        if first:
            server.trouble_since = None
        else:  # it may answer the probe and nothing else, so one more failure is enough
            server.failures = _ROW - 1
            logger.warning("%s answers again", server.endpoint.url)
        self._wake()


def _given_up(reason: str) -> Unanswered:
    return Unanswered(Failure(reason, "see to the servers, then run again", transient=True))
