"""One or several OpenAI-compatible servers: requests go to the least busy one, and a dead one is left out.

    servers = Servers(["http://first:8000/v1", "http://second:8000/v1"])
    samples = await servers.post("chat/completions", {"model": "policy", "messages": messages}, read)

The client (`openai.AsyncOpenAI`) retries HTTP 408, 409, 429 and 5xx and broken connections, and waits as long as a
`Retry-After` header asks. The key comes from the environment and goes into requests only: no log, message or `repr`
shows it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from ..errors import Failure, InputError
from .event_loop import EventLoopThread

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

T = TypeVar("T")

_CONNECT_TIMEOUT = 10.0  # seconds; also for what a server says of itself
_DEAD_AFTER = 3  # requests in a row that fail, after the client's retries
_LEFT_OUT = 60.0  # seconds before one request tries a dead server again
_LONGEST_REASON = 300  # characters: a server may repeat the whole request
_RETRIED = (408, 409, 425, 429)  # HTTP statuses below 500 that may go well another time

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Connection:
    """How to talk to the servers.

    `concurrency`: requests at a time, for each server. `timeout`: seconds for one request with all its samples and
    retries. `retries`: of one request at one server, with growing pauses (0.5 to 8 s). `key_variable`: the environment
    variable that holds the key; none is needed where the servers ask for none.
    """

    concurrency: int = 64
    timeout: float = 600.0
    retries: int = 8
    key_variable: str = "OPENAI_API_KEY"

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.retries < 0 or self.timeout <= 0:
            raise InputError("concurrency is at least 1, retries at least 0 and timeout above 0")


class UnsupportedParameter(InputError):
    """A server does not know a request's parameter, or not its value."""

    def __init__(self, message: str, parameter: str) -> None:
        super().__init__(message)
        self.parameter = parameter


@dataclass
class _Server:
    url: str
    client: AsyncOpenAI = field(repr=False)
    slots: asyncio.Semaphore
    in_flight: int = 0  # requests that wait or are sent
    failures: int = 0  # in a row
    retry_at: float = 0.0

    @property
    def dead(self) -> bool:
        return self.failures >= _DEAD_AFTER and time.monotonic() < self.retry_at

    @property
    def usable(self) -> bool:
        """Whether to send requests; where it was dead, one at a time until it answers again."""
        return self.failures < _DEAD_AFTER or not (self.dead or self.in_flight)


