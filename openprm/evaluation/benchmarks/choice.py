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
from ...decoding.selection import coverage, expected_best_of_n, expected_vote
from ...errors import Failure, InputError
from ...rewards.answer_equivalence import labels
from ...rewards.base import RewardBatch, Rewarder
from ...rewards.registry import GOLDEN, make_rewarder
from ...runs.folder import is_folder
from ...runs.shards import prompt_key
from ...schema import Candidate
from ..abstention import PART, abstention
from ..accuracy import PromptCandidates
from ..bootstrap import Statistic, mean
from ..pair_accuracy import better_over_worse
from ..scaling import curve_sizes
from ..strength import STRONGEST, by_tier, known_models, strongest, tiers
from ..subset_votes import random_subsets, vote_in
from .declaration import Benchmark
from .items import Item, Measured, Response

#: Numbers of choices within tiers of models (see `openprm.evaluation.strength`), as a subset.
EQUALS = "models of equal strength"
_SCORE = ""  # the one scorer of the prompts here
_SUBSETS = 200  # that a vote among fewer than N is measured on

#: How correct a choice among `n` of a prompt's candidates is.
Choose = Callable[[PromptCandidates, int], float]


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

    def place(self, data: str | Path | None = None) -> str:
        """As of every benchmark; where only prompts are known, raises InputError with the commands to sample."""
        try:
            return super().place(data)
        except InputError:
            if self.name not in BENCHMARK_PROMPTS:
                raise
            raise InputError(
                f"candidates of {self.name!r} are your own; sample them: openprm prompts --declared {self.name} --out "
                f"prompts; openprm sample prompts --model MODEL --n {self.n} --out candidates; and give them: --on "
                f"{self.name}=candidates"
            ) from None

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        parts = [field.name for field in fields(Columns)]
        if unknown := [part for part in columns if part not in parts]:
            raise ValueError(f"there is no part {unknown[0]!r}; there are {', '.join(parts)}")
        return columns

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
            else:
                some, question = drawn(rows, self.n), rows[0]["question"]
                responses = tuple(Response(row["response"]) for row in some)
                yield Item(prompt_id, question, responses, question_id(question), {"candidates": some})

    def _source(self, place: str) -> CandidateSource:
        if is_folder(place):
            return CandidateSource(place)
        columns = Columns(**{"reward": None, **self.columns})  # type: ignore[arg-type]
        split = None if Path(place).is_file() else self.split
        questions = self.questions
        if questions is not None and Path(place).is_file():
            beside = Path(place).with_name(Path(questions).name)
            if not beside.is_file():
                raise InputError(f"{beside}: there is no such file, with the questions to {place}; put it there")
            questions = str(beside)
        return CandidateSource(place, columns, split, self.where, questions, self.options, reward_name=GOLDEN)

    def graded(self, items: Iterable[Item]) -> Iterator[Item | Failure]:
        """With facts: how `correct` each candidate is, its answer (None without one), its model, and the `subset`."""
        rule = make_rewarder(self.by, name=GOLDEN)[0] if self.by else None
        for item in items:
            rows = item.facts["candidates"]
            try:
                correct = _correct(rows, rule)
            except Failure as failure:
                yield failure.at(prompt_key(rows[0]))
                continue
            texts = [row["response"] for row in rows]
            equal = self.equivalence
            facts = {
                "correct": correct,
                "answers": labels(texts, equal, question=item.question) if equal else [None] * len(rows),
                "models": [row["generator"]["model"] for row in rows],
                "subset": rows[0]["source"],
            }
            yield replace(item, facts=facts)

    def statistics(self, measured: Measured) -> Iterator[Statistic]:
        """Best of N and of fewer, right against wrong answers of one prompt, and the vote weighted by exp(score)."""
        items, prompts = measured.items, prompts_of(measured.items, measured.scores())
        yield from self._choice(items, prompts, _best)
        yield from self._curve(prompts, _best)
        yield from _pair_accuracy(items, prompts)
        if self.equivalence:
            yield from self._choice(items, prompts, _vote, "weighted vote")

    def references(self, items: Sequence[Item]) -> dict[str, list[Statistic]]:
        """A single sample, the shortest answer (the longest is the baseline by length), the vote, coverage, and the
        answer of the model that is strongest on the other prompts."""
        prompts = prompts_of(items)
        models = known_models([item.facts["models"] for item in items])
        ways: dict[str, Choose] = {
            "single sample": lambda prompt, n: fmean(prompt["correct"]),
            "shortest response": _shortest,
            "coverage": lambda prompt, n: coverage(prompt["correct"], n),
        }
        found = {name: [*self._choice(items, prompts, way)] for name, way in ways.items()}
        found["coverage"] += self._curve(prompts, ways["coverage"])
        if self.equivalence:
            found["majority vote"] = [
                *self._choice(items, prompts, _vote),
                *self._curve(prompts, _vote_among),
                *self._choice(items, prompts, _vote, "weighted vote"),
            ]
            if PART in self.probes:
                agreement, risk = [_agreement(one) for one in prompts], [1 - _vote(one, 0) for one in prompts]
                found["majority vote"] += abstention(
                    prompts, agreement, risk, [[1.0] * len(one["correct"]) for one in prompts]
                )
        if models:
            found[STRONGEST] = _by_subset(self.headline, items, strongest(prompts, models))
        return found

    def _choice(
        self, items: Sequence[Item], prompts: Sequence[PromptCandidates], choose: Choose, name: str = ""
    ) -> Iterator[Statistic]:
        """Of a choice among all candidates: the whole, each subset, and among models of equal strength: the mean over
        the tiers of models of which at least two answered the prompt."""

        def all_of(prompt: PromptCandidates) -> float:
            return choose(prompt, len(prompt["correct"]))

        name = name or self.headline
        yield from _by_subset(name, items, [all_of(prompt) for prompt in prompts])
        if models := known_models([item.facts["models"] for item in items]):
            parts = by_tier(prompts, models, tiers(prompts, models))
            yield from _there(name, [fmean(map(all_of, some)) if some else np.nan for some in parts], EQUALS)

    def _curve(self, prompts: Sequence[PromptCandidates], choose: Choose) -> Iterator[Statistic]:
        """With 1, 2, 4, ... N candidates, or all where there are fewer (paper, figure 3)."""
        for n in curve_sizes(max(len(prompt["correct"]) for prompt in prompts)):
            values = [choose(prompt, min(n, len(prompt["correct"]))) for prompt in prompts]
            yield Statistic(f"{self.headline}@{n}", *mean(values))


