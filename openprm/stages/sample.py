"""The sampling stage: many responses to each prompt (paper, section 3.1, step 1).

The most expensive part of the method, so finished shards are kept: see `openprm.runs.shards`. Candidates have no
rewards yet; `openprm.stages.reward` gives them some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

from .. import schema as records
from ..engines.base import Batch, GenerationEngine, PromptSamples, Sample, Sampling, prompt_seed
from ..engines.continuation import ContinuationEngine
from ..engines.specs import GeneratorSpec
from ..errors import InputError
from ..runs.dataset import Rejections, finish_dataset
from ..runs.folder import REJECTED, batched, read_rows
from ..runs.manifest import Part, resolve_model, run_stage
from ..runs.progress import Report
from ..runs.provenance import Origin, inherited, unique
from ..runs.shards import Made, Shards, Work, added, compute_missing, prompt_key, write_dataset
from ..schema import SCHEMA_VERSION, Candidate, Prompt
from .datasets import CANDIDATES_PER_SHARD

PROMPTS_PER_SHARD = 16  # with 64 samples each: about a thousand responses, which a killed run loses at most


def sample_candidates(
    prompts: str | Path,
    spec: GeneratorSpec,
    out: str | Path,
    sampling: Sampling | None = None,
    *,
    prompts_per_shard: int = PROMPTS_PER_SHARD,
    part: Part | None = None,
    allow_failures: bool = False,
    force: bool = False,
    replace_finished: bool = False,
) -> dict[str, Any]:
    """Stage: `sampling.n` responses for each prompt. Returns the manifest, an empty one for a `part` of the run.

    Prompts that cannot be sampled are listed in `rejected.jsonl`; while another try may help, the stage is not
    finished, but raises InputError, unless `allow_failures`: calling it again retries only those.

    Sampled again, the candidates are the same as far as the engine is deterministic: each prompt has a seed of its
    own, from the run's and its id, where the engine takes one with a request; transformers draws a shard's samples
    from one stream, so there each shard has one.
    """
    sampling = sampling or Sampling()
    if spec.engine != "server":
        spec = replace(spec, revision=resolve_model(spec.model, spec.revision))
    rows = read_prompts(prompts)
    shards = list(batched(rows, prompts_per_shard))

    def work(folder: Path) -> dict[str, Any]:
        stored = Shards(folder, Candidate)
        compute_missing(stored, _work(spec, sampling, shards, prompts_per_shard, len(rows)), part)
        if part:
            return {}
        rejections = Rejections(folder / REJECTED)
        files, notes = write_dataset(
            folder, stored, rejections, str(prompts), per_file=CANDIDATES_PER_SHARD, allow_failures=allow_failures
        )
        totals = added(notes)
        counts = {
            "prompts": len(rows),
            "tokens": totals["tokens"],
            "marks": totals["marks"],
            "rejected": dict(rejections.counts),
        }
        # a server tells nothing of its model but the name
        model = [Origin(name=spec.model, kind="model", license=None)] if spec.engine == "server" else []
        origins = unique([*inherited(inputs), *model])
        return {**finish_dataset(folder, Candidate, "candidates", files, counts), "origins": origins}

    parameters = {**asdict(sampling), "stop": list(sampling.stop), "prompts_per_shard": prompts_per_shard}
    inputs = {"prompts": str(prompts)} | ({} if spec.engine == "server" else {"model": spec.identity()})
    return run_stage(
        out,
        "sampling",
        {**parameters, **spec.parameters()},
        inputs,
        work,
        force=force,
        replace_finished=replace_finished,
        part=part,
    )


def read_prompts(prompts: str | Path) -> list[Prompt]:
    """Raises InputError where a prompt_id stands in several rows."""
    rows: list[Prompt] = list(read_rows(prompts, Prompt))  # type: ignore[arg-type]
    repeated = [prompt_id for prompt_id, count in Counter(row["prompt_id"] for row in rows).items() if count > 1]
    if repeated:
        raise InputError(f"{prompts}: prompt_id {repeated[0]!r} stands in several rows; give each prompt one")
    return rows


def _work(
    spec: GeneratorSpec, sampling: Sampling, shards: Sequence[Sequence[Prompt]], per_shard: int, total: int
) -> Work:
    def compute(
        taken: Iterable[tuple[int, Sequence[Mapping[str, Any]]]], report: Report
    ) -> Iterator[tuple[int, list[Made]]]:
        waiting: dict[int, Sequence[Mapping[str, Any]]] = {}

        def batches() -> Iterator[Batch]:
            for index, prompts in taken:
                waiting[index] = prompts
                yield Batch(
                    index,
                    [prompt["question"] for prompt in prompts],
                    seed=sampling.seed * 1_000_003 + index,  # shards must not repeat one another's samples
                    seeds=[prompt_seed(sampling.seed, prompt["prompt_id"]) for prompt in prompts],
                )

        source = batches()
        first = next(source, None)
        if first is None:  # nothing is loaded where nothing is missing
            return
        generator = spec.make()
        try:
            for batch, answers in generator.generate(chain([first], source), sampling, report):
                pairs = zip(waiting.pop(batch.index), answers, strict=True)
                yield batch.index, [_made(prompt, some, sampling, generator) for prompt, some in pairs]
        finally:
            generator.close()

    return Work(
        name="sample",
        unit="prompts",
        total=total,
        per_shard=per_shard,
        shards=lambda: shards,
        compute=compute,
        key=prompt_key,
        count=lambda candidates: {
            "tokens": sum(row["n_tokens"] or 0 for row in candidates),
            "marks": dict(Counter(mark for row in candidates for mark in row["marks"])),
        },
        rows="responses",
        rows_per_unit=sampling.n,
    )


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


def drawn_by(
    generator: GenerationEngine | ContinuationEngine, sampling: Sampling, seed: int | None
) -> records.Generator:
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
