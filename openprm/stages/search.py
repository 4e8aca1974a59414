"""The stage that answers prompts by searching with a process reward model (paper, sections 3.3 and 5.2).

All prompts of a shard are searched together, and finished shards are kept: see `openprm.runs.shards`. The answers are
candidates, with what was searched and what that cost beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..decoding.early_rejection import RejectionRule, ScoredSamples, StepRewards, calibrate
from ..decoding.loop import SearchResult
from ..decoding.methods import Method
from ..decoding.searcher import Searcher, check, with_defaults
from ..engines.base import prompt_seed
from ..engines.specs import RewardSpec
from ..errors import Failure, InputError
from ..evaluation.data import scored_by
from ..rewards.answer_equivalence import DEFAULT_EQUIVALENCE
from ..rewards.exact_answer import DEFAULT_PATTERN
from ..runs.declaration import execution, input_path, parameter
from ..runs.folder import read_rows
from ..runs.manifest import describe_input, resolve_model
from ..runs.progress import Report
from ..runs.shards import Items, Made
from ..schema import SCHEMA_VERSION, Answer, Scored
from .sample import drawn_by
from .sharded import Sharded, work_on_prompts
from .shared_options import Samples, engine_parameters, spec_of

PROMPTS_PER_SHARD = 64  # searched together: with a budget of 16 about a thousand sequences, which fill an engine


@dataclass(frozen=True, kw_only=True)
class Search(Samples, Sharded, kind="search"):
    """Answer prompts with a process reward model: best of N, beam search over steps, votes.

    Separator and aggregation are the reward model's own, where it records them, if they are left out. Each prompt has
    a seed of its own, from the run's and its id. The manifest counts prompts
    answered, generated and scored tokens, extensions merged as duplicates, answers stopped by early rejection, and
    answers chosen though the reward model did not read them to their end (`truncated_scores`).
    """

    model: str = input_path("Language model: a folder or a Hub id.", argument=True)
    prompts: str | None = input_path(
        "Prompts: a JSONL, CSV or Parquet file, a folder of `openprm prompts`, or a dataset.", None, argument=True
    )
    prm: str | None = input_path("Process reward model: a folder, a Hub id, or its name on the servers.", None)
    method: str = parameter("best-of-n, pbs (beam search), diverse-pbs, majority-vote or weighted-vote.", "best-of-n")
    budget: int = parameter(
        "N answers; a beam search keeps sqrt(N) of N at each step (rounded down): 16 is the paper's PBS@4.", 16
    )
    aggregation: str | None = parameter("min, mean, last, ...; default: the reward model's own.", None)
    separator: str | None = parameter("Where steps end; default: the reward model's own.", None, escapes=True)
    early_rejection: float | None = parameter(
        "Risk R: stop hopeless answers, and the best answer of at most this share of the prompts, on average over "
        "calibrations.",
        None,
    )
    calibration: str | None = input_path(
        "Scores (`openprm score`, by the same model) of other prompts for early rejection to calibrate on, with as "
        "many responses each as the budget, sampled alike; at least 4 / R prompts.",
        None,
    )
    equivalence: str = parameter("Which answers are equal in a vote: exact, option or math.", DEFAULT_EQUIVALENCE)
    answer_pattern: str = parameter("Where exact answers stand: stated, answer or re:PATTERN.", DEFAULT_PATTERN)
    prm_engine: str = parameter("transformers or vllm.", "transformers")
    prm_servers: list[str] = execution("Address of a server of it; may be repeated.", [], flag="--prm-server")
    prm_checkpoint: str | None = parameter("Its folder or id, where servers know it by another name.", None)
    prm_engine_options: dict[str, Any] = parameter("Option of its engine, NAME=VALUE.", {}, flag="--prm-option")
    prm_revision: str | None = execution("Its branch, tag or commit on the Hub.", None)
    prm_dtype: str = parameter("auto, float32, bfloat16, ...", "float32")
    prompts_per_shard: int = parameter(
        "Prompts searched together, which a killed run loses at most.",
        PROMPTS_PER_SHARD,
        above=0,
    )

    derived = ("width", "rule")

    @cached_property
    def reward_spec(self) -> RewardSpec | None:
        """The reward model and its engine, of a fixed commit where it is on the Hub."""
        if self.prm is None:
            return None
        spec: RewardSpec = spec_of(RewardSpec, self, self.prm, "prm_", checkpoint=self.prm_checkpoint)
        return replace(spec, revision=resolve_model(spec.source, spec.revision))

    @cached_property
    def settings(self) -> tuple[Method, str]:
        """The method, with its rule of early rejection calibrated, and the separator of steps."""
        method = Method(self.method, self.budget, self.aggregation, None, self.equivalence, self.answer_pattern)
        prm = self.reward_spec
        if self.early_rejection is not None or self.calibration is not None:
            if self.early_rejection is None or self.calibration is None or prm is None:
                raise InputError(
                    "early rejection needs a risk (--early-rejection), scores (--calibration) and a --prm"
                )
            rule = read_rule(self.calibration, prm, method, self.early_rejection, self.separator)
            method = replace(method, rule=rule)
        check(self.generator, prm, method, self.sampling(1), self.separator)
        return with_defaults(method, prm, self.separator)

    def inputs(self) -> dict[str, str]:
        return super().inputs() | ({"prm": self.reward_spec.identity()} if self.reward_spec else {})

    def recorded(self) -> dict[str, Any]:
        method, separator = self.settings
        found = engine_parameters(super().recorded(), bool(self.prm_servers), "prm_")
        return {**found, **{k: v for k, v in method.parameters().items() if k in (*found, *self.derived)}} | {
            "aggregation": method.aggregation,
            "separator": separator,
        }

    def work(self, folder: Path) -> Mapping[str, Any]:
        if self.prompts is None:
            raise InputError("a search needs prompts")
        described = work_on_prompts(self.named("search"), self.prompts, self.prompts_per_shard, self._compute, _count)
        return self.make_dataset(folder, described, Answer, "answers")

    def searcher(self) -> Searcher:
        """Both models, loaded."""
        method, separator = self.settings
        return Searcher.load(self.generator, self.reward_spec, method, self.sampling(1), separator)

    def _compute(self, shards: Iterable[tuple[int, Items]], report: Report) -> Iterator[tuple[int, list[Made]]]:
        with closing(self.searcher()) as searcher:
            for index, rows in shards:
                seeds = [prompt_seed(self.seed, row["prompt_id"]) for row in rows]
                found = searcher([row["question"] for row in rows], seeds, report=report)
                yield index, [_made(searcher, *one) for one in zip(rows, found, seeds, strict=True)]


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
    # a prompt's last response tells how many it has: what could not be scored, an empty one for instance, has no row
    most = max((1 + max(some) for some in found.values()), default=0)
    if most < n:
        raise InputError(f"{scores} have {most} responses to a prompt; calibrate on {n}, as many as the budget")
    assert method.aggregation is not None
    answers = [
        ScoredSamples([some.get(index, ()) for index in range(n)], method.aggregation)
        for some in found.values()
        if 1 + max(some) >= n
    ]
    try:
        return calibrate(answers, risk)
    except ValueError as error:
        raise InputError(f"{scores}: {error}") from error


def _count(rows: Items) -> dict[str, int]:
    return {
        "prompts": len(rows),
        "tokens": sum(row["generated_tokens"] for row in rows),
        **{name: sum(row[name] for row in rows) for name in ("scored_tokens", "merged", "stopped")},
        "truncated_scores": sum(None in row["step_rewards"] and "empty" not in row["marks"] for row in rows),
    }


def _made(searcher: Searcher, prompt: Mapping[str, Any], found: SearchResult | Failure, seed: int) -> Made:
    if isinstance(found, Failure):
        return Made([], found)
    best, method = found.best, searcher.method
    steps, rewards = (found.steps, found.step_rewards) if method.uses_rewards else ((), ())
    answer = Answer(
        schema_version=SCHEMA_VERSION,
        prompt_id=prompt["prompt_id"],
        source=prompt["source"],
        question=prompt["question"],
        reference=prompt["reference"],
        response=found.text,
        sample_index=0,
        generator=drawn_by(searcher.step_generator.engine, searcher.step_generator.sampling, seed),
        finish_reason=best.partial.finish_reason,
        n_tokens=len(best.partial.tokens),
        rewards=[],
        marks=["truncated"] * (best.partial.finish_reason == "length") + ["empty"] * (not found.text.strip()),
        steps=list(steps),
        step_rewards=[*rewards, *[None] * (len(steps) - len(rewards))],
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
