"""Answers to token sequences, and step rewards to one score: the same for the pipeline and for every engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from typing import Any

from jinja2 import TemplateError

from .aggregation import DEFAULT_AGGREGATION, aggregate
from .encoding import encode_prefixes
from .steps import DEFAULT_SEPARATOR, split


class ScoringError(ValueError):
    """Why an answer has no score, and what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class ScoredAnswer:
    """A response's steps, one raw reward (a logit) for each, and their aggregate.

    If `truncated`, the last steps did not fit into the model: their rewards are None, and `score` leaves them out.
    """

    score: float
    steps: list[str]
    rewards: list[float | None]
    aggregation: str
    truncated: bool


@dataclass(frozen=True)
class ScoringSettings:
    """How answers are split (`separator`), rendered (`suffix`), limited (`max_length`, in tokens) and scored.

    Raises ValueError for a separator that cannot be read or an unknown aggregation.
    """

    max_length: int
    separator: str = DEFAULT_SEPARATOR
    aggregation: str = DEFAULT_AGGREGATION
    suffix: str = ""

    def __post_init__(self) -> None:
        split("", self.separator)
        aggregate([0.0], self.aggregation)

    @classmethod
    def of(cls, config: Any, tokenizer: Any, **given: Any) -> ScoringSettings:
        """What is given (and not None), else what the checkpoint's config records under `openprm`, else the defaults.

        The default of `max_length` is the most that both the tokenizer and the model's positions allow.
        """
        positions = getattr(config.get_text_config(), "max_position_embeddings", None)
        longest = min(tokenizer.model_max_length, positions or tokenizer.model_max_length)
        settings = {"max_length": longest, **(getattr(config, "openprm", None) or {})}
        settings |= {name: value for name, value in given.items() if value is not None}
        return cls(**{one.name: settings[one.name] for one in fields(cls) if one.name in settings})

    def encode(
        self, tokenizer: Any, question: str | Sequence[Mapping[str, Any]], steps: Sequence[str], known: int = 0
    ) -> list[list[int]]:
        """One sequence for each step from number `known` (0-based) on, up to the first that does not fit.

        No sequence is cut. Raises ScoringError for an empty answer, one that the chat template does not render, and
        one of which not even the first of these steps fits.
        """
        if not "".join(steps).strip():
            raise ScoringError("the response is empty", "leave it out, or sample it again")
        if known >= len(steps):
            return []
        first, *rest = steps[known:]
        try:
            sequences = encode_prefixes(tokenizer, question, ["".join(steps[:known]) + first, *rest], self.suffix)
        except (ValueError, TemplateError) as error:  # templates refuse roles they do not know
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ScoringError(reason, "leave it out, or use a reward model that reads such conversations") from error
        fitting = list(takewhile(lambda sequence: len(sequence) <= self.max_length, sequences))
        if not fitting:
            raise ScoringError(
                f"up to step {known + 1}, question and response take {len(sequences[0])} tokens; "
                f"the reward model reads at most {self.max_length}",
                "use a reward model with a longer context, shorter steps or shorter responses",
            )
        return fitting

    def score(self, steps: Sequence[str], rewards: Sequence[float]) -> ScoredAnswer:
        """The scored answer, from the rewards of its first steps. Raises ScoringError for one that is not finite."""
        check_finite(rewards)
        missing = len(steps) - len(rewards)
        return ScoredAnswer(
            score=aggregate(rewards, self.aggregation),
            steps=list(steps),
            rewards=[*rewards, *[None] * missing],
            aggregation=self.aggregation,
            truncated=missing > 0,
        )


def check_finite(rewards: Sequence[float]) -> None:
    """Raises ScoringError for a reward that is infinite or not a number."""
    wrong = [reward for reward in rewards if not math.isfinite(reward)]
    if wrong:
        raise ScoringError(f"the reward is {wrong[0]}", "use dtype float32, or another reward model")
