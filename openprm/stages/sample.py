"""The sampling stage: many responses to each prompt (paper, section 3.1, step 1).

The most expensive part of the method, so finished shards are kept: see `openprm.runs.shards`. Candidates have no
rewards yet; `openprm.stages.reward` gives them some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import schema as records
from ..engines.base import Batch, GenerationEngine, PromptSamples, Sample, Sampling, prompt_seed
from ..runs.declaration import input_path, parameter
from ..runs.progress import Report
from ..runs.provenance import Origin, inherited, unique
from ..runs.shards import Items, Made
from ..schema import SCHEMA_VERSION, Candidate
from .sharded import Sharded, work_on_prompts
from .shared_options import Samples

PROMPTS_PER_SHARD = 16  # with 64 samples each: about a thousand responses, which a killed run loses at most


@dataclass(frozen=True, kw_only=True)
class SampleResponses(Samples, Sharded, kind="sample"):
    """Sample responses to prompts (paper, section 3.1). The same command resumes a killed run.

    Prompts that cannot be sampled are listed in rejected.jsonl; while a retry may help, the stage is not finished,
    unless --allow-failures: the same command retries only those. Sampled again, the candidates are the same as far as
    the engine is deterministic: each prompt has a seed of its own, from the run's and its id.
    """

    prompts: str = input_path("Prompts: a folder of `openprm prompts`, or a dataset of prompts.", argument=True)
    n: int = parameter("Responses to each prompt.", 64)
    stop: list[str] = parameter("Text that ends a response; may be repeated.", [], escapes=True)
    prompts_per_shard: int = parameter(
        "Prompts a shard; a killed run loses at most those.", PROMPTS_PER_SHARD, above=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._sampling  # raises for what does not fit together

    @cached_property
    def _sampling(self) -> Sampling:
        return self.sampling(self.n, tuple(self.stop))

    def work(self, folder: Path) -> Mapping[str, Any]:
        described = work_on_prompts(
            self.named("sample"),
            self.prompts,
            self.prompts_per_shard,
            self._compute,
            _count,
            rows="responses",
            rows_per_unit=self.n,
        )
        result = self.make_dataset(
            folder, described, Candidate, "candidates", lambda totals: {"prompts": described.total, **totals}
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
                    seeds=[prompt_seed(self.seed, prompt["prompt_id"]) for prompt in prompts],
                )

        with closing(self.generator.make()) as generator:
            for batch, answers in generator.generate(batches(), self._sampling, report):
                pairs = zip(pending.pop(batch.index), answers, strict=True)
                yield batch.index, [_made(prompt, some, self._sampling, generator) for prompt, some in pairs]


def _count(candidates: Items) -> dict[str, Any]:
    return {
        "tokens": sum(row["n_tokens"] or 0 for row in candidates),
        "marks": dict(Counter(mark for row in candidates for mark in row["marks"])),
    }


def _made(prompt: Mapping[str, Any], answers: PromptSamples, sampling: Sampling, generator: GenerationEngine) -> Made:
    origin = drawn_by(generator, sampling, answers.seed)
    candidates = [
        Candidate(
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
        for index, sample in enumerate(answers.samples)
    ]
    return Made(candidates, answers.failure)


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
