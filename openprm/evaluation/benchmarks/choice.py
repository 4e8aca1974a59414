"""Benchmarks of choices among the candidates of a prompt (paper, sections 4.4 and 5.2, table 3 and figure 3)."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from pydantic import Field, field_validator

from ...data.benchmark_prompts import BENCHMARK_PROMPTS
from ...data.candidates import CandidateSource
from ...data.columns import Columns
from ...data.values import question_id
from ...decoding.selection import best_of_n, expected_best_of_n, expected_vote, has_weights
from ...errors import Failure, InputError
from ...rewards.answer_equivalence import labels
from ...rewards.base import RewardBatch, Rewarder
from ...rewards.registry import GOLDEN, make_rewarder
from ...runs.declaration import nearest
from ...runs.folder import is_folder
from ...runs.shards import prompt_key
from ...schema import Candidate
from ...scoring.aggregation import score_unit
from ...scoring.units import DEFAULT_UNIT
from ..accuracy import PromptCandidates, unit_of
from ..bootstrap import Statistic, mean
from ..pair_accuracy import better_over_worse
from ..scaling import curve_sizes
from ..strength import STRONGEST, by_tier, known_models, strongest, tiers
from .declaration import Benchmark
from .items import Item, Measured, Response

#: Numbers of choices within tiers of models (see `openprm.evaluation.strength`), as a subset.
EQUALS = "models of equal strength"
_PARTS = [field.name for field in fields(Columns)]


class Choice(Benchmark, kind="choice"):
    """Candidates of each prompt, of which the one with the highest score is chosen: best of N.

    columns: of `openprm.data.columns.Columns`; its `source` is the subset. questions: a second file, beside the
    candidates, with the questions by prompt id, and `options`, its column with lists of answer options. by: the rule
    that rewards candidates (see `openprm reward --by`); else they have a reward. equivalence: which answers are equal
    in a vote (see `openprm.rewards.answer_equivalence.labels`); without one there are no votes. n: where a prompt has
    more candidates, so many are drawn by a hash. A folder that a stage wrote is read as it is.
    """

    questions: str | None = None
    options: str | None = None
    by: str | None = None
    equivalence: str | None = None
    n: int = Field(16, ge=2)

    @field_validator("columns")
    @classmethod
    def _known_parts(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := [part for part in columns if part not in _PARTS]:
            raise ValueError(f"there is no part {unknown[0]!r}{nearest(unknown[0], _PARTS)}")
        return columns

    def place(self, data: str | Path | None = None) -> str:
        """As of every benchmark; where only prompts are known, raises InputError with the commands to sample."""
        if self.name in BENCHMARK_PROMPTS:
            raise InputError(
                f"candidates are your own: openprm prompts --declared {self.name} --out prompts; openprm sample "
                f"prompts --model MODEL --n {self.n} --out candidates; and give them: --on {self.name}=candidates"
            )
        return super().place(data)

    def read(self, place: str) -> Iterator[Item | Failure]:
        """One item a prompt, with all its candidates. A prompt with one candidate is a failure."""
        prompts: dict[str, list[Candidate]] = defaultdict(list)
        for row in self._source(place).read():
            if isinstance(row, Failure):
                yield row
            else:
                prompts[row["prompt_id"]].append(row)
        for prompt_id, rows in prompts.items():
            if len(rows) < 2:
                yield Failure("it has one candidate", "sample more, to choose among", key=prompt_key(rows[0]))
                continue
            some, question = drawn(rows, self.n), rows[0]["question"]
            texts = tuple(Response(row["response"]) for row in some)
            yield Item(prompt_id, question, texts, question_id(question), {"candidates": some})

    def beside(self, place: str) -> str | None:
        if self.questions is None or not Path(place).is_file():
            return None
        file = Path(place).with_name(self.questions)
        if not file.is_file():
            raise InputError(f"{file}: there is no such file, with the questions to {place}; put it there")
        return str(file)

    def _source(self, place: str) -> CandidateSource:
        if is_folder(place):
            return CandidateSource(place)
        split = None if Path(place).is_file() else self.split
        questions = self.beside(place) or self.questions
        columns = Columns(**{"reward": None, **self.columns})  # type: ignore[arg-type]
        return CandidateSource(place, columns, split, self.where, questions, self.options, reward_name=GOLDEN)

    def graded(self, items: Iterable[Item]) -> Iterator[Item | Failure]:
        """With facts: how `correct` each candidate is, its answer (None without one), its model, and the `subset`."""
        rule = make_rewarder(self.by, name=GOLDEN)[0] if self.by else None
        for item in items:
            rows, equal, texts = item.facts["candidates"], self.equivalence, [one.text for one in item.responses]
            try:
                facts = {
                    "correct": _correct(rows, rule),
                    "answers": labels(texts, equal, question=item.question) if equal else [None] * len(rows),
                    "models": [row["generator"]["model"] for row in rows],
                    "subset": rows[0]["source"],
                }
            except Failure as failure:
                yield failure.at(prompt_key(rows[0]))
            else:
                yield replace(item, facts=facts)

    def statistics(self, measured: Measured) -> Iterator[Statistic]:
        """Best of N and of fewer, right against wrong answers of one prompt, and the vote weighted by scores where
        their unit says so (`openprm.decoding.selection.log_weights`)."""
        unit = score_unit(measured.aggregation, measured.unit)
        prompts = prompts_of(measured.items, measured.scores(), unit)
        yield from self._best_of_n(measured.items, prompts)
        yield from _numbers(
            "pair accuracy", measured.items, prompts, lambda one: better_over_worse(one["scores"][""], one["correct"])
        )
        if self.equivalence and has_weights(unit):
            yield from _numbers("weighted vote", measured.items, prompts, _vote)

    def references(self, items: Sequence[Item]) -> dict[str, list[Statistic]]:
        """A single sample, the shortest answer (the longest is the baseline by length), coverage, the vote, and the
        answer of the model that is strongest on the other prompts."""
        correct, zeros = [item.facts["correct"] for item in items], [[0.0] * len(item.responses) for item in items]
        short = [[-float(len(response.text)) for response in item.responses] for item in items]
        scores = {"single sample": zeros, "shortest response": short, "coverage": correct}
        found = {name: [*self._best_of_n(items, prompts_of(items, some))] for name, some in scores.items()}
        prompts = prompts_of(items, zeros)
        if self.equivalence:
            both = [_numbers(name, items, prompts, _vote) for name in (self.headline, "weighted vote")]
            found["majority vote"] = [*both[0], *both[1]]
        if models := known_models([item.facts["models"] for item in items]):
            found[STRONGEST] = [*_by_subset(self.headline, items, strongest(prompts, models))]
        return found

    def _best_of_n(self, items: Sequence[Item], prompts: Sequence[PromptCandidates]) -> Iterator[Statistic]:
        """Also of 1, 2, 4, ... N candidates, or of all where there are fewer (paper, figure 3)."""
        yield from _numbers(self.headline, items, prompts, _best)
        for n in curve_sizes(max(len(prompt["correct"]) for prompt in prompts)):
            yield from _mean(f"{self.headline}@{n}", [_best(prompt, n) for prompt in prompts])

    def chosen(self, measured: Measured, model: str) -> list[dict[str, str]]:
        """As the package `alpaca_eval` reads a model's outputs; of tied responses the first by the hash of `drawn`."""
        return [
            {
                "instruction": item.question[-1]["content"],
                "output": item.responses[best_of_n(scores)].text,
                "generator": model,
                "dataset": item.facts["subset"],
            }
            for item, scores in zip(measured.items, measured.scores(), strict=True)
        ]