def drawn(rows: Sequence[Candidate], n: int) -> list[Candidate]:
    """`n` of a prompt's candidates, or all: the first by a hash of model, text and how often that came before."""
    seen: Counter[str] = Counter()
    ranked = []
    for row in rows:
        text = f"{row['prompt_id']}\0{row['generator']['model']}\0{row['response']}"
        key = f"{text}\0{seen[text]}".encode()
        seen[text] += 1
        ranked.append((hashlib.blake2b(key, digest_size=8).digest(), row))
    return [row for _, row in sorted(ranked, key=lambda one: one[0])[:n]]


def prompts_of(items: Sequence[Item], scores: Sequence[Sequence[float]] | None = None) -> list[PromptCandidates]:
    """The candidates of each item with their scores, all equal where there are none."""
    return [
        PromptCandidates(
            responses=[response.text for response in item.responses],
            correct=item.facts["correct"],
            answers=item.facts["answers"],
            scores={_SCORE: of_item},
        )
        for item, of_item in zip(items, scores or [[0.0] * len(item.responses) for item in items], strict=True)
    ]


def _correct(rows: Sequence[Candidate], rule: Rewarder | None) -> list[float]:
    """How correct each candidate is, by the rule or by the reward that it has. Raises Failure."""
    if rule is not None:
        ((_, results),) = rule.rewards([RewardBatch(0, rows)])
        for result in results:
            if result.reward is None:
                raise result.failure or Failure("a candidate has no reward", "see the rule")
        return [result.reward["value"] for result in results if result.reward]
    found = []
    for row in rows:
        rewards = {reward["name"]: reward["value"] for reward in row["rewards"]}
        if GOLDEN not in rewards and len(rewards) != 1:
            raise Failure(f"a candidate has no reward {GOLDEN!r}", "give it one: openprm reward")
        found.append(rewards.get(GOLDEN, next(iter(rewards.values()))))
    return found


def _best(prompt: PromptCandidates, n: int) -> float:
    return expected_best_of_n(prompt["scores"][_SCORE], prompt["correct"], n)


def _shortest(prompt: PromptCandidates, n: int) -> float:
    return expected_best_of_n([-len(response) for response in prompt["responses"]], prompt["correct"], n)


def _vote(prompt: PromptCandidates, n: int) -> float:
    return expected_vote(prompt["answers"], prompt["correct"], prompt["scores"][_SCORE])


def _agreement(prompt: PromptCandidates) -> float:
    """The share of the candidates whose answer wins the vote."""
    answers = [answer for answer in prompt["answers"] if answer is not None]
    return max(Counter(answers).values(), default=0) / len(prompt["answers"])


def _vote_among(prompt: PromptCandidates, n: int) -> float:
    """The mean over random subsets; there is no formula."""
    available = len(prompt["correct"])
    if n in (1, available):
        return fmean(prompt["correct"]) if n == 1 else _vote(prompt, n)
    subsets = random_subsets(available, n, _SUBSETS, np.random.default_rng([available, n]))
    scores = np.array([prompt["scores"][_SCORE]], dtype=float)
    return float(vote_in(subsets, prompt["answers"], prompt["correct"], scores).mean())


def _pair_accuracy(items: Sequence[Item], prompts: Sequence[PromptCandidates]) -> Iterator[Statistic]:
    name = "pair accuracy"
    values = [better_over_worse(prompt["scores"][_SCORE], prompt["correct"]) for prompt in prompts]
    yield from _by_subset(name, items, values)
    models = known_models([item.facts["models"] for item in items])
    of = {model: number for number, tier in enumerate(tiers(prompts, models) if models else ()) for model in tier}
    if of:
        yield from _there(
            name,
            [
                better_over_worse(prompt["scores"][_SCORE], prompt["correct"], [of[model] for model in names])
                for prompt, names in zip(prompts, models, strict=True)
            ],
            EQUALS,
        )


def _by_subset(name: str, items: Sequence[Item], values: Sequence[float]) -> list[Statistic]:
    """The mean over all prompts, and over those of each subset where there are several."""
    subsets = [item.facts["subset"] for item in items]
    found = [Statistic(name, *mean(values))]
    for subset in sorted(set(subsets)) if len(set(subsets)) > 1 else ():
        of_subset = [value if one == subset else np.nan for value, one in zip(values, subsets, strict=True)]
        found += _there(name, of_subset, subset)
    return found


def _there(name: str, values: Sequence[float], subset: str) -> list[Statistic]:
    """The mean of a subset, if it has a value at all."""
    of, n = mean(values)
    return [Statistic(name, of, n, subset)] if n else []
