"""Step rewards by any declared readout: somebody else's process reward model, or language models as one.

scorer = load_scorer(RewardSpec("math-shepherd.yaml"))
scorer.score_rows([{"question": "What is 2 + 3?", "response": "Two and three make five.\\nSo: 5"}])
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise, takewhile
from pathlib import Path
from typing import Any

from ..errors import Failure, InputError
from ..hub_id import HubId
from ..models.readout import DeclaredModel, Ends, LogProbability, Marker, Question, Ratio, declared_model
from ..scoring.aggregation import ScoringError
from ..scoring.scored_answer import ScoredAnswer, ScoringSettings, check_embedded
from .base import ContinuationRequest, Head, Probe, Prober, Report, Sampling, no_report
from .readout_encoding import Asked, ReadoutEncoder
from .specs import GeneratorSpec, ProbeSpec, RewardSpec
from .step_scorer import StepScorer, attempt, steps_of


def load_scorer(
    spec: RewardSpec, separator: str | None = None, aggregation: str | None = None
) -> StepScorer | ReadoutScorer:
    """The scorer of a model: of a checkpoint (a folder or a Hub id), or of the YAML file that declares one.

    Raises InputError for a declaration that cannot be, and for models that cannot be loaded or read so.
    """
    declared = declared_model(spec.source, spec.revision)
    given = {name: getattr(declared, name) for name in ("separator", "aggregation", "unit", "chat_template")}
    given |= {name: one for name, one in (("separator", separator), ("aggregation", aggregation)) if one is not None}
    if not isinstance(declared.readout, Ends):
        return ReadoutScorer.load(declared.model_copy(update=given), spec)
    model, revision = _located(declared.model, spec.revision)
    named: dict[str, Any] = {"checkpoint" if spec.checkpoint else "model": model}
    return StepScorer.load(replace(spec, revision=revision, **named), **given)


def check_declared(model: str, revision: str | None = None, trust_remote_code: bool = False) -> None:
    """Raises InputError for a declaration that cannot be, and for a checkpoint that is no reward model by its config:
    what can be known of a model before it is loaded."""
    from ..models.reward_checkpoint import reward_model_config

    declared = declared_model(model, revision)
    if isinstance(declared.readout, Ends):
        located, at = _located(declared.model, revision)
        reward_model_config(located, revision=at, trust_remote_code=trust_remote_code)


def _located(model: str, revision: str | None = None) -> tuple[str, str | None]:
    """The folder or the repository of a model, and its revision, which may stand behind its id."""
    hub = None if Path(model).exists() else HubId.parse(model)
    return (hub.repository, hub.revision or revision) if hub else (model, revision)


class ReadoutScorer:
    """Rewards steps by what probers say, times their weights, at the places where the readout of `declared` asks.

    critic: writes critiques, where the readout has some.
    """

    def __init__(
        self,
        declared: DeclaredModel,
        tokenizer: Any,
        settings: ScoringSettings,
        probers: Sequence[tuple[float, Prober]],
        critic: Any = None,
    ) -> None:
        self.readout, self.unit = declared.readout, settings.unit
        longest = min(settings.max_length, *(prober.max_length for _, prober in probers))
        self.settings = replace(settings, max_length=longest)
        self._encode = ReadoutEncoder(declared.readout, tokenizer)
        self._tokenizer, self._probers, self._critic = tokenizer, probers, critic
        self._critique = (self.readout.critique or 0) if isinstance(self.readout, Question) else 0
        verdict = self.readout.verdict if isinstance(self.readout, Question) and critic else ""
        self._verdict = tokenizer.encode(verdict, add_special_tokens=False)

    @classmethod
    def load(cls, declared: DeclaredModel, spec: RewardSpec) -> ReadoutScorer:
        """Raises InputError for models that cannot be loaded, or read as declared."""
        from ..models.reward_checkpoint import loading
        from .transformers_loading import AutoConfig, load_tokenizer

        readout, trust = declared.readout, {"trust_remote_code": spec.trust_remote_code}
        models = {key: _located(model) for key, model in declared.models().items()}
        models["model"] = model, revision = _located(declared.model, spec.revision)
        tokenizer = load_tokenizer(model, revision=revision, **trust)
        tokenizer.chat_template = declared.chat_template or tokenizer.chat_template
        if not tokenizer.chat_template:
            raise InputError(f"the tokenizer of {model} has no chat template; declare the one it was trained with")
        for key, (other, at) in models.items():
            if load_tokenizer(other, revision=at, **trust).get_vocab() != tokenizer.get_vocab():
                raise InputError(
                    f"the {key} model {other} has another vocabulary than {model}, and log-probabilities are compared "
                    "token by token; name one with the same tokenizer"
                )
        with loading(model, "AutoConfig"):
            config = AutoConfig.from_pretrained(model, revision=revision, **trust)
        given = {"unit": declared.unit or readout.unit, "separator": declared.separator}
        settings = ScoringSettings.of(
            config, tokenizer, aggregation=declared.aggregation or readout.aggregation, **given
        )
        ReadoutEncoder(readout, tokenizer)  # what is wrong with tokens is said before models are loaded
        head = None
        if isinstance(readout, Marker) and readout.head != "tokens":
            head = Head(readout.weights, readout.file, classes=readout.head == "classes")
        more: dict[str, Any] = {"engine": spec.engine, "dtype": spec.dtype, **trust}
        beta, options = readout.beta if isinstance(readout, Ratio) else 1.0, {**spec.options, "head": head}
        probers = [
            (beta if key == "model" else -beta, ProbeSpec(name, revision=at, options=options, **more).make())
            for key, (name, at) in models.items()
        ]
        if head is not None and isinstance(readout, Marker):
            outputs, named = probers[0][1].outputs, [readout.positive, readout.negative]
            least = 1 if readout.head == "value" else 1 + max(one for one in named if isinstance(one, int))
            if outputs < least or (readout.negative is None and outputs != (2 if head.classes else 1)):
                raise InputError(
                    f"{model}: its head {readout.weights!r} has {outputs} outputs; a value head has one, classes "
                    "count from 0, and of more than two both `positive` and `negative` are declared"
                )
        critic = None
        if isinstance(readout, Question) and readout.critique:
            critic = GeneratorSpec(model, revision=revision, options=spec.options, **more).make()
        return cls(declared, tokenizer, settings, probers, critic)

    @property
    def aggregation(self) -> str:
        """How the model's step rewards become a score."""
        return self.settings.aggregation

    def close(self) -> None:
        """Frees what the engines hold."""
        for engine in (*(prober for _, prober in self._probers), self._critic):
            if engine is not None:
                engine.close()

    def score_rows(
        self, rows: Iterable[Mapping[str, Any]], report: Report = no_report
    ) -> list[ScoredAnswer | Failure]:
        """As `StepScorer.score_rows`; a failure also for a response with other places to read than steps."""
        answers = [(row["question"], steps_of(row, self.settings.separator)) for row in rows]
        asked = [attempt(self._asked, *answer) for answer in answers]
        if self._critic is not None:
            asked = [self._with_critiques(one) for one in asked]
        probes = [probe for one in asked if isinstance(one, Asked) for probe in one.probes]
        share = len(answers) / max(1, len(probes) * len(self._probers))

        def shared(count: float, tokens: int) -> None:
            report(count * share, tokens)

        said = [(weight, iter(prober.probe(probes, shared))) for weight, prober in self._probers]
        scored: list[ScoredAnswer | Failure] = []
        for (_, steps), one in zip(answers, asked, strict=True):
            if isinstance(one, Asked):
                found = [(weight, [next(values) for _ in one.probes]) for weight, values in said]
                failed = [probe for _, probes in found for probe in probes if isinstance(probe, Failure)]
                scored.append(failed[0] if failed else attempt(self._scored, steps, one.counts, found))
            else:
                scored.append(one)
        return scored

    def _asked(self, question: Any, steps: Sequence[str]) -> Asked:
        asked = self._encode(question, steps).fitting(self.settings.max_length - self._critique - len(self._verdict))
        if not asked.probes:
            raise ScoringError(
                f"up to step 1, question and response take more than the {self.settings.max_length} tokens that the "
                "model reads",
                "use a model with a longer context, shorter steps or shorter responses",
            )
        for probe in asked.probes:
            check_embedded(self._tokenizer, probe.tokens, self.settings.vocabulary)
        return asked

    def _with_critiques(self, asked: Asked | Failure) -> Asked | Failure:
        """With a critique behind each prompt, and the verdict's beginning behind it."""
        if isinstance(asked, Failure):
            return asked
        rows = [ContinuationRequest(list(probe.tokens), self._critique, seed=0) for probe in asked.probes]
        probes = []
        for probe, new in zip(asked.probes, self._critic.continue_tokens(rows, Sampling(1, 0.0)), strict=True):
            if isinstance(new, Failure):
                return new
            critique = takewhile(lambda token: token not in self._critic.end_ids, new)
            tokens = [*probe.tokens, *critique, *self._verdict]
            probes.append(Probe(tokens, [len(tokens) - 1], probe.wanted))
        return Asked(probes, asked.counts)

    def _scored(
        self, steps: Sequence[str], counts: Sequence[int], said: Sequence[tuple[float, list[Any]]]
    ) -> ScoredAnswer:
        """From what each prober says of each probe, with its weight."""
        rewards = [0.0] * sum(counts)  # at places
        for weight, probes in said:
            places = [place for probe in probes for place in probe]
            contrasts = [place[0] - (place[1] if len(place) > 1 else 0.0) for place in places]
            rewards = [before + weight * one for before, one in zip(rewards, contrasts, strict=True)]
        ends = [0, *accumulate(counts)]
        rewards = [math.fsum(rewards[start:end]) for start, end in pairwise(ends)]
        if isinstance(self.readout, LogProbability):
            if self.readout.of == "prefix":
                rewards, counts = [*accumulate(rewards)], ends[1:]
            if self.readout.per_token:
                rewards = [reward / count for reward, count in zip(rewards, counts, strict=True)]
        return self.settings.score(steps, rewards)
