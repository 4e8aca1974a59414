"""A Hub in trouble: wait and ask again while that can help, and say what is wrong when it cannot.

The Hub's client repeats some of its requests a few times over some 20 seconds (those for files and lists), others not
at all (those that create, commit and tag). Patience is therefore a time, within which the client's own tries lie.
"""

from __future__ import annotations

import inspect
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from openprm.errors import InputError, first_line, is_disk_full

Result = TypeVar("Result")

#: Seconds to go on trying, from the first failure of a request on.
PATIENCE = 600.0
#: The same for the first contact: where nothing ever answered, the address is likelier wrong than the Hub busy.
FIRST_CONTACT = 15.0

_PASSING = (408, 425, 429, 500, 502, 503, 504)
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
_FULL = re.compile(r"quota|storage (?:limit|space|is full)|\bno space|\bout of space", re.IGNORECASE)
_DISK_FULL = re.compile(r"no space left|disk full|os error 28\b|disk quota exceeded", re.IGNORECASE)

#: In the words of a ConnectionError: all that Xet's client tells of an answer.
_XET_STATUS = re.compile(r"HTTP status \w+ error \((\d{3})\b[^)]*\)")

_REMEDIES = {
    400: "the Hub refuses this; mend what it says and run the same command again",
    401: "the Hub does not accept your token; log in again (`hf auth login`), or set HF_TOKEN to a valid one",
    402: "the Hub wants to be paid for this; see the owner's billing, or publish under another owner",
    403: "your token may not do this; use one that may write to the owner's repositories",
    404: "it is gone, or your token may not see it; check the name and run the same command again",
    409: "something else is changing it; wait a little and run the same command again",
    413: "the Hub takes nothing as large as this at once; publish smaller files",
    429: "the Hub has had too many requests from you; wait and run the same command again",
}


class Patience:
    """For one thing that is tried until it succeeds: `wait` after each failure."""

    def __init__(self, say: Callable[[str], Any], what: str, seconds: float | None = None):
        self._say, self._what = say, what
        self._seconds = PATIENCE if seconds is None else seconds
        self._next, self._until = _FIRST_WAIT, 0.0

    def wait(self, error: Exception) -> None:
        """Sleeps, as long as the Hub asks for; raises the error where that would be longer than patience lasts."""
        now = time.monotonic()
        self._until = self._until or now + self._seconds
        seconds = max(self._next, _asked_for(error))
        if now + seconds > self._until:
            raise error
        self._say(f"{self._what}: {_brief(error)}; trying again in {seconds:.0f} s")
        time.sleep(seconds)
        self._next = min(2 * self._next, _LONGEST_WAIT)


def patiently(call: Callable[[], Result], patience: Patience) -> Result:
    """What `call`, which may safely be repeated, returns at last."""
    while True:
        try:
            return call()
        except failures() as error:
            if not is_passing(error):
                raise
            patience.wait(error)


def failures() -> tuple[type[Exception], ...]:
    """What the Hub's client, its HTTP and Xet libraries raise when something goes wrong outside."""
    from huggingface_hub.errors import HTTPError

    return HTTPError, OSError, RuntimeError, ValueError


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import http_backoff

    if (code := status(error)) is not None:
        return code in _PASSING
    # what the client itself takes for passing, of whatever HTTP library it uses
    broken = inspect.signature(http_backoff).parameters["retry_on_exceptions"].default
    # JSON: where a proxy's page of error came instead of the Hub's answer
    passing = (*broken, ConnectionError, TimeoutError, json.JSONDecodeError)
    causes = list(_causes(error))
    return any(isinstance(c, passing) for c in causes) and not any(isinstance(c, OfflineModeIsEnabled) for c in causes)


def status(error: Exception) -> int | None:
    """The HTTP status of the Hub's answer, None where it gave none."""
    from huggingface_hub.errors import HfHubHTTPError

    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            return cause.response.status_code
        if isinstance(cause, OSError) and (found := _XET_STATUS.search(str(cause))):
            return int(found[1])
    return None


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turns what goes wrong outside into an InputError about `name`."""
    try:
        yield
    except InputError:
        raise
    except failures() as error:
        raise InputError(f"{name}: {_explain(error)}") from error


def _explain(error: Exception) -> str:
    """In one line: what is wrong, and what to do."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    code, brief = status(error), _brief(error)
    causes = list(_causes(error))
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes):
        return "the Hub's client is told to stay offline; unset HF_HUB_OFFLINE"
    if code is None:
        full = any(map(is_disk_full, causes))
        if full or any(_DISK_FULL.search(str(cause)) for cause in causes):
            return f"no space left on this machine ({brief}); make room, or set HF_HOME to a folder on another disk"
        if is_passing(error):
            return f"the Hub cannot be reached ({brief}); check the connection and HF_ENDPOINT, and run it again"
    if code == 507 or (code in (None, 400, 402, 403, 413) and _FULL.search(brief)):
        return f"no room left on the Hub ({brief}); make room for the owner there, or publish under another owner"
    if code is not None and code >= 500:
        return f"the Hub is in trouble ({brief}); run the same command again later"
    if code not in _REMEDIES:
        return f"{brief}; mend that and run the same command again"
    return f"{_REMEDIES[code]} ({brief})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _brief(error: Exception) -> str:
    """The Hub's own words, or the first line of the deepest cause that has any."""
    from huggingface_hub.errors import HfHubHTTPError

    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            words = (cause.server_message or first_line(cause)).split("\n")[0].strip()
            return f"{cause.response.status_code}: {words}"
        if isinstance(cause, OSError) and (found := _XET_STATUS.search(str(cause))):
            return found[0]
    deepest = list(_causes(error))[-1]
    lines = str(deepest).strip().splitlines()
    return f"{type(deepest).__name__}: {' '.join(lines)}" if lines else type(deepest).__name__


def _asked_for(error: Exception) -> float:
    """Seconds that the Hub asks to wait, by either of its headers; 0 where it asks for nothing."""
    from huggingface_hub.errors import HfHubHTTPError

    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            headers = cause.response.headers
            if (asked := headers.get("Retry-After", "").strip()).isdigit():
                return float(asked)
            limit = re.search(r"\br=0\b.*\bt=(\d+)", headers.get("RateLimit", ""))
            return float(limit[1]) + 1 if limit else 0.0
    return 0.0
