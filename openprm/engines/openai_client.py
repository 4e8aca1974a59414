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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from ..errors import Failure, InputError
from ..text import excerpt
from .event_loop import EventLoopThread, gathered

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

T = TypeVar("T")

_CONNECT_TIMEOUT = 10.0  # seconds; also for what a server says of itself
_DEAD_AFTER = 3  # requests in a row that fail, after the client's retries
_LEFT_OUT = 60.0  # seconds before a dead server is tried again
_LONGEST_REASON = 300  # characters: a server may repeat the whole request
_RETRIED = (408, 409, 425, 429)  # HTTP statuses below 500 where another try may help
_REMEDY = "check the servers, then run again"
#: Sent where a server asks for no key: without one the client would take OPENAI_API_KEY, perhaps another server's.
_NO_KEY = "none"

logger = logging.getLogger(__name__)


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
    dead_until: float = 0.0

    @property
    def dead(self) -> bool:
        return time.monotonic() < self.dead_until

    def address(self, path: str) -> str:
        return urljoin(f"{self.url}/", path)


class Servers:
    """Servers by their base addresses, which usually end in `/v1`.

    concurrency: requests at a time, for each server
    timeout: seconds for one request with all its samples and retries
    retries: of one request at one server, with growing pauses (0.5 to 8 s)
    key_variable: the environment variable that holds the key; none is needed where the servers ask for none

    `thread` runs the event loop in which requests are made. Raises InputError for an address that is not one or that
    holds a secret, and where the extra `server` is not installed.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        concurrency: int = 64,
        timeout: float = 600.0,
        retries: int = 8,
        key_variable: str = "OPENAI_API_KEY",
    ) -> None:
        try:
            from openai import AsyncOpenAI, Timeout
        except ImportError as error:
            raise InputError("asking servers needs the extra: pip install 'openprm[server]'") from error
        if isinstance(urls, str) or not urls:
            raise InputError("give the base addresses of the servers as a list of one or more")
        if concurrency < 1 or retries < 0 or timeout <= 0:
            raise InputError("concurrency is at least 1, retries at least 0 and timeout above 0")
        self.urls = list(dict.fromkeys(map(_checked_address, urls)))
        self._concurrency = concurrency * len(self.urls)
        self._timeout = timeout
        self._key_variable = key_variable
        key = os.environ.get(key_variable, "").strip() or _NO_KEY
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"the environment variable {key_variable} holds characters that no key has; set it again")
        limits = Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT))
        self._servers = [
            _Server(
                url,
                AsyncOpenAI(base_url=url, api_key=key, max_retries=retries, timeout=limits),
                asyncio.Semaphore(concurrency),
            )
            for url in self.urls
        ]
        self.thread = EventLoopThread("openprm-requests")
        versions = [body.get("version") if isinstance(body, dict) else None for body in self.get("../version")]
        #: Where the servers report it, as vLLM's do.
        self.version = ", ".join(sorted({str(version) for version in versions if version})) or None
        self.are_vllm = all(versions)

    def close(self) -> None:
        """Ends open requests and connections. May be called twice."""
        if not self.thread.closed:
            self.thread.run(gathered(server.client.close() for server in self._servers))
            self.thread.close()

    def has_capacity(self) -> bool:
        """Whether there are fewer requests than the servers take at a time."""
        return sum(server.in_flight for server in self._servers) < self._concurrency

    async def post(self, path: str, request: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """What `read` makes of the JSON that a server answers; `read` raises ValueError for an unusable answer.

        `path` is relative to the base address, such as `chat/completions`, or `../classify` beside it. Raises Failure
        where each server that is not left out has failed, or one refuses this request; InputError for a refusal that
        concerns all requests, UnsupportedParameter where that is for a parameter.
        """
        failure = Failure("no server answers", _REMEDY, transient=True)
        left = list(self._servers)
        while usable := [one for one in left if not one.dead]:
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

        at_fault = True
        try:
            async with asyncio.timeout(self._timeout):  # the client's own limit is for each part of an answer
                raw = await server.client.post(server.address(path), body=request, cast_to=bytes)
            answer = read(json.loads(raw))
            server.failures = 0
            return answer
        except APIStatusError as error:
            reason = f"HTTP {error.status_code}: {_words(server, error)}"
            self._check_refusal(server, error, reason)
            at_fault = error.status_code >= 500
        except TimeoutError:
            reason = f"no answer within {self._timeout:g} s"
        except APIConnectionError as error:
            reason = _words(server, error.__cause__ or error)
        except ValueError as error:
            reason = f"no answer that can be read: {_words(server, error)}"
        if at_fault:
            server.failures += 1
            if server.failures >= _DEAD_AFTER and not server.dead:
                server.dead_until = time.monotonic() + _LEFT_OUT
                logger.warning("%s is left out: %d requests in a row failed: %s", server.url, server.failures, reason)
        raise Failure(f"{server.url}: {reason}", _REMEDY, transient=True)

    def _check_refusal(self, server: _Server, error: APIStatusError, reason: str) -> None:
        """Raises for an error status where another try does not help."""
        status = error.status_code
        if status in (401, 402, 403):
            remedy = f"set the environment variable {self._key_variable} to a key that it takes"
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

    def get(self, path: str) -> list[Any]:
        """What each server answers to GET, as JSON; None where it does not answer so."""
        return self.thread.run(gathered(self._get(server, path) for server in self._servers))

    async def _get(self, server: _Server, path: str) -> Any:
        from openai import OpenAIError

        client = server.client.with_options(max_retries=0, timeout=_CONNECT_TIMEOUT)
        try:
            return json.loads(await client.get(server.address(path), cast_to=bytes))
        except (OpenAIError, ValueError):
            return None


def _words(server: _Server, error: BaseException) -> str:
    """The error's words on one line, without the key, and not too many."""
    words = str(error).strip() or type(error).__name__
    if server.client.api_key != _NO_KEY:
        words = words.replace(server.client.api_key, "(the key)")
    return excerpt(words, _LONGEST_REASON)


def _checked_address(url: str) -> str:
    """The address without a slash at its end. Raises InputError for what is none, and where it holds a secret."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InputError(  # which shows no more than the host: the rest may be secret
            f"the address of the server {parts.hostname} holds a user, a password or parameters; leave them out, and "
            "put the key into an environment variable"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} is no address of a server; it looks like http://127.0.0.1:8000/v1")
    return url.rstrip("/")
