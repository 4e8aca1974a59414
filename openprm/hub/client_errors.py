"""What the Hub's client raises: in one line that says what to do, and whether trying again may help."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from ..errors import first_line, is_disk_full

_REMEDIES = {
    401: "the Hub does not accept your token; log in again (`hf auth login`), or set HF_TOKEN to a valid one",
    402: "the Hub asks for payment; see the owner's billing, or publish under another owner",
    403: "you may not do this; log in with a token that may (`hf auth login`), and check the terms and storage there",
    404: "there is no such repository or revision, or you may not see it; check the name, or log in",
    409: "something else is changing it; wait a little and run the same command again",
    413: "this is too large for the Hub; publish smaller files",
    429: "too many requests; wait and run the same command again",
    507: "no space left for this owner on the Hub; free some, or publish under another owner",
}
#: Timeouts, too many requests, trouble of the server, and something else that changes the repository.
_TRANSIENT = (408, 409, 412, 425, 429, 500, 502, 503, 504)
#: In the words of a ConnectionError: all that Xet's client tells of an answer.
_XET_STATUS = re.compile(r"HTTP status \w+ error \((\d{3})")


class HubProblem:
    """What is wrong, in words.

    status: of the Hub's answer, None where there was none. brief: the Hub's own words, or those of the deepest cause.
    is_not_found: there is no such repository or revision. is_transient: the same request may succeed a little later.
    """

    def __init__(self, error: Exception):
        from huggingface_hub import errors

        causes = [*_causes(error)]
        answer = next((cause for cause in causes if isinstance(cause, errors.HfHubHTTPError)), None)
        missing = isinstance(answer, errors.RepositoryNotFoundError | errors.RevisionNotFoundError)
        self.is_not_found = missing and not isinstance(answer, errors.GatedRepoError)
        self.status: int | None = None
        if answer is not None:
            self.status = 404 if self.is_not_found else answer.response.status_code  # 401, where nobody is logged in
            self.brief = f"{self.status}: {first_line(Exception(answer.server_message or answer))}"
        else:
            self.brief = f"{type(causes[-1]).__name__}: {' '.join(str(causes[-1]).split())}"
            if found := next(filter(None, (_XET_STATUS.search(str(cause)) for cause in causes)), None):
                self.status = int(found[1])
        self.is_offline = any(isinstance(cause, errors.OfflineModeIsEnabled) for cause in causes)
        self.is_disk_full = any(is_disk_full(cause) or "No space left" in str(cause) for cause in causes)
        # JSON: a proxy's error page in place of the Hub's answer
        broken = (errors.HTTPError, ConnectionError, TimeoutError, json.JSONDecodeError)
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
