"""Answers to token sequences, and step rewards to one score: the same for the pipeline and for every engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from typing import Any

from .aggregation import DEFAULT_AGGREGATION, ScoringError, aggregate, score_unit
from .encoding import DEFAULT_DATE, encode_prefixes
from .steps import DEFAULT_SEPARATOR, split
from .units import DEFAULT_UNIT


@dataclass(frozen=True)
class ScoredAnswer:
    """A response's steps, one raw reward for each, in this `unit`, and their aggregate.

    If `truncated`, the last steps did not fit into the model: their rewards are None, and `score` leaves them out.
    """

    score: float
    steps: list[str]
    step_rewards: list[float | None]
    aggregation: str
    truncated: bool
    unit: str = DEFAULT_UNIT


@dataclass(frozen=True)
class ScoringSettings:
    """How answers are split (`separator`), rendered (`suffix`, `date`), limited (`max_length`, in tokens) and scored.

    `vocabulary`: the model has embeddings for smaller ids only. `unit`: of the rewards (`openprm.scoring.units`).
    Raises ValueError for a separator that cannot be read, an unknown aggregation or unit, and an aggregation that
    takes rewards of another unit.
    """

    max_length: int
    vocabulary: int = sys.maxsize
    separator: str = DEFAULT_SEPARATOR
    aggregation: str = DEFAULT_AGGREGATION
    suffix: str = ""
    date: str = DEFAULT_DATE
    unit: str = DEFAULT_UNIT

    def __post_init__(self) -> None:
        split("", self.separator)
        score_unit(self.aggregation, self.unit)

    @classmethod
    def of(cls, config: Any, tokenizer: Any, **given: Any) -> ScoringSettings:
        """What is given (and not None), else what the checkpoint's config records under `openprm`, else the defaults.

        `max_length` is at most what both the tokenizer and the model's positions allow.
        """
        settings = dict(getattr(config, "openprm", None) or {})
        settings |= {name: value for name, value in given.items() if value is not None}
        lengths = [tokenizer.model_max_length, positions(config), settings.get("max_length", sys.maxsize)]
        settings |= {"max_length": min(lengths), "vocabulary": config.get_text_config().vocab_size}
        return cls(**{one.name: settings[one.name] for one in fields(cls) if one.name in settings})

    def encode(
        self, tokenizer: Any, question: str | Sequence[Mapping[str, Any]], steps: Sequence[str], known: int = 0
    ) -> list[list[int]]:
        """One sequence for each step from number `known` (0-based) on, up to the first that does not fit.

        No sequence is cut. Raises ScoringError as `sequences` does, and where not
        even the first of these steps fits.
        """
        made = self.sequences(tokenizer, question, steps, known)
        first = next(made, None)
        if first is not None and len(first) > self.max_length:
            raise ScoringError(
                f"up to step {known + 1}, question and response take {len(first)} tokens; "
                f"the reward model reads at most {self.max_length}",
                "use a reward model with a longer context, shorter steps or shorter responses",
            )
        fits = takewhile(lambda sequence: len(sequence) <= self.max_length, made)
        return [] if first is None else [first, *fits]

    def sequences(
        self, tokenizer: Any, question: str | Sequence[Mapping[str, Any]], steps: Sequence[str], known: int = 0
    ) -> Iterator[list[int]]:
        """Those of `encode`, of any length, made as they are asked for.

        Raises ScoringError for an empty answer, what the chat template does not render (see `encode_prefixes`), and a
        token that the model has no embedding for.
        """
        if not "".join(steps).strip():
            raise ScoringError("the response is empty", "leave it out, or sample it again")
        for sequence in encode_prefixes(tokenizer, question, steps, self.suffix, self.date, known):
            check_embedded(tokenizer, sequence, self.vocabulary)
            yield sequence

    def score(self, steps: Sequence[str], rewards: Sequence[float]) -> ScoredAnswer:
        """The scored answer, from the rewards of its first steps. Raises ScoringError for one that is not finite."""
        missing = len(steps) - len(rewards)
        return ScoredAnswer(
            score=aggregate(rewards, self.aggregation),
            steps=list(steps),
            step_rewards=[*rewards, *[None] * missing],
            aggregation=self.aggregation,
            truncated=missing > 0,
            unit=self.unit,
        )


def check_embedded(tokenizer: Any, sequence: Sequence[int], vocabulary: int) -> None:
    """Raises ScoringError for a token that a model with embeddings for `vocabulary` ids has none for."""
    largest = max(sequence, default=0)
    if largest >= vocabulary:
        raise ScoringError(
            f"{tokenizer.convert_ids_to_tokens(largest)!r} is token {largest} of the tokenizer, and the model "
            f"has embeddings for {vocabulary}",
            "use the model's own tokenizer, or model.resize_token_embeddings(len(tokenizer)) and train",
        )


def positions(config: Any) -> int:
    """The tokens of a sequence that the positions in a config allow; `sys.maxsize` where they set no limit."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None) or 0
    return limit if limit > 0 else sys.maxsize  # XLNet's is -1
