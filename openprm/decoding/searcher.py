"""A language model and a reward model, loaded to search answers together.

searcher = Searcher.load(GeneratorSpec("policy"), RewardSpec("openprm"), Method("pbs"), Sampling(max_new_tokens=512))
(found,) = searcher([[{"role": "user", "content": "2+2?"}]], seeds=[0])
found.best.partial.text
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..engines.base import Sampling
from ..engines.specs import GeneratorSpec, RewardSpec
from ..engines.step_generator import StepGenerator, check_engine
from ..engines.step_scorer import StepScorer
from ..errors import Failure, InputError
from ..schema import Message
from ..scoring.aggregation import DEFAULT_AGGREGATION
from ..scoring.steps import DEFAULT_SEPARATOR
from .loop import SearchResult, Watch
from .methods import Method


class Searcher:
    """Searches answers by `method`. Both models stay loaded from call to call."""

    def __init__(self, method: Method, step_generator: StepGenerator, scorer: StepScorer | None) -> None:
        self.method = method
        self.step_generator = step_generator
        self.scorer = scorer

    @classmethod
    def load(
        cls,
        spec: GeneratorSpec,
        prm: RewardSpec | None,
        method: Method,
        sampling: Sampling,
        separator: str | None = None,
    ) -> Searcher:
        """What the checkpoint records (`with_defaults`) is the default of separator and aggregation.

        Raises InputError where the two do not make the method, or a model cannot be loaded.
        """
        check(spec, prm, method, sampling)
        method, separator = with_defaults(method, prm, separator)
        step_generator = StepGenerator.load(spec, separator, sampling)
        try:
            scorer = StepScorer.load(prm, separator, method.aggregation) if prm else None
        except ValueError:
            step_generator.close()
            raise
        return cls(method, step_generator, scorer)

    def __call__(
        self, questions: Sequence[Sequence[Message]], seeds: Sequence[int], watch: Watch | None = None
    ) -> list[SearchResult | Failure]:
        """See `Method.run`."""
        score = self.scorer.score if self.scorer else None
        return self.method.run(questions, self.step_generator, score, seeds, watch)

    def close(self) -> None:
        """Gives back what the engines hold."""
        self.step_generator.close()
        if self.scorer:
            self.scorer.close()


def check(spec: GeneratorSpec, prm: RewardSpec | None, method: Method, sampling: Sampling) -> None:
    """Raises InputError where these do not make a search."""
    check_engine(spec)
    if method.uses_rewards and prm is None:
        raise InputError(f"{method.name} needs a reward model; name one (--prm), or take the majority-vote")
    if prm is not None and not method.uses_rewards:
        raise InputError(f"a {method.name} needs no reward model; leave it out")
    if sampling.temperature == 0 and method.budget > 1:
        raise InputError("at temperature 0 all answers to a prompt are alike; raise it, or take a budget of 1")


def with_defaults(method: Method, prm: RewardSpec | None, separator: str | None) -> tuple[Method, str]:
    """The method with its aggregation and the separator of steps: as given, else as the reward model's config says.

    Raises InputError for what is no reward model.
    """
    if prm is None:
        return method, separator or DEFAULT_SEPARATOR
    from ..models.reward_checkpoint import reward_model_config

    config = reward_model_config(prm.source, revision=prm.revision, trust_remote_code=prm.trust_remote_code)
    settings = getattr(config, "openprm", None) or {}
    if method.uses_rewards:
        method = replace(method, aggregation=method.aggregation or settings.get("aggregation", DEFAULT_AGGREGATION))
    return method, separator or settings.get("separator", DEFAULT_SEPARATOR)
