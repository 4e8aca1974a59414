"""What passes is waited for, as long as the Hub asks and no longer than patience lasts; the rest is told in a line."""

from __future__ import annotations

import errno
import json

import pytest
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, Response
from huggingface_hub.utils import get_session
from openprm.push import retry as patience
from openprm.push.retry import Patience, explained, is_passing, patiently, status

from openprm.errors import InputError

#: As hf_xet 1.8 words it.
XET = "Network error: Request error: HTTP status {} error ({}), domain: http://hub/xet-write-token/main"


def answer(code: int, words: str = "no", **headers: str) -> HfHubHTTPError:
    response = Response(code, headers=headers, request=get_session().build_request("GET", "http://hub"))
    return HfHubHTTPError(f"{code} for http://hub", response=response, server_message=words)


def caused(error: Exception) -> RuntimeError:
    wrapped = RuntimeError("Error while uploading 'a' to the Hub.")
    wrapped.__cause__ = error
    return wrapped


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes only by waiting."""
    waits: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", waits.append)
    monkeypatch.setattr(patience.time, "monotonic", lambda: 100.0 + sum(waits))
    return waits


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_answers_that_pass(code: int):
    assert is_passing(answer(code))
    assert is_passing(caused(answer(code)))
    assert is_passing(ConnectionError(XET.format("server", code)))


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 412, 413, 507])
def test_answers_that_stay(code: int):
    assert not is_passing(answer(code))
    assert not is_passing(caused(answer(code)))
    assert not is_passing(ConnectionError(XET.format("client", code)))
    assert status(ConnectionError(XET.format("client", f"{code} Some Words"))) == code


def test_broken_connections_pass_and_other_errors_do_not():
    assert all(map(is_passing, [ConnectionResetError(), TimeoutError(), json.JSONDecodeError("a page", "<", 0)]))
    assert not any(map(is_passing, [OfflineModeIsEnabled(), OSError(errno.ENOSPC, "full"), ValueError("bad card")]))


def test_waits_grow_until_patience_ends(waits: list[float], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patience, "PATIENCE", 200.0)
    said: list[str] = []

    def call() -> None:
        raise answer(503, "busy")

    with pytest.raises(HfHubHTTPError):
        patiently(call, Patience(said.append, "dataset a/b"))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert said[2] == "dataset a/b: 503: busy; trying again in 4 s"


@pytest.mark.parametrize("headers", [{"Retry-After": "30"}, {"RateLimit": '"api";r=0;t=29'}])
def test_the_hub_says_how_long(waits: list[float], headers: dict[str, str]):
    answers = [answer(429, **headers), caused(answer(429, **headers))]

    def call() -> str:
        if answers:
            raise answers.pop()
        return "done"

    assert patiently(call, Patience(lambda _: None, "it")) == "done"
    assert waits == [30, 30]


def test_nobody_waits_in_vain(waits: list[float]):
    with pytest.raises(HfHubHTTPError):
        Patience(print, "it").wait(answer(429, **{"Retry-After": "86400"}))
    assert not waits


def test_a_limit_that_is_not_reached_is_no_reason_to_wait(waits: list[float]):
    Patience(lambda _: None, "it").wait(answer(500, RateLimit='"api";r=99;t=290'))
    assert waits == [1]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (answer(403, "You don't have the rights to create a Space under the namespace"), "your token may not do this"),
        (answer(403, "Private repository storage limit reached"), "no room left on the Hub"),
        (ValueError("LFS batch API returned errors:\nStorage quota exceeded"), "no room left on the Hub"),
        (answer(507, "full"), "no room left on the Hub"),
        (ConnectionError(XET.format("client", "403 Forbidden")), "your token may not do this"),
        (caused(OSError(errno.ENOSPC, "No space left on device")), "no space left on this machine"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no space left on this machine"),
        (ConnectionRefusedError("refused"), "the Hub cannot be reached"),
        (
            ValueError("Invalid metadata in README.md.\n- license"),
            "Invalid metadata in README.md. - license; mend",
        ),
    ],
)
def test_each_error_is_told_in_a_line(error: Exception, words: str):
    with pytest.raises(InputError) as caught, explained("a/b"):
        raise error
    assert str(caught.value).startswith("a/b: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
