"""What the Hub's client raises becomes one line that says what to do."""

from __future__ import annotations

import errno
import json
import os

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError

from openprm.hub.client_errors import HubProblem


def answered(status: int, kind: type[HfHubHTTPError] = HfHubHTTPError) -> HfHubHTTPError:
    answer = httpx2.Response(status, request=httpx2.Request("GET", "http://hub"))
    return kind("what a client says\nin lines", response=answer)


@pytest.mark.parametrize(
    ("error", "words", "is_transient"),
    [
        (answered(401), "the Hub does not accept your token; log in again", False),
        (answered(401, RepositoryNotFoundError), "there is no such repository or revision, or you may not", False),
        (answered(402), "the Hub asks for payment", False),
        (answered(413), "this is too large for the Hub", False),
        (answered(429), "too many requests; wait", True),
        (answered(503), "the Hub is in trouble (503: what a client says)", True),
        (answered(418), "418: what a client says; correct that", False),
        (ConnectionError("HTTP status client error (403 Forbidden), domain: http://hub/xet"), "you may not do", False),
        (ConnectionError("refused"), "the Hub cannot be reached (ConnectionError: refused); check the", True),
        (json.JSONDecodeError("no JSON", "<html>", 0), "the Hub cannot be reached (JSONDecodeError", True),
        (OfflineModeIsEnabled("offline"), "told to stay offline; unset HF_HUB_OFFLINE", False),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "no space left on this machine", False),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no space left on this machine", False),
        (HFValidationError("bad..name"), "HFValidationError: bad..name; correct that", False),
    ],
)
def test_an_error_is_told_in_a_line(error: Exception, words: str, is_transient: bool):
    problem = HubProblem(error)
    assert words in str(problem)
    assert "\n" not in str(problem)
    assert problem.is_transient == is_transient
