"""The stage that labels steps by how completions of what came before end (Monte Carlo labels)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..engines.base import Sampling, prompt_seed
from ..engines.given_response import Begun, begin
from ..engines.step_generator import StepGenerator, check_steps
from ..engines.step_requests import Extension, StepRequest
from ..errors import Failure, InputError
from ..labels.rollouts import MODES
from ..labels.statistics import label_counts
from ..labels.valuing import Beginning, Known, Valued, label_responses
from ..rewards.base import RuleRewarder
from ..rewards.registry import make_rewarder
from ..runs.declaration import nearest, parameter
from ..runs.folder import batched
from ..runs.progress import Report
from ..runs.shards import Items, Made, Work, response_key
from ..schema import RolloutLabels
from ..scoring.steps import DEFAULT_SEPARATOR, split
from .sharded import Sharded
from .shared_options import ReadsCandidates, Samples

RESPONSES_PER_SHARD = 64


@dataclass(frozen=True, kw_only=True)
class Rollouts(Samples, ReadsCandidates, Sharded, kind="rollouts"):
    """Label steps by completing what came before, several times, and rewarding where that ends.

    Math-Shepherd, MiPS, OmegaPRM, and the paper's Table 8. `scan` gives values (the mean outcome of the completions
    from each step on), `binary` searches for the first wrong step and gives hard labels. The same beginning is
    completed once. Completions that are cut by the length are not counted as wrong, but left out. The same command
    resumes a killed run.
    """

    by: str = parameter("The outcome reward, by rule: math, choice, stated, answer, re:PATTERN or instructions.")
    k: int = parameter("Completions of each beginning.", 8, above=0)
    mode: str = parameter("scan (every step) or binary (search for the first wrong step).", "scan")
    threshold: float = parameter("Right is a step whose value is above it (binary, --corrections).", 0.0)
    corrections: bool = parameter(
        "Keep a step that replaces the first wrong one, of a completion that ends right.", False
    )
    per_prompt: int | None = parameter("Only so many responses to each prompt, the first.", None, above=0)
    separator: str = parameter("Where steps end.", DEFAULT_SEPARATOR, escapes=True)
    responses_per_shard: int = parameter(
        "Responses labelled together, which a killed run loses at most.", RESPONSES_PER_SHARD, above=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in MODES:
            raise InputError(f"there is no mode {self.mode!r}{nearest(self.mode, MODES)}")
        if not 0 <= self.threshold < 1:
            raise InputError(f"the threshold is {self.threshold}; an outcome lies from 0 to 1, so give one below 1")
        check_steps("server" if self.servers else self.engine, self.separator, self._sampling)
        _ = self._rule  # raises for an outcome that is no rule

    @cached_property
    def _sampling(self) -> Sampling:
        return self.sampling(1)

    @cached_property
    def _rule(self) -> RuleRewarder:
        rewarder, _ = make_rewarder(self.by)
        if not isinstance(rewarder, RuleRewarder):
            raise InputError(f"--by {self.by}: completions are rewarded by a rule, such as answer or math")
        return rewarder

    def recorded(self) -> dict[str, Any]:
        return super().recorded() | {"reward": self._rule.describe()}

    def work(self, folder: Path) -> Mapping[str, Any]:
        source = self.candidate_source(rewards=False)
        rows = _first(source.read(), self.per_prompt)
        usable = [row for row in rows if not isinstance(row, Failure)]
        described = Work(
            name=self.named("rollouts"),
            unit="responses",
            source=self.candidates,
            total=len(usable),
            per_shard=self.responses_per_shard,
            shards=lambda: batched(usable, self.responses_per_shard),
            compute=self._compute,
            key=response_key,
            count=_count,
        )
        unusable = (row for row in rows if isinstance(row, Failure))
        return self.make_dataset(folder, described, RolloutLabels, "labels", strict=self.strict, unusable=unusable)

    def _compute(self, shards: Iterable[tuple[int, Items]], report: Report) -> Iterator[tuple[int, list[Made]]]:
        known: Known = {}
        with closing(StepGenerator.load(self.generator, self.separator, self._sampling)) as steps:
            for index, rows in shards:
                parts = [split(row["response"], self.separator) for row in rows]
                outcomes = [self._outcome({**row, "marks": []}) for row in rows]
                usable = [
                    (row, some, outcome)
                    for row, some, outcome in zip(rows, parts, outcomes, strict=True)
                    if some and not isinstance(outcome, Failure)
                ]
                labels = iter(
                    label_responses(
                        usable,
                        lambda asked: self._value(steps, asked, report),
                        known,
                        mode=self.mode,
                        threshold=self.threshold,
                        corrections=self.corrections,
                    )
                )
                empty = Failure("the response is empty", "leave it out: it has no steps")
                made = []
                for some, outcome in zip(parts, outcomes, strict=True):
                    found = outcome if isinstance(outcome, Failure) else next(labels) if some else empty
                    made.append(Made([], found) if isinstance(found, Failure) else Made([found]))
                report(len(rows), 0)
                yield index, made

    def _value(self, steps: StepGenerator, asked: Sequence[Beginning], report: Report) -> list[Valued | Failure]:
        begun: list[Begun | Failure] = []
        for one in asked:
            try:
                begun.append(begin(steps.engine.tokenizer, one.response, len(one.steps), steps.engine.end_ids))
            except Failure as failure:
                begun.append(failure)
        requests = [
            StepRequest(one.row["question"], start.partial, self.k, self._seed(one), whole=True)
            for one, start in zip(asked, begun, strict=True)
            if isinstance(start, Begun)
        ]
        written = iter(steps(requests, lambda rows, tokens: report(0, tokens)))
        return [
            start if isinstance(start, Failure) else self._valued(one, start, next(written))
            for one, start in zip(asked, begun, strict=True)
        ]

    def _seed(self, one: Beginning) -> int:
        """The same for the same beginning, wherever it stands."""
        prompt, text = one.key
        return prompt_seed(self.seed, f"{prompt}\0{hashlib.sha256(text.encode()).hexdigest()}")

    def _valued(self, one: Beginning, start: Begun, completed: Sequence[Extension] | Failure) -> Valued | Failure:
        if isinstance(completed, Failure):
            return completed
        outcomes, next_step = [], None
        whole = [extension for extension in completed if extension.partial.finish_reason != "length"]
        for extension in whole:
            outcome = self._outcome({**one.row, "response": extension.partial.text, "marks": []})
            if isinstance(outcome, Failure):
                return outcome
            outcomes.append(outcome)
            if next_step is None and outcome > self.threshold and len(extension.partial.steps) > len(one.steps):
                next_step = extension.partial.steps[len(one.steps)]
        return Valued(
            sum(outcomes) / len(outcomes) if outcomes else None,
            len(outcomes),
            cut=len(completed) - len(whole),
            n_tokens=sum(extension.n_tokens for extension in completed),
            as_a_whole=start.as_a_whole,
            next_step=next_step,
        )

    def _outcome(self, candidate: Any) -> float | Failure:
        found = self._rule.reward(candidate)
        if found.reward is None:
            return found.failure or Failure("no outcome", "give the prompt a golden answer")
        return found.reward["value"]


def _first(rows: Iterable[Any], most: int | None) -> list[Any]:
    """The first rows of each prompt, prompt by prompt, so that what they share is valued together; then failures."""
    of_prompt: dict[str, list[Any]] = defaultdict(list)
    failures = []
    for row in rows:
        if isinstance(row, Failure):
            failures.append(row)
        elif most is None or len(of_prompt[row["prompt_id"]]) < most:
            of_prompt[row["prompt_id"]].append(row)
    return [*(row for some in of_prompt.values() for row in some), *failures]


def _count(rows: Items) -> dict[str, Any]:
    spent = ("beginnings", "tokenized_apart", "completions", "cut", "new_tokens")
    return label_counts(rows) | {name: sum(row[name] for row in rows) for name in spent}
