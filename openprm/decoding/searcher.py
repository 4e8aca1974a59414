"""A language model and a reward model, loaded to search answers together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from ..engines.base import Report, Sampling, no_report, prompt_seed
from ..engines.specs import GeneratorSpec, RewardSpec
from ..engines.step_generator import StepGenerator, check_steps
from ..engines.step_scorer import StepScorer
from ..errors import Failure, InputError
from ..schema import Message
from ..scoring.aggregation import DEFAULT_AGGREGATION
from ..scoring.steps import DEFAULT_SEPARATOR
from ..scoring.units import DEFAULT_UNIT
from .loop import SearchResult, Watch
from .methods import Method


def search(
    questions: Sequence[str | Sequence[Message]],
    policy: str | GeneratorSpec,
    prm: str | RewardSpec | None = None,
    method: str = "pbs",
    budget: int = 16,
    *,
    aggregation: str | None = None,
    separator: str | None = None,
    sampling: Sampling | None = None,
) -> list[SearchResult | Failure]:
    """Answers each question by searching with a reward model (paper, section 3.3).

        (result,) = openprm.search(["What is 2 + 3?"], policy="my-llm", prm="openprm/openprm")
        result.text, result.score, result.steps, result.step_rewards, result.generated_tokens

    questions: texts, or lists of chat messages
    policy, prm: a model's folder or Hub id, or which engine runs it; the majority vote takes no `prm`
    method: one of `openprm.decoding.methods.METHODS`; budget: N answers, or extensions at each step of a beam search
    aggregation, separator: of step rewards, and where steps end; by default what the reward model records
    sampling: temperature, length, seed and so on (`n` and `stop` are not used)

    A question's seed depends on the sampling's and on its text. Where one fails, the others do not: a `Failure` stands
    in its place. To keep the models loaded from call to call, use a `Searcher`. Raises InputError as that does.
    """
    sampling = sampling or Sampling(n=1)
    chats = [[Message(role="user", content=one)] if isinstance(one, str) else list(one) for one in questions]
    policy = GeneratorSpec(policy) if isinstance(policy, str) else policy
    prm = RewardSpec(prm) if isinstance(prm, str) else prm
    texts = ("\0".join(message["content"] for message in chat) for chat in chats)
    seeds = [prompt_seed(sampling.seed, text) for text in texts]
    with closing(Searcher.load(policy, prm, Method(method, budget, aggregation), sampling, separator)) as searcher:
        return searcher(chats, seeds)


@dataclass
class Searcher:
    """Searches answers by `method`. Both models stay loaded from call to call."""

    method: Method
    step_generator: StepGenerator
    scorer: StepScorer | None

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
        check(spec, prm, method, sampling, separator)
        method, separator = with_defaults(method, prm, separator)
        step_generator = StepGenerator.load(spec, separator, sampling)
        try:
            scorer = StepScorer.load(prm, separator, method.aggregation) if prm else None
        except ValueError:
            step_generator.close()
            raise
        return cls(method, step_generator, scorer)

    def __call__(
        self,
        questions: Sequence[Sequence[Message]],
        seeds: Sequence[int],
        watch: Watch | None = None,
        report: Report = no_report,
    ) -> list[SearchResult | Failure]:
        """See `Method.run`. `report` is called with generated tokens, and questions whose answers are drawn whole."""
        part = 0 if self.method.beam or self.method.rule else 1 / self.method.budget
        generate = partial(self.step_generator, report=lambda rows, tokens: report(rows * part, tokens))
        if self.scorer is None:
            return self.method.run(questions, generate, None, seeds, watch)
        return self.method.run(questions, generate, self.scorer.score, seeds, watch, self.scorer.unit)

    def close(self) -> None:
        """Frees what the engines hold."""
        self.step_generator.close()
        if self.scorer:
            self.scorer.close()


def check(
    spec: GeneratorSpec, prm: RewardSpec | None, method: Method, sampling: Sampling, separator: str | None
) -> None:
    """Raises InputError where these do not make a search."""
    check_steps(spec.engine, separator or DEFAULT_SEPARATOR, sampling)
    if method.uses_rewards and prm is None:
        raise InputError(f"{method.name} needs a reward model; name one (--prm), or take the majority-vote")
    if prm is not None and not method.uses_rewards:
        raise InputError(f"a {method.name} needs no reward model; leave it out")
    if sampling.temperature == 0 and method.budget > 1:
        raise InputError("at temperature 0 all answers to a prompt are alike; raise it, or take a budget of 1")


def with_defaults(method: Method, prm: RewardSpec | None, separator: str | None) -> tuple[Method, str]:
    """The method with its aggregation and the separator of steps: as given, else as the reward model's config says.

    Raises InputError for what is no reward model, and ValueError for a method that does not take its rewards.
    """
    if prm is None:
        return method, separator or DEFAULT_SEPARATOR
    from ..models.reward_checkpoint import reward_model_config

    config = reward_model_config(prm.source, revision=prm.revision, trust_remote_code=prm.trust_remote_code)
    settings = getattr(config, "openprm", None) or {}
    if method.uses_rewards:
        method = replace(method, aggregation=method.aggregation or settings.get("aggregation", DEFAULT_AGGREGATION))
        method.check_unit(settings.get("unit", DEFAULT_UNIT))
    return method, separator or settings.get("separator", DEFAULT_SEPARATOR)
