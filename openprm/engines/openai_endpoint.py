"""One OpenAI-compatible server: what it answers, and what its refusals mean.

The key comes from the environment and goes nowhere but into the requests: no log, message or `repr` has it.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from ..errors import Failure, InputError

if TYPE_CHECKING:
    from openai import APIStatusError

T = TypeVar("T")

#: The path of chat completions, from a server's base address on.
CHAT = "chat/completions"

_CONNECT_TIMEOUT = 10.0  # seconds; also for a probe
_LONGEST_REASON = 300  # characters: a server may repeat the whole request
_NOBODY = (502, 503, 504)  # HTTP statuses of a gateway without a server behind it
_LATER = (408, 409, 425, 429)  # HTTP statuses below 500 that may go well another time


class Unanswered(Exception):
    """A request was given up, or refused."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Unsupported(Exception):
    """A server does not know one of the request's parameters, or its value. The message names both."""

    def __init__(self, message: str, parameter: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class Trouble(Exception):
    """What may go well another time. `pause` is what the server asked for, in seconds; `busy` is HTTP 429."""

    def __init__(self, reason: str, pause: float | None = None, busy: bool = False) -> None:
        super().__init__(reason)
        self.pause = pause
        self.busy = busy


class Key:
    """The key in an environment variable; none is needed where a server asks for none."""

    def __init__(self, variable: str) -> None:
        self.variable = variable
        # Never left out of a request: the client would take OPENAI_API_KEY, which may be meant for another server.
        self._key = os.environ.get(variable, "").strip() or "none"
        if not (self._key.isascii() and self._key.isprintable()):
            raise InputError(f"the environment variable {variable} holds characters that no key has; set it anew")

    def reveal(self) -> str:
        return self._key

    def hide(self, text: str) -> str:
        return text if self._key == "none" else text.replace(self._key, "(the key)")


class Endpoint:
    """A server by its base address, which usually ends in `/v1`. `timeout` is in seconds, for one whole request.

    To be closed in the event loop that it was used in.
    """

    def __init__(self, url: str, key: Key, timeout: float) -> None:
        from openai import AsyncOpenAI, Timeout

        self.url = url
        self._key = key
        self._timeout = timeout
        limits = Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT))
        # Retries are the fleet's: they may go to other servers.
        self._client = AsyncOpenAI(base_url=url, api_key=key.reveal(), max_retries=0, timeout=limits)
        self._extra: dict[str, Any] = {}

    async def close(self) -> None:
        await self._client.close()

    async def lives(self) -> bool:
        """Whether the server answers `GET /models`.

        Be it with an error: requests may go well all the same (`transformers serve` 5.19 gives HTTP 500 where the
        Hub's cache does not exist), and else they tell what is wrong.
        """
        from openai import APIConnectionError, APIStatusError

        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                raw = await self._client.models.with_raw_response.list()
            makers = {listed["owned_by"] for listed in json.loads(raw.content)["data"]}
        except APIStatusError as error:
            return error.status_code not in _NOBODY
        except (APIConnectionError, TimeoutError):
            return False
        except (ValueError, KeyError, TypeError):  # another shape: not every server has this list
            return True
        # This tells the number of tokens of each sample. Other servers may refuse what they do not know.
        self._extra = {"return_token_ids": True} if "vllm" in makers else {}
        return True

    async def ask(self, path: str, request: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """What `read` makes of the JSON that the server answers; it raises ValueError for what is no answer.

        `path` is from the base address on, such as `CHAT`, or `../classify` beside it. Raises Trouble for what may go
        well another time, Unanswered for a refusal of this request, InputError for one that concerns all requests, and
        Unsupported where that is for a parameter.
        """
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        body = {**request, **self._extra} if path == CHAT else request
        try:
            async with asyncio.timeout(self._timeout):  # the client's own limit is for each part of an answer
                # as bytes: what is no JSON is the reader's matter
                raw = await self._client.post(urljoin(f"{self.url}/", path), body=body, cast_to=bytes)
            return read(json.loads(raw))
        except APIStatusError as error:
            raise self._refusal(error) from None
        except (APITimeoutError, TimeoutError):
            raise Trouble(f"no answer within {self._timeout:g} s") from None
        except APIConnectionError as error:
            raise Trouble(self._said(error.__cause__ or error)) from None
        except ValueError as error:
            raise Trouble(f"no answer that can be read: {self._said(error)}") from None

    def _refusal(self, error: APIStatusError) -> Exception:
        status, said = error.status_code, f"HTTP {error.status_code}: {self._said(error)}"
        if status in (401, 402, 403):
            remedy = f"set the environment variable {self._key.variable} to a key that it takes"
            return InputError(f"{self.url} refuses the key ({said}); {remedy}")
        if status in (404, 405):
            remedy = "give the base address, which usually ends in /v1, and the model by the name that the server uses"
            return InputError(f"{self.url} has no such model or address ({said}); {remedy}")
        if error.code in ("unsupported_parameter", "unsupported_value") and error.param:
            return Unsupported(f"{self.url} does not support {error.param} as given ({said})", error.param)
        if status < 500 and status not in _LATER:
            remedy = "change the question, such as its length, or the request's parameters"
            return Unanswered(Failure(f"refused: {said}", remedy, transient=False))
        return Trouble(said, retry_after(error.response.headers, time.time()), busy=status == 429)

    def _said(self, error: BaseException) -> str:
        """The error's words on one line, without the key, and not too many."""
        words = self._key.hide(" ".join(str(error).split()) or type(error).__name__)
        return words if len(words) <= _LONGEST_REASON else words[: _LONGEST_REASON - 1] + "…"


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that a `Retry-After` header asks for, by a number or a date (RFC 9110); None where there is none."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


def checked_address(url: str) -> str:
    """The address without a slash at its end. Raises InputError for what is none, or has something secret in it."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InputError(  # which shows no more than the host: the rest may be secret
            f"the address of the server {parts.hostname} holds a user, a password or parameters; leave them out, and "
            "put the key into an environment variable"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} is no address of a server; it looks like http://127.0.0.1:8000/v1")
    return url.rstrip("/")