class Servers:
    """Servers by their base addresses, which usually end in `/v1`; the options are those of `Connection`.

    `thread` runs the event loop in which requests are made. Raises InputError for an address that is none or that
    holds a secret, and where the extra `server` is not installed.
    """

    def __init__(self, urls: Sequence[str], **connection: Any) -> None:
        try:
            from openai import AsyncOpenAI, Timeout
        except ImportError as error:
            raise InputError("asking servers needs the extra: pip install 'openprm[server]'") from error
        if isinstance(urls, str) or not urls:
            raise InputError("give the base addresses of the servers as a list of one or more")
        self._connection = how = Connection(**connection)
        self.urls = list(dict.fromkeys(map(_checked_address, urls)))
        self.concurrency = how.concurrency * len(self.urls)
        key = _read_key(how.key_variable)
        limits = Timeout(how.timeout, connect=min(how.timeout, _CONNECT_TIMEOUT))
        self._servers = [
            _Server(
                url,
                AsyncOpenAI(base_url=url, api_key=key, max_retries=how.retries, timeout=limits),
                asyncio.Semaphore(how.concurrency),
            )
            for url in self.urls
        ]
        versions = [body.get("version") for body in self.get("../version") if isinstance(body, dict)]
        #: Where the servers report it, as vLLM's do.
        self.version = ", ".join(sorted({str(version) for version in versions if version})) or None
        self.are_vllm = len(list(filter(None, versions))) == len(self.urls)
        self.thread = EventLoopThread("openprm-requests")

    def close(self) -> None:
        """Ends what still runs, and the connections. May be called twice."""
        if not self.thread.closed:
            self.thread.run(self._disconnect())
            self.thread.close()

    async def _disconnect(self) -> None:
        for server in self._servers:
            await server.client.close()

    async def post(self, path: str, request: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """What `read` makes of the JSON that a server answers; `read` raises ValueError for what is no answer.

        `path` is from the base address on, such as `chat/completions`, or `../classify` beside it. Raises Failure
        where each server that is not left out has failed, or one refuses this request; InputError for a refusal that
        concerns all requests, UnsupportedParameter where that is for a parameter.
        """
        failure = Failure("no server answers", "check the servers, then run again", transient=True)
        left = list(self._servers)
        while usable := [one for one in left if one.usable]:
            server = min(usable, key=lambda one: one.in_flight)
            left.remove(server)
            server.in_flight += 1
            try:
                async with server.slots:
                    if not server.dead:  # it may have died while this request waited
                        return await self._ask(server, path, request, read)
            except Failure as failed:
                if not failed.transient:
                    raise
                failure = failed
            finally:
                server.in_flight -= 1
        raise failure

    async def _ask(self, server: _Server, path: str, request: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        from openai import APIConnectionError, APIStatusError

        try:
            async with asyncio.timeout(
                self._connection.timeout
            ):  # the client's own limit is for each part of an answer
                # as bytes: what is no JSON is the reader's matter
                raw = await server.client.post(urljoin(f"{server.url}/", path), body=request, cast_to=bytes)
            answer = read(json.loads(raw))
        except APIStatusError as error:
            reason, at_fault = self._status(server, error), error.status_code >= 500
        except TimeoutError:
            reason, at_fault = f"no answer within {self._connection.timeout:g} s", True
        except APIConnectionError as error:
            reason, at_fault = self._said(server, error.__cause__ or error), True
        except ValueError as error:
            reason, at_fault = f"no answer that can be read: {self._said(server, error)}", True
        else:
            server.failures = 0
            return answer
        if at_fault:
            server.failures += 1
            server.retry_at = time.monotonic() + _LEFT_OUT
            if server.failures == _DEAD_AFTER:
                logger.warning("%s is left out: %d requests in a row failed: %s", server.url, _DEAD_AFTER, reason)
        raise Failure(f"{server.url}: {reason}", "check the servers, then run again", transient=True)

    def _status(self, server: _Server, error: APIStatusError) -> str:
        """The reason, where another try may help; raises for a refusal."""
        status, reason = error.status_code, f"HTTP {error.status_code}: {self._said(server, error)}"
        if status in (401, 402, 403):
            remedy = f"set the environment variable {self._connection.key_variable} to a key that it takes"
            raise InputError(f"{server.url} refuses the key ({reason}); {remedy}") from None
        if status in (404, 405):
            remedy = "give the base address, which usually ends in /v1, and the model by the name that the server uses"
            raise InputError(f"{server.url} has no such model or address ({reason}); {remedy}") from None
        if error.code in ("unsupported_parameter", "unsupported_value") and error.param:
            message = f"{server.url} does not support {error.param} as given ({reason}); use another server or model"
            raise UnsupportedParameter(message, error.param) from None
        if status < 500 and status not in _RETRIED:
            remedy = "change the question, such as its length, or the request's parameters"
            raise Failure(f"refused: {reason}", remedy) from None
        return reason

    def _said(self, server: _Server, error: BaseException) -> str:
        """The error's words on one line, without the key, and not too many."""
        words = " ".join(str(error).split()) or type(error).__name__
        if server.client.api_key != _NO_KEY:
            words = words.replace(server.client.api_key, "(the key)")
        return words if len(words) <= _LONGEST_REASON else words[: _LONGEST_REASON - 1] + "…"

    def get(self, path: str) -> list[Any]:
        """What each server answers to GET, as JSON; None where it does not answer so."""
        key = self._servers[0].client.api_key

        def ask(url: str) -> Any:
            request = urllib.request.Request(urljoin(f"{url}/", path), headers={"Authorization": f"Bearer {key}"})
            try:
                with urllib.request.urlopen(request, timeout=_CONNECT_TIMEOUT) as reply:
                    return json.load(reply)
            except (OSError, HTTPException, ValueError):
                return None

        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(ask, self.urls))


#: Sent where a server asks for no key: without one the client would take OPENAI_API_KEY, perhaps another server's.
_NO_KEY = "none"


def _read_key(variable: str) -> str:
    key = os.environ.get(variable, "").strip() or _NO_KEY
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"the environment variable {variable} holds characters that no key has; set it again")
    return key


def _checked_address(url: str) -> str:
    """The address without a slash at its end. Raises InputError for none, and for one that holds something secret."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InputError(  # which shows no more than the host: the rest may be secret
            f"the address of the server {parts.hostname} holds a user, a password or parameters; leave them out, and "
            "put the key into an environment variable"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} is no address of a server; it looks like http://127.0.0.1:8000/v1")
    return url.rstrip("/")