def drawn(rows: Sequence[Candidate], n: int) -> list[Candidate]:
    """`n` of a prompt's candidates, or all: the first by a hash of model, text and how often that came before."""
    seen: Counter[str] = Counter()
    ranked = []
    for row in rows:
        text = f"{row['prompt_id']}\0{row['generator']['model']}\0{row['response']}"
        ranked.append((hashlib.blake2b(f"{text}\0{seen[text]}".encode(), digest_size=8).digest(), row))
        seen[text] += 1
    return [row for _, row in sorted(ranked, key=lambda one: one[0])[:n]]


def prompts_of(
    items: Sequence[Item], scores: Sequence[Sequence[float]], unit: str = DEFAULT_UNIT
) -> list[PromptCandidates]:
    """The candidates of each item, with their scores, of this unit, as those of the scorer ""."""
    return [
        PromptCandidates(
            responses=[response.text for response in item.responses],
            correct=item.facts["correct"],
            answers=item.facts["answers"],
            scores={"": scored},
            units={"": unit},
        )
        for item, scored in zip(items, scores, strict=True)
    ]


def _correct(rows: Sequence[Candidate], rule: Rewarder | None) -> list[float]:
    """How correct each candidate is, by the rule or by the reward that it has. Raises Failure."""
    if rule is not None:
        ((_, results),) = rule.rewards([RewardBatch(0, rows)])
        for failure in (result.failure for result in results if result.failure):
            raise failure
        return [result.reward["value"] for result in results if result.reward]
    found = [{reward["name"]: reward["value"] for reward in row["rewards"]} for row in rows]
    if any(GOLDEN not in rewards and len(rewards) != 1 for rewards in found):
        raise Failure(f"a candidate has no reward {GOLDEN!r}", "give it one: openprm reward")
    return [rewards[GOLDEN] if GOLDEN in rewards else max(rewards.values()) for rewards in found]


def _best(prompt: PromptCandidates, n: int | None = None) -> float:
    correct = prompt["correct"]
    return expected_best_of_n(prompt["scores"][""], correct, min(n or len(correct), len(correct)))


def _vote(prompt: PromptCandidates) -> float:
    return expected_vote(prompt["answers"], prompt["correct"], prompt["scores"][""], unit_of(prompt, ""))


def _numbers(
    name: str, items: Sequence[Item], prompts: Sequence[PromptCandidates], choose: Callable[[PromptCandidates], float]
) -> Iterator[Statistic]:
    """The mean over prompts, those of each subset, and among models of equal strength: of a prompt the mean over the
    tiers of models that gave at least two of its candidates."""
    yield from _by_subset(name, items, [choose(prompt) for prompt in prompts])
    if models := known_models([item.facts["models"] for item in items]):
        parts = [list(map(choose, some)) for some in by_tier(prompts, models, tiers(prompts, models))]
        there = [[value for value in some if value == value] for some in parts]
        yield from _mean(name, [fmean(some) if some else np.nan for some in there], EQUALS)


def _by_subset(name: str, items: Sequence[Item], values: Sequence[float]) -> Iterator[Statistic]:
    yield from _mean(name, values)
    subsets = [item.facts["subset"] for item in items]
    for subset in sorted(set(subsets)) if len(set(subsets)) > 1 else ():
        yield from _mean(name, np.where([one == subset for one in subsets], values, np.nan), subset)


def _mean(name: str, values: Sequence[float] | np.ndarray, subset: str = "") -> list[Statistic]:
    """The mean of those that are there, if any are."""
    of, n = mean(values)
    return [Statistic(name, of, n, subset)] if n else []
