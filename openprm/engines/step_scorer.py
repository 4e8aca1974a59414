"""Step rewards and scores by any reward engine, for whole responses and for a search's partial ones.

    scorer = StepScorer.load(RewardSpec("openprm/openprm", "vllm"))
    scorer.score_rows([{"question": "What is 2 + 3?", "response": "Two and three make five.\\nSo: 5"}])

`openprm.scoring.pipeline` is the same as a transformers pipeline, which travels with published models: both split,
encode, limit and aggregate by `openprm.scoring.scored_answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..errors import Failure, InputError
from ..scoring.aggregation import ScoringError, check_finite
from ..scoring.scored_answer import ScoredAnswer, ScoringSettings
from ..scoring.steps import split
from .base import Report, RewardEngine, no_report
from .specs import RewardSpec
from .step_requests import Prefix, PrefixRewards

T = TypeVar("T")


class StepScorer:
    """Rewards steps by `engine`, reading conversations as `tokenizer` and `settings` render them."""

    def __init__(self, engine: RewardEngine, tokenizer: Any, settings: ScoringSettings) -> None:
        self.engine = engine
        self.settings = replace(settings, max_length=min(settings.max_length, engine.max_length))
        self._tokenizer = tokenizer

    @classmethod
    def load(
        cls,
        spec: RewardSpec,
        separator: str | None = None,
        aggregation: str | None = None,
        unit: str | None = None,
        chat_template: str | None = None,
    ) -> StepScorer:
        """The engine, with the checkpoint's tokenizer and settings (its config's key `openprm`) where none are given.

        Raises InputError for what is no reward model, cannot be loaded or has no chat template; ValueError for an
        unknown aggregation or a separator that cannot be read.
        """
        from ..models.reward_checkpoint import reward_model_config
        from .transformers_loading import load_tokenizer

        origin: dict[str, Any] = {"revision": spec.revision, "trust_remote_code": spec.trust_remote_code}
        config = reward_model_config(spec.source, **origin)
        tokenizer = load_tokenizer(spec.source, **origin)
        settings = ScoringSettings.of(config, tokenizer, separator=separator, aggregation=aggregation, unit=unit)
        tokenizer.chat_template = chat_template or tokenizer.chat_template
        if not tokenizer.chat_template:
            raise InputError(
                f"the tokenizer of {spec.source} has no chat template, so it is not known how the model reads a "
                "conversation; put the one it was trained with into its folder as chat_template.jinja"
            )
        return cls(spec.make(), tokenizer, settings)

    def close(self) -> None:
        """Frees what the engine holds."""
        self.engine.close()

    def score_rows(
        self, rows: Iterable[Mapping[str, Any]], report: Report = no_report
    ) -> list[ScoredAnswer | Failure]:
        """Each row's `response`, split into steps (or its `steps`, where it has some), as an answer to its `question`
        (a text or chat messages).

        A failure for an empty response, one that the chat template does not render, one whose first step does not
        fit, and one of whose rewards is not finite.
        """
        answers = [Prefix(row["question"], steps_of(row, self.settings.separator)) for row in rows]
        return [
            one if isinstance(one, Failure) else self.settings.score(answer.steps, one)
            for answer, one in zip(answers, self._rewards([self._encode(one) for one in answers], report), strict=True)
        ]

    def score(self, prefixes: Sequence[Prefix], report: Report = no_report) -> list[PrefixRewards | Failure]:
        """A `step_requests.Score`: one reward for each step from `known` on, as far as they fit into the model.

        Failures as in `score_rows`. `n_tokens` counts the question with the prefixes that are rewarded, what they
        share once: what an engine computes that shares within an answer, and keeps nothing of earlier calls or of
        other prefixes.
        """
        from ..scoring.packing import pack

        encoded = [self._encode(one) for one in prefixes]
        costs = [0 if isinstance(one, Failure) else len(pack(one).tokens) for one in encoded]
        return [
            one if isinstance(one, Failure) else PrefixRewards(tuple(one), cost)
            for one, cost in zip(self._rewards(encoded, report), costs, strict=True)
        ]

    @property
    def aggregation(self) -> str:
        """How the model's step rewards become a score."""
        return self.settings.aggregation

    @property
    def unit(self) -> str:
        """Of the rewards (`openprm.scoring.units`)."""
        return self.settings.unit

    def _encode(self, prefix: Prefix) -> list[list[int]] | Failure:
        return attempt(self.settings.encode, self._tokenizer, prefix.question, prefix.steps, prefix.known)

    def _rewards(self, encoded: Sequence[list[list[int]] | Failure], report: Report) -> list[list[float] | Failure]:
        found = iter(self.engine.rewards([one for one in encoded if not isinstance(one, Failure)], report))
        return [one if isinstance(one, Failure) else attempt(_finite, next(found)) for one in encoded]


def steps_of(row: Mapping[str, Any], separator: str) -> tuple[str, ...]:
    """The row's own `steps`, or those of its `response`."""
    given = row.get("steps")
    return tuple(split(row["response"], separator) if given is None else given)


def attempt(function: Callable[..., T], *arguments: Any) -> T | Failure:
    """What the function returns, or why it has no result."""
    try:
        return function(*arguments)
    except ScoringError as error:
        return Failure(error.reason, error.remedy)


def _finite(rewards: list[float]) -> list[float]:
    check_finite(rewards)
    return rewards
