"""Names of repositories, with a revision and a config."""

from __future__ import annotations

import pytest

from openprm.hub_id import HubId


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gpt2", ("gpt2", None, None)),
        ("org/data", ("org/data", None, None)),
        ("org/data:config", ("org/data", None, "config")),
        ("org/data@v1.0", ("org/data", "v1.0", None)),
        ("org/data@refs/pr/1:config", ("org/data", "refs/pr/1", "config")),
    ],
)
def test_an_id_and_back(text, parts):
    assert HubId.parse(text) == HubId(*parts)
    assert str(HubId(*parts)) == text


@pytest.mark.parametrize("text", ["", "a/b/c", "../data", "/data", ".hidden", "C:\\data\\x", "a b", "org/data@", "x:"])
def test_what_is_not_an_id(text):
    assert HubId.parse(text) is None
