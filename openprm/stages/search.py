"""The stage that answers prompts by searching with a process reward model (paper, sections 3.3 and 5.2).

All prompts of a shard are searched together, and finished shards are kept: see `openprm.runs.shards`. The answers are
candidates, with what was searched and what that cost beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..decoding.early_rejection import RejectionRule, StepRewards, calibrate
from ..decoding.loop import SearchResult
from ..decoding.methods import Method
from ..decoding.searcher import Searcher, check, with_defaults
from ..engines.base import Sampling, prompt_seed
from ..engines.specs import GeneratorSpec, RewardSpec
from ..errors import Failure, InputError
from ..evaluation.scored_prompts import scored_by
from ..runs.dataset import Rejections, finish_dataset
from ..runs.folder import REJECTED, batched, read_rows
from ..runs.manifest import Part, describe_input, resolve_model, run_stage
from ..runs.progress import Report
from ..runs.shards import Made, Shards, Work, added, compute_missing, prompt_key, write_dataset
from ..schema import SCHEMA_VERSION, Answer, Scored
from .datasets import CANDIDATES_PER_SHARD
from .sample import drawn_by, read_prompts

PROMPTS_PER_SHARD = 64  # searched together: with a budget of 16 about a thousand sequences, which fill an engine


def generate_answers(
    prompts: str | Path,
    spec: GeneratorSpec,
    prm: RewardSpec | None,
    out: str | Path,
    method: Method,
    sampling: Sampling,
    *,
    separator: str | None = None,
    prompts_per_shard: int = PROMPTS_PER_SHARD,
    part: Part | None = None,
    allow_failures: bool = False,
    force: bool = False,
    replace_finished: bool = False,
) -> dict[str, Any]:
    """Stage: one answer to each prompt. Returns the manifest, an empty one for a `part` of the run.

    Failures are handled as in `openprm.stages.sample.sample_candidates`.
    `separator` and the method's aggregation are the reward model's own, where it records them, if they are left out;
    `sampling.n` and `sampling.stop` are not used. Each prompt has a seed of its own, from the run's and its id;
    transformers draws a whole shard from one stream.

    `counts` of the manifest: prompts answered, generated and scored tokens in all, extensions merged as duplicates,
    answers stopped by early rejection, and answers chosen though the reward model did not read them to their end
    (`truncated_scores`; their last step rewards are None). Of a budget that is no square, a beam search uses `width`
    of the parameters. Raises InputError as `openprm.decoding.searcher` does.
    """
    check(spec, prm, method, sampling)
    spec = replace(spec, revision=resolve_model(spec.model, spec.revision))
    if prm is not None:
        prm = replace(prm, revision=resolve_model(prm.source, prm.revision))
    method, separator = with_defaults(method, prm, separator)
    rows = read_prompts(prompts)
    shards = list(batched(rows, prompts_per_shard))

    def work(folder: Path) -> dict[str, Any]:
        stored = Shards(folder, Answer)
        described = _work(spec, prm, method, sampling, separator, shards, prompts_per_shard, len(rows))
        compute_missing(stored, described, part)
        if part:
            return {}
        rejections = Rejections(folder / REJECTED)
        files, notes = write_dataset(
            folder, stored, rejections, str(prompts), per_file=CANDIDATES_PER_SHARD, allow_failures=allow_failures
        )
        counts = {**added(notes), "rejected": dict(rejections.counts)}
        return finish_dataset(folder, Answer, "answers", files, counts)

    drawn = {key: value for key, value in asdict(sampling).items() if key not in ("n", "stop")}
    parameters = {
        **method.parameters(),
        **drawn,
        "separator": separator,
        "prompts_per_shard": prompts_per_shard,
        **spec.parameters(),
        **({"prm": prm.parameters()} if prm else {}),
    }
    inputs = {"prompts": str(prompts), "model": spec.identity(), **({"prm": prm.identity()} if prm else {})}
    return run_stage(
        out, "answers", parameters, inputs, work, force=force, replace_finished=replace_finished, part=part
    )


def read_rule(
    scores: str | Path, prm: RewardSpec, method: Method, risk: float, separator: str | None = None
) -> RejectionRule:
    """The rule of early rejection for a method, calibrated on scored responses of a folder of `openprm score`.

    The first `method.budget` responses to each prompt are taken. Their prompts should be of the same kind as those to
    be answered, but others, and they should be sampled in the same way: then the risk holds. `separator` is that of
    the search (default: the reward model's own).

    Raises InputError where the scores are another model's or of other steps, there are too few responses or prompts,
    or the method stops no answers.
    """
    method.check_rejection()
    method, ends = with_defaults(method, prm, separator)
    said = scored_by(scores)
    if said and said["hash"] != describe_input(prm.identity(), "model")["hash"]:
        raise InputError(f"{scores} were not given by {prm.model}; calibrate on scores of the same reward model")
    scored_ends = with_defaults(method, prm, said["parameters"].get("separator"))[1] if said else ends
    if scored_ends != ends:
        raise InputError(
            f"{scores} are of steps that end at {scored_ends!r}, and steps of the search end at {ends!r}; score those "
            "responses again, or search, with the same separator"
        )
    found: dict[str, dict[int, StepRewards]] = {}
    for row in read_rows(scores, Scored):
        found.setdefault(row["prompt_id"], {})[row["sample_index"]] = row["step_rewards"]
    n = method.budget
    # a prompt's last responses tell how many it has: what could not be scored, an empty one for instance, has no row
    sampled = {prompt_id: 1 + max(some) for prompt_id, some in found.items()}
    if max(sampled.values(), default=0) < n:
        most = max(sampled.values(), default=0)
        raise InputError(f"{scores} have {most} responses to a prompt; calibrate on {n}, as many as the budget")
    answers = [
        [some.get(index, ()) for index in range(n)] for prompt_id, some in found.items() if sampled[prompt_id] >= n
    ]
    assert method.aggregation is not None
    try:
        return calibrate(answers, method.aggregation, risk)
    except ValueError as error:
        raise InputError(f"{scores}: {error}") from error


def _work(
    spec: GeneratorSpec,
    prm: RewardSpec | None,
    method: Method,
    sampling: Sampling,
    separator: str,
    shards: Sequence[Sequence[Mapping[str, Any]]],
    per_shard: int,
    total: int,
) -> Work:
    def compute(
        taken: Iterable[tuple[int, Sequence[Mapping[str, Any]]]], report: Report
    ) -> Iterator[tuple[int, list[Made]]]:
        searcher = None
        try:
            for index, rows in taken:
                searcher = searcher or Searcher.load(spec, prm, method, sampling, separator)  # only where needed
                seeds = [prompt_seed(sampling.seed, row["prompt_id"]) for row in rows]
                found = searcher([row["question"] for row in rows], seeds, report=report)
                yield index, [_made(searcher, *one) for one in zip(rows, found, seeds, strict=True)]
        finally:
            if searcher:
                searcher.close()

    def count(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        return {
            "prompts": len(rows),
            "tokens": sum(row["generated_tokens"] for row in rows),
            "scored_tokens": sum(row["scored_tokens"] for row in rows),
            "merged": sum(row["merged"] for row in rows),
            "stopped": sum(row["stopped"] for row in rows),
            "truncated_scores": sum(None in row["step_rewards"] and "empty" not in row["marks"] for row in rows),
        }

    return Work(
        name="search",
        unit="prompts",
        total=total,
        per_shard=per_shard,
        shards=lambda: shards,
        compute=compute,
        key=prompt_key,
        count=count,
    )


def _made(searcher: Searcher, prompt: Mapping[str, Any], found: SearchResult | Failure, seed: int) -> Made:
    if isinstance(found, Failure):
        return Made([], found)
    best, method = found.best, searcher.method
    text = "".join(best.partial.steps)
    answer = Answer(
        schema_version=SCHEMA_VERSION,
        prompt_id=prompt["prompt_id"],
        source=prompt["source"],
        question=prompt["question"],
        reference=prompt["reference"],
        response=text,
        sample_index=0,
        generator=drawn_by(searcher.step_generator.engine, searcher.step_generator.sampling, seed),
        finish_reason=best.partial.finish_reason,
        n_tokens=len(best.partial.tokens),
        rewards=[],
        marks=["truncated"] * (best.partial.finish_reason == "length") + ["empty"] * (not text.strip()),
        steps=list(best.partial.steps) if method.uses_rewards else [],
        step_rewards=[*best.step_rewards, *[None] * (len(best.partial.steps) - len(best.step_rewards))]
        if method.uses_rewards
        else [],
        score=best.score if math.isfinite(best.score) else None,
        aggregation=method.aggregation,
        method=method.name,
        budget=method.budget,
        n_considered=len(found.complete),
        generated_tokens=found.generated_tokens,
        scored_tokens=found.scored_tokens,
        merged=found.merged,
        stopped=found.stopped,
    )
    return Made([answer])
