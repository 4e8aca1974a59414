"""Retry what the Hub's client does not, and say in one line what is wrong where that does not help."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, TypeVar

from openprm.errors import InputError, first_line, is_disk_full

Result = TypeVar("Result")

#: In the words of a ConnectionError: all that Xet's client tells of an answer.
_XET_STATUS = re.compile(r"HTTP status \w+ error \((\d{3})")

#: How often what failed for a while is retried; the client itself repeats some requests only.
RETRIES = 10
_LONGEST_WAIT = 300.0  # seconds
#: Statuses for a while: timeouts, too many requests, trouble of the server, and something else that changes it.
_TRANSIENT = (408, 409, 412, 425, 429, 500, 502, 503, 504)

_REMEDIES = {
    401: "the Hub does not accept your token; log in again (`hf auth login`), or set HF_TOKEN to a valid one",
    402: "the Hub asks for payment; see the owner's billing, or publish under another owner",
    403: "you may not do this; check that your token may write there, and that the owner has storage left",
    404: "it does not exist, or your token may not see it; check the name and run the same command again",
    409: "something else is changing it; wait a little and run the same command again",
    413: "this is too large for the Hub; publish smaller files",
    429: "too many requests; wait and run the same command again",
    507: "no space left for this owner on the Hub; free some, or publish under another owner",
}


def retried(call: Callable[[], Result], what: str, say: Callable[[str], Any], retries: int | None = None) -> Result:
    """What `call` returns, retried while that may help. Raises InputError about `what` where it fails for good."""
    from huggingface_hub.errors import HTTPError

    retries = RETRIES if retries is None else retries
    for attempt in count():
        try:
            return call()
        except InputError:
            raise
        except (HTTPError, OSError, RuntimeError, ValueError) as error:
            problem = _Problem(error)
            wait = max(min(2.0**attempt, 60.0), problem.requested_wait)
            if attempt >= retries or wait > _LONGEST_WAIT or not problem.is_transient:
                raise InputError(f"{what}: {problem}") from error
            say(f"{what}: {problem.brief}; trying again in {wait:.0f} s")
            time.sleep(wait)
    raise AssertionError("unreachable")


class _Problem:
    """What is wrong, in words.

    status: of the Hub's answer, None where there was none. brief: the Hub's own words, or those of the deepest cause.
    is_transient: whether the same request may succeed a little later. requested_wait: seconds that the Hub asks for.
    """

    def __init__(self, error: Exception):
        from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
        from huggingface_hub.utils import parse_ratelimit_headers

        causes = [*_causes(error)]
        told = next((cause for cause in causes if isinstance(cause, HfHubHTTPError)), None)
        self.status: int | None = None
        self.requested_wait = 0.0
        if told is not None:
            self.status, headers = told.response.status_code, told.response.headers
            self.brief = f"{self.status}: {first_line(Exception(told.server_message or told))}"
            if (asked := headers.get("Retry-After", "").strip()).isdigit():
                self.requested_wait = float(asked)
            elif (limit := parse_ratelimit_headers(headers)) and not limit.remaining:
                self.requested_wait = limit.reset_in_seconds + 1.0
        else:
            self.brief = f"{type(causes[-1]).__name__}: {' '.join(str(causes[-1]).split())}"
            if found := next(filter(None, (_XET_STATUS.search(str(cause)) for cause in causes)), None):
                self.status = int(found[1])
        self.is_offline = any(isinstance(cause, OfflineModeIsEnabled) for cause in causes)
        self.is_disk_full = any(is_disk_full(cause) or "No space left" in str(cause) for cause in causes)
        # JSON: a proxy's error page in place of the Hub's answer
        broken = (HTTPError, ConnectionError, TimeoutError, json.JSONDecodeError)
        lost = not self.is_offline and any(isinstance(cause, broken) for cause in causes)
        self.is_transient = lost if self.status is None else self.status in _TRANSIENT

    def __str__(self) -> str:
        if self.is_offline:
            return "the Hub's client is told to stay offline; unset HF_HUB_OFFLINE"
        if self.is_disk_full:
            return f"no space left on this machine ({self.brief}); free some, or set HF_HOME to another disk's folder"
        if self.status in _REMEDIES:
            return f"{_REMEDIES[self.status]} ({self.brief})"
        if self.status is not None and self.status >= 500:
            return f"the Hub is in trouble ({self.brief}); run the same command again later"
        if self.status is None and self.is_transient:
            return f"the Hub cannot be reached ({self.brief}); check the connection and HF_ENDPOINT, and run it again"
        return f"{self.brief}; correct that and run the same command again"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
