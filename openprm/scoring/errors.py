"""What goes wrong with one answer."""

from __future__ import annotations


class ScoringError(ValueError):
    """Why an answer has no score, and what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy
