"""What a reward's number says: its unit. Rewards of two units are never compared as numbers. Pure Python."""

from __future__ import annotations

from typing import Final, Literal

Unit = Literal["strength", "log-odds", "log-ratio", "grade", "value"]

STRENGTH: Final = "strength"
LOG_ODDS: Final = "log-odds"
LOG_RATIO: Final = "log-ratio"

UNITS: dict[Unit, str] = {
    STRENGTH: "logit of a Bradley-Terry model, known up to a constant per prompt: zero says nothing",
    LOG_ODDS: "log P(right) - log P(wrong): zero is even odds",
    LOG_RATIO: "difference of the log-probabilities of two models, or of a model and its reference",
    "grade": "on a scale of its own, such as a judge's",
    "value": "an expected outcome, such as a share of right answers",
}

#: What our training makes, and what rewards are that say no unit.
DEFAULT_UNIT: Final = STRENGTH


def check_unit(unit: str) -> None:
    """Raises ValueError for an unknown unit."""
    if unit not in UNITS:
        raise ValueError(f"unknown unit {unit!r} of rewards; it is one of {', '.join(UNITS)}")
