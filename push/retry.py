"""Try again what the Hub's client does not, and say in one line what is wrong where that does not help."""

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

#: How often what failed for a while is tried again; the client itself repeats some requests only.
RETRIES = 10
_LONGEST_WAIT = 300.0  # seconds
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_CHANGED_MEANWHILE = (409, 412)

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
    """What `call` returns, tried again while that may help. Raises InputError about `what` where it fails for good."""
    from huggingface_hub.errors import HTTPError

    retries = RETRIES if retries is None else retries
    for attempt in count():
        try:
            return call()
        except InputError:
            raise
        except (HTTPError, OSError, RuntimeError, ValueError) as error:
            wait = max(min(2.0**attempt, 60.0), _requested_wait(error))
            if attempt >= retries or wait > _LONGEST_WAIT or not _is_transient(error):
                raise InputError(f"{what}: {_explain(error)}") from error
            say(f"{what}: {_brief(error)}; trying again in {wait:.0f} s")
            time.sleep(wait)
    raise AssertionError("unreachable")


def _is_transient(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    if (status := _status(error)) is not None:
        return status in (*_TRANSIENT, *_CHANGED_MEANWHILE)
    causes = list(_causes(error))
    # JSON: a proxy's error page in place of the Hub's answer
    broken = (HTTPError, ConnectionError, TimeoutError, json.JSONDecodeError)
    return any(isinstance(cause, broken) for cause in causes) and not _is_any(causes, OfflineModeIsEnabled)


def _is_any(causes: list[BaseException], kind: type[Exception]) -> bool:
    return any(isinstance(cause, kind) for cause in causes)


def _status(error: Exception) -> int | None:
    """The HTTP status of the Hub's answer, None where there was none."""
    from huggingface_hub.errors import HfHubHTTPError

    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            return cause.response.status_code
        if isinstance(cause, OSError) and (found := _XET_STATUS.search(str(cause))):
            return int(found[1])
    return None


def _requested_wait(error: Exception) -> float:
    """Seconds that the Hub asks to wait; 0 where it does not."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import parse_ratelimit_headers

    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            headers = cause.response.headers
            if (asked := headers.get("Retry-After", "").strip()).isdigit():
                return float(asked)
            limit = parse_ratelimit_headers(headers)
            return limit.reset_in_seconds + 1.0 if limit and not limit.remaining else 0.0
    return 0.0


def _explain(error: Exception) -> str:
    """In one line: what is wrong, and what to do."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    status, brief, causes = _status(error), _brief(error), list(_causes(error))
    if _is_any(causes, OfflineModeIsEnabled):
        return "the Hub's client is told to stay offline; unset HF_HUB_OFFLINE"
    if any(is_disk_full(cause) or "No space left" in str(cause) for cause in causes):
        return f"no space left on this machine ({brief}); free some, or set HF_HOME to a folder on another disk"
    if status is None and _is_transient(error):
        return f"the Hub cannot be reached ({brief}); check the connection and HF_ENDPOINT, and run it again"
    if status in _REMEDIES:
        return f"{_REMEDIES[status]} ({brief})"
    if status is not None and status >= 500:
        return f"the Hub is in trouble ({brief}); run the same command again later"
    return f"{brief}; correct that and run the same command again"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _brief(error: Exception) -> str:
    """The Hub's own words, or those of the deepest cause, in one line."""
    from huggingface_hub.errors import HfHubHTTPError

    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            words = first_line(Exception(cause.server_message or cause))
            return f"{cause.response.status_code}: {words}"
    *_, deepest = _causes(error)
    return f"{type(deepest).__name__}: {' '.join(str(deepest).split())}"
