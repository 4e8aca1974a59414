"""What a Hub answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reply:
    """A JSON value, or bytes or a file to be served (in ranges too)."""

    content: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An answer that is an error, told the way the clients look for it."""

    def __init__(self, status: int, message: str, code: str | None = None, **content: object):
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.reply = Reply({"error": message, **content}, status, headers)
