"""The stage that asks a judge for the first wrong step of each response."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..engines.base import Batch, Sampling, prompt_seed
from ..engines.openai_generator import ServerGenerator
from ..errors import Failure, InputError
from ..labels.judge import SYSTEM, asked, labels_by_judge
from ..labels.statistics import label_counts
from ..runs.declaration import execution, parameter
from ..runs.progress import Report
from ..runs.provenance import Origin, inherited, unique
from ..runs.shards import Items, Made
from ..schema import StepLabels
from ..scoring.steps import DEFAULT_SEPARATOR, split
from .sharded import Sharded, work_on_candidates
from .shared_options import ReadsCandidates

RESPONSES_PER_SHARD = 256


@dataclass(frozen=True, kw_only=True)
class JudgeSteps(ReadsCandidates, Sharded, kind="judge-steps"):
    """Label steps by a judge: a language model on servers names the first wrong step of each response.

    Asked several times, most decide. Responses without a verdict are listed; the same command resumes a killed run.
    """

    model: str = parameter("The judge's name on the servers.")
    servers: list[str] = execution("Address of an OpenAI-compatible server; may be repeated.", [], flag="--server")
    judgements: int = parameter("How often the judge is asked about each response.", 1, above=0)
    max_new_tokens: int = parameter("Longest judgement, in tokens.", 2048, above=0)
    separator: str = parameter("Where steps end.", DEFAULT_SEPARATOR, escapes=True)
    seed: int = parameter("Seed of the judgements.", 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        split("", self.separator)  # raises for an invalid one

    @cached_property
    def _sampling(self) -> Sampling:
        return Sampling(
            n=self.judgements,
            temperature=float(self.judgements > 1),
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
            system_prompt=SYSTEM,
        )

    def recorded(self) -> dict[str, Any]:
        return super().recorded() | {"prompt": SYSTEM}

    def work(self, folder: Path) -> Mapping[str, Any]:
        if not self.servers:
            raise InputError("a judge needs the servers that it answers from: --server")
        source = self.candidate_source(rewards=False)
        described = work_on_candidates("judge", source, RESPONSES_PER_SHARD, self._compute, label_counts)
        unusable = source.failures()
        result = self.make_dataset(folder, described, StepLabels, "labels", strict=self.strict, unusable=unusable)
        judge = Origin(name=self.model, kind="model", license=None)  # of a model on servers only the name is known
        return {**result, "origins": unique([*inherited(self.inputs()), judge])}

    def _compute(self, shards: Iterable[tuple[int, Items]], report: Report) -> Iterator[tuple[int, list[Made]]]:
        waiting: dict[int, tuple[Items, list[list[str]]]] = {}

        def batches() -> Iterator[Batch]:
            for index, rows in shards:
                parts = [split(row["response"], self.separator) for row in rows]
                waiting[index] = rows, parts
                questions = [asked(row, steps) for row, steps in zip(rows, parts, strict=True)]
                yield Batch(index, questions, [prompt_seed(self.seed, one[0]["content"]) for one in questions])

        def counted(rows: float, tokens: int) -> None:
            report(rows / self.judgements, tokens)

        # a verdict is read in what the judge says, not in what it thinks before
        with closing(ServerGenerator(self.servers, self.model, reasoning="")) as generator:
            for batch, answers in generator.generate(batches(), self._sampling, counted):
                made = []
                for row, steps, answer in zip(*waiting.pop(batch.index), answers, strict=True):
                    try:
                        made.append(Made([labels_by_judge(row, steps, answer, self.model)]))
                    except Failure as failure:
                        made.append(Made([], failure))
                yield batch.index, made
