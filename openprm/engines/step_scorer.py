"""Step rewards and scores by any reward engine, for whole answers and for a search's partial ones.

    scorer = StepScorer.load(RewardSpec("openprm/openprm", "vllm"))
    scorer.score_rows([{"question": "What is 2 + 3?", "response": "Two and three make five.\\nSo: 5"}])

`openprm.scoring.pipeline` is the same as a transformers pipeline, which travels with published models. The two agree,
but for models whose padding token ends a turn: there the pipeline reads a reward at the token before, as transformers
does, and engines read it at the last one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from jinja2 import TemplateError

from ..errors import Failure, InputError, first_line
from ..scoring.aggregation import AGGREGATIONS, DEFAULT_AGGREGATION, aggregate
from ..scoring.encoding import encode_prefixes
from ..scoring.steps import DEFAULT_SEPARATOR, split
from .base import Report, RewardEngine, no_report
from .specs import RewardSpec
from .step_requests import Prefix, PrefixRewards

_NOT_RENDERED = "leave it out, or use a reward model that reads such conversations"


@dataclass(frozen=True)
class ScoredAnswer:
    """A response's steps, one raw reward (a logit) for each, and their aggregate.

    Where `truncated`, the last steps did not fit into the model: they have None, and `score` is of those before.
    """

    steps: list[str]
    rewards: list[float | None]
    score: float
    aggregation: str
    truncated: bool


class StepScorer:
    """Rewards steps by `engine`, reading conversations as `tokenizer`, `suffix` and `openprm.scoring.encoding` render
    them.

    `max_length` is in tokens (default: the engine's); nothing is cut off a sequence. Raises InputError where the
    tokenizer has no chat template, ValueError for an unknown aggregation or a separator that cannot be read.
    """

    def __init__(
        self,
        engine: RewardEngine,
        tokenizer: Any,
        separator: str = DEFAULT_SEPARATOR,
        aggregation: str = DEFAULT_AGGREGATION,
        suffix: str = "",
        max_length: int | None = None,
    ) -> None:
        _check(tokenizer, separator, aggregation)
        self.engine = engine
        self.separator = separator
        self.aggregation = aggregation
        self.max_length = min(max_length or engine.max_length, engine.max_length)
        self._tokenizer = tokenizer
        self._suffix = suffix

    @classmethod
    def load(cls, spec: RewardSpec, separator: str | None = None, aggregation: str | None = None) -> StepScorer:
        """The engine, with the checkpoint's tokenizer and settings (its config's key `openprm`).

        Raises InputError for what is no reward model, or cannot be loaded.
        """
        from transformers import AutoTokenizer

        from ..models.reward_checkpoint import reward_model_config

        origin: dict[str, Any] = {"revision": spec.revision, "trust_remote_code": spec.trust_remote_code}
        settings = getattr(reward_model_config(spec.source, **origin), "openprm", None) or {}
        try:
            tokenizer = AutoTokenizer.from_pretrained(spec.source, **origin)
        except (OSError, ValueError) as error:
            raise InputError(f"{spec.source}: its tokenizer cannot be loaded: {first_line(error)}") from error
        separator = separator or settings.get("separator", DEFAULT_SEPARATOR)
        aggregation = aggregation or settings.get("aggregation", DEFAULT_AGGREGATION)
        _check(tokenizer, separator, aggregation)  # before a model is loaded, which may take long
        engine = spec.make()
        longest = min(engine.max_length, tokenizer.model_max_length)
        return cls(engine, tokenizer, separator, aggregation, settings.get("suffix", ""), longest)

    def close(self) -> None:
        """Gives back what the engine holds."""
        self.engine.close()

    def score_rows(
        self, rows: Iterable[Mapping[str, Any]], report: Report = no_report
    ) -> list[ScoredAnswer | Failure]:
        """Each row's `response`, split into steps, as an answer to its `question` (a text or chat messages).

        A failure for an empty response, one that the chat template does not render, one whose first step does not
        fit, and one of whose rewards is no number.
        """
        answers = [(row["question"], split(row["response"], self.separator)) for row in rows]
        encoded = [self._encode(Prefix(question, tuple(steps))) for question, steps in answers]
        return [
            one if isinstance(one, Failure) else self._scored(steps, one)
            for (_, steps), one in zip(answers, self._rewards(encoded, report), strict=True)
        ]

    def score(self, prefixes: Sequence[Prefix], report: Report = no_report) -> list[PrefixRewards | Failure]:
        """A `partial.Score`: one reward for each step from `known` on, as far as they fit into the model.

        A failure where nothing is written, where not even the first of them fits, where the chat template does not
        render the answer, and where a reward is no number. `n_tokens` counts the question with the beginnings that are
        rewarded, what they share once: what an engine computes that shares within an answer, and keeps nothing of
        earlier calls or of other prefixes.
        """
        from ..scoring.packing import pack

        encoded = [self._encode(one) for one in prefixes]
        costs = [0 if isinstance(one, Failure) else len(pack(one).tokens) for one in encoded]
        return [
            one if isinstance(one, Failure) else PrefixRewards(tuple(one), cost)
            for one, cost in zip(self._rewards(encoded, report), costs, strict=True)
        ]

    def _encode(self, prefix: Prefix) -> list[list[int]] | Failure:
        """One sequence a step from `known` on, up to the first that does not fit."""
        if not "".join(prefix.steps).strip():
            return Failure("the response is empty", "leave it out, or sample it again", transient=False)
        if prefix.known >= len(prefix.steps):
            return []
        first, *rest = prefix.steps[prefix.known :]
        ends = ["".join(prefix.steps[: prefix.known]) + first, *rest]
        try:
            sequences = encode_prefixes(self._tokenizer, prefix.question, ends, self._suffix)
        except (ValueError, TemplateError) as error:  # templates refuse roles they do not know
            return Failure(first_line(error), _NOT_RENDERED, transient=False)
        return list(takewhile(lambda sequence: len(sequence) <= self.max_length, sequences)) or Failure(
            f"up to step {prefix.known + 1}, question and response take {len(sequences[0])} tokens; "
            f"the reward model reads at most {self.max_length}",
            "use a reward model with a longer context, shorter steps or shorter responses",
            transient=False,
        )

    def _rewards(self, encoded: Sequence[list[list[int]] | Failure], report: Report) -> list[list[float] | Failure]:
        groups = [one for one in encoded if not isinstance(one, Failure)]
        found = iter(self.engine.rewards(groups, report))
        return [one if isinstance(one, Failure) else _checked(next(found)) for one in encoded]

    def _scored(self, steps: list[str], rewards: list[float]) -> ScoredAnswer:
        missing = len(steps) - len(rewards)
        return ScoredAnswer(
            steps=steps,
            rewards=[*rewards, *[None] * missing],
            score=aggregate(rewards, self.aggregation),
            aggregation=self.aggregation,
            truncated=missing > 0,
        )


def _checked(rewards: list[float]) -> list[float] | Failure:
    wrong = [reward for reward in rewards if not math.isfinite(reward)]
    return Failure(f"the reward is {wrong[0]}", "use dtype float32", transient=False) if wrong else rewards


def _check(tokenizer: Any, separator: str, aggregation: str) -> None:
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"unknown aggregation {aggregation!r}; choose one of {', '.join(AGGREGATIONS)}")
    split("", separator)
    if not tokenizer.chat_template:
        raise InputError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template, so it is not known how the model reads "
            "a conversation; put the one it was trained with into its folder as chat_template.jinja"
        )
