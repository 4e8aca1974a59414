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
from ..rewards.base import RewardBatch, Rewarder
from ..rewards.registry import make_rewarder
from ..runs.declaration import input_path, nearest, parameter
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
    completed once. Completions that are cut by the length are not counted as wrong, but left out, unless --keep-cut.
    The same command resumes a killed run.
    """

    by: str = parameter(
        "The outcome reward: by rule (math, choice, stated, answer, re:PATTERN, instructions), or by a model: model."
    )
    outcome_model: str | None = input_path("--by model: the reward model, a folder or a Hub id.", None)
    right_above: float | None = parameter("--by model: the reward above which a response ends right.", None)
    k: int = parameter("Completions of each beginning.", 8, above=0)
    mode: str = parameter("scan (every step) or binary (search for the first wrong step).", "scan")
    threshold: float = parameter("Right is a step whose value is above it (binary, --corrections).", 0.0)
    corrections: bool = parameter(
        "Keep a step that replaces the first wrong one, of a completion that ends right.", False
    )
    keep_cut: bool = parameter(
        "Reward completions that the length limit cuts as they are, like responses, instead of leaving them out.",
        False,
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
        if len({self.by == "model", self.outcome_model is not None, self.right_above is not None}) > 1:
            raise InputError("--by model, --outcome-model and --right-above go together; give all, or none of them")
        _ = self._rewarder  # raises for an outcome that cannot be had

    @cached_property
    def _sampling(self) -> Sampling:
        return self.sampling(1)

    @cached_property
    def _rewarder(self) -> Rewarder:
        if self.by in ("judge", "file"):
            raise InputError(f"--by {self.by}: completions are rewarded by a rule, such as answer, or by a model")
        return make_rewarder(self.by, model=self.outcome_model, trust_remote_code=self.trust_remote_code)[0]

    def recorded(self) -> dict[str, Any]:
        return super().recorded() | {"reward": self._rewarder.describe()}

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
        loaded = StepGenerator.load(self.generator, self.separator, self._sampling)
        with closing(self._rewarder), closing(loaded) as steps:
            for index, rows in shards:
                parts = [split(row["response"], self.separator) for row in rows]
                outcomes = self._outcomes([{**row, "marks": []} for row in rows])
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
        completed = [start if isinstance(start, Failure) else next(written) for start in begun]
        whole = [self._whole(some) for some in completed]
        outcomes = iter(
            self._outcomes(
                [
                    {**one.row, "response": extension.partial.text, "marks": []}
                    for one, some in zip(asked, whole, strict=True)
                    for extension in some
                ]
            )
        )
        found: list[Valued | Failure] = []
        for one, start, some, ends in zip(asked, begun, completed, whole, strict=True):
            if isinstance(start, Failure):
                found.append(start)
            elif isinstance(some, Failure):
                found.append(some)
            else:
                found.append(self._valued(one, start, some, [next(outcomes) for _ in ends]))
        return found

    def _seed(self, one: Beginning) -> int:
        """The same for the same beginning, wherever it stands."""
        prompt, text = one.key
        return prompt_seed(self.seed, f"{prompt}\0{hashlib.sha256(text.encode()).hexdigest()}")

    def _valued(
        self, one: Beginning, start: Begun, completed: Sequence[Extension], outcomes: Sequence[float | Failure]
    ) -> Valued | Failure:
        """`outcomes`: of the whole completions."""
        whole, values, next_step = self._whole(completed), [], None
        for extension, outcome in zip(whole, outcomes, strict=True):
            if isinstance(outcome, Failure):
                return outcome
            values.append(outcome)
            if next_step is None and outcome > self.threshold and len(extension.partial.steps) > len(one.steps):
                next_step = extension.partial.steps[len(one.steps)]
        return Valued(
            sum(values) / len(values) if values else None,
            len(values),
            cut=len(completed) - len(whole),
            n_tokens=sum(extension.n_tokens for extension in completed),
            as_a_whole=start.as_a_whole,
            next_step=next_step,
        )

    def _whole(self, completed: Sequence[Extension] | Failure) -> list[Extension]:
        """The completions that are rewarded: those that no limit cut."""
        if isinstance(completed, Failure):
            return []
        return [one for one in completed if self.keep_cut or one.partial.finish_reason != "length"]

    def _outcomes(self, candidates: Sequence[Any]) -> list[float | Failure]:
        if not candidates:
            return []
        ((_, results),) = self._rewarder.rewards([RewardBatch(0, candidates)])
        found: list[float | Failure] = []
        for result in results:
            if result.reward is None:
                found.append(result.failure or Failure("no outcome", "give the prompt a golden answer"))
            else:
                value = result.reward["value"]
                found.append(value if self.right_above is None else float(value > self.right_above))
        return found


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
