"""The sampling stage: many responses to each prompt (paper, section 3.1, step 1).

The most expensive part of the method, so finished shards are kept: see `openprm.runs.shards`. Candidates have no
rewards yet; `openprm.stages.reward` gives them some.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import schema as records
from ..decoding.branching import Branch, branched
from ..engines.base import Batch, GenerationEngine, Sample, Sampling, prompt_seed
from ..engines.step_generator import StepGenerator, check_steps
from ..errors import Failure, InputError
from ..runs.declaration import input_path, parameter
from ..runs.progress import Report
from ..runs.provenance import Origin, inherited, unique
from ..runs.shards import Items, Made
from ..schema import SCHEMA_VERSION, BranchedCandidate, Candidate
from ..scoring.steps import DEFAULT_SEPARATOR
from .sharded import Sharded, work_on_prompts
from .shared_options import Samples

PROMPTS_PER_SHARD = 16  # with 64 samples each: about a thousand responses, which a killed run loses at most


@dataclass(frozen=True, kw_only=True)
class SampleResponses(Samples, Sharded, kind="sample"):
    """Sample responses to prompts (paper, section 3.1). The same command resumes a killed run.

    Prompts that cannot be sampled are listed in rejected.jsonl; while a retry may help, the stage is not finished,
    unless --allow-failures: the same command retries only those. Sampled again, the candidates are the same as far as
    the engine is deterministic: each prompt has a seed of its own, from the run's and its id.

    With --branch, a response that ends before the last branching takes the place of several: there are fewer, and
    the manifest counts them as `ended_early`. It counts the tokens of a shared prefix once.
    """

    prompts: str = input_path("Prompts: a folder of `openprm prompts`, or a dataset of prompts.", argument=True)
    n: int = parameter("Responses to each prompt.", 64)
    branch: str | None = parameter(
        "W1,W2,...: sample W1 first steps, go on from each in W2 ways for a step, and so on; then finish each in as "
        "many ways as make N responses. Prefixes are shared and generated once.",
        None,
    )
    separator: str | None = parameter("Where the steps of --branch end; default: as of trees.", None, escapes=True)
    stop: list[str] = parameter("Text that ends a response; may be repeated.", [], escapes=True)
    prompts_per_shard: int = parameter(
        "Prompts a shard; a killed run loses at most those.", PROMPTS_PER_SHARD, above=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._sampling, self._widths  # raise for what does not fit together
        if self.branch is not None:
            check_steps("server" if self.servers else self.engine, self._separator, self._sampling)
        elif self.separator is not None:
            raise InputError("--separator says where the steps of --branch end; give both, or leave it out")

    @cached_property
    def _sampling(self) -> Sampling:
        return self.sampling(self.n, tuple(self.stop))

    @cached_property
    def _widths(self) -> tuple[int, ...]:
        """In how many ways to go on at each branching; none without."""
        if self.branch is None:
            return ()
        widths = [int(number) if number.strip().isdecimal() else 0 for number in self.branch.split(",")]
        if not all(widths) or self.n % math.prod(widths):
            raise InputError(
                f"--branch is {self.branch!r} and --n {self.n}; give numbers from 1, such as 4,4, with a product that "
                "divides N"
            )
        return (*widths, self.n // math.prod(widths))

    def recorded(self) -> dict[str, Any]:
        """With the separator, where one is used."""
        return super().recorded() | ({"separator": self._separator} if self.branch else {})

    @property
    def _separator(self) -> str:
        return self.separator or DEFAULT_SEPARATOR

    def work(self, folder: Path) -> Mapping[str, Any]:
        described = work_on_prompts(
            self.named("sample"),
            self.prompts,
            self.prompts_per_shard,
            self._branch if self.branch else self._compute,
            self._count,
            rows="responses",
            rows_per_unit=self.n,
        )
        record = BranchedCandidate if self.branch else Candidate
        result = self.make_dataset(
            folder, described, record, "candidates", lambda totals: {"prompts": described.total, **totals}
        )
        # of a model on servers only the name is known
        model = [Origin(name=self.model, kind="model", license=None)] if self.servers else []
        return {**result, "origins": unique([*inherited(self.inputs()), *model])}

    def _compute(self, shards: Iterable[tuple[int, Items]], report: Report) -> Iterator[tuple[int, list[Made]]]:
        pending: dict[int, Items] = {}

        def batches() -> Iterator[Batch]:
            for index, prompts in shards:
                pending[index] = prompts
                yield Batch(
                    index,
                    [prompt["question"] for prompt in prompts],
                    self._seeds(prompts),
                )

        with closing(self.generator.make()) as generator:
            for batch, answers in generator.generate(batches(), self._sampling, report):
                made = []
                for prompt, some in zip(pending.pop(batch.index), answers, strict=True):
                    origin = drawn_by(generator, self._sampling, some.seed)
                    rows = [_candidate(prompt, index, one, origin) for index, one in enumerate(some.samples)]
                    made.append(Made(rows, some.failure))
                yield batch.index, made

    def _branch(self, shards: Iterable[tuple[int, Items]], report: Report) -> Iterator[tuple[int, list[Made]]]:
        with closing(StepGenerator.load(self.generator, self._separator, self._sampling)) as steps:
            for index, prompts in shards:
                seeds = self._seeds(prompts)
                found = branched([prompt["question"] for prompt in prompts], seeds, self._widths, steps, report)
                origins = [drawn_by(steps.engine, self._sampling, seed) for seed in seeds]
                yield index, [_made(*one) for one in zip(prompts, found, origins, strict=True)]

    def _seeds(self, prompts: Items) -> list[int]:
        return [prompt_seed(self.seed, prompt["prompt_id"]) for prompt in prompts]

    def _count(self, candidates: Items) -> dict[str, Any]:
        counts = {
            "tokens": sum(row.get("new_tokens", row["n_tokens"]) or 0 for row in candidates),
            "marks": dict(Counter(mark for row in candidates for mark in row["marks"])),
        }
        if self.branch:
            counts["ended_early"] = sum(len(row["branch"]) < len(self._widths) for row in candidates)
        return counts


def _candidate(prompt: Mapping[str, Any], index: int, sample: Sample, origin: records.Generator) -> Candidate:
    return Candidate(
        schema_version=SCHEMA_VERSION,
        prompt_id=prompt["prompt_id"],
        source=prompt["source"],
        question=prompt["question"],
        reference=prompt["reference"],
        response=sample["text"],
        sample_index=index,
        generator=origin,
        finish_reason=sample["finish_reason"],
        n_tokens=sample["n_tokens"],
        rewards=[],
        marks=_marks(sample),
    )


def _made(prompt: Mapping[str, Any], found: list[Branch] | Failure, origin: records.Generator) -> Made:
    if isinstance(found, Failure):
        return Made([], found)
    samples = [
        Sample(text=one.partial.text, n_tokens=len(one.partial.tokens), finish_reason=str(one.partial.finish_reason))
        for one in found
    ]
    return Made(
        [
            {**_candidate(prompt, index, sample, origin), "branch": list(one.path), "new_tokens": one.new_tokens}
            for index, (one, sample) in enumerate(zip(found, samples, strict=True))
        ]
    )


def drawn_by(generator: GenerationEngine, sampling: Sampling, seed: int | None) -> records.Generator:
    """The origin of what an engine drew, for its row."""
    return records.generated_by(
        model=generator.model,
        revision=generator.revision,
        engine=generator.engine,
        engine_version=generator.version,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_new_tokens=sampling.max_new_tokens,
        stop=list(sampling.stop),
        system_prompt=sampling.system_prompt,
        seed=seed,
    )


def _marks(sample: Sample) -> list[str]:
    marks = {"stop": [], "length": ["truncated"]}.get(sample["finish_reason"], [sample["finish_reason"]])
    return marks + ["empty"] * (not sample["text"].strip())
