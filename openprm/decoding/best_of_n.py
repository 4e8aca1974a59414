"""Sample N whole answers to a prompt and choose one of them: best-of-N and votes (paper, sections 3.3 and 4.4).

    found = sample_answers(questions, generate, score, 16, "min", seeds)
    found[0].best                                       # best of 16
    vote(found[0].complete, labels)                     # majority vote
    vote(found[0].complete, labels, weighted=True)      # the same, weighted by exp(score)

With a `RejectionRule` (`openprm.decoding.early_rejection`) the answers grow a step at a time, and those that fall too
far behind are stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..engines.base import prompt_seed
from ..engines.step_requests import Extension, Generate, Score, StepRequest
from ..errors import Failure
from ..schema import Message
from .early_rejection import RejectionRule, partial_score
from .hypotheses import EMPTY, Expansion, Hypothesis, ranked
from .loop import PromptSearch, SearchResult, Watch, run
from .selection import majority_vote, weighted_vote


def sample_answers(
    questions: Sequence[Sequence[Message]],
    generate: Generate,
    score: Score | None,
    n: int,
    aggregation: str,
    seeds: Sequence[int],
    rule: RejectionRule | None = None,
    watch: Watch | None = None,
) -> list[SearchResult | Failure]:
    """For each question `n` whole answers and the best of them, or why there are none; `seeds` are one a question.

    Without a rule there is one call of `generate` and one of `score` for all prompts; each prompt's seed goes to
    `generate` as it is. Without `score` no answer has a reward, all rank alike, and the best is the first.

    With a rule all prompts go from depth to depth together, with one call of each function at every depth, until
    their answers are finished or stopped; a stopped one is not among `SearchResult.complete`.

    Raises ValueError where `n` is below 1, or the rule was calibrated for another `n` or aggregation (its risk would
    not hold) or is given without `score`.
    """
    if n < 1:
        raise ValueError(f"cannot sample {n} answers: give 1 or more")
    if rule and score is None:
        raise ValueError("early rejection goes by rewards: give a reward model")
    if rule and (rule.n_answers, rule.aggregation) != (n, aggregation):
        raise ValueError(
            f"the rule of early rejection was calibrated for {rule.n_answers} answers scored by {rule.aggregation}, "
            f"not for {n} by {aggregation}: calibrate it again"
        )
    searches = [
        _BestOfN(prompt, question, seed, n, rule)
        for prompt, (question, seed) in enumerate(zip(questions, seeds, strict=True))
    ]
    return run(searches, generate, score, aggregation, watch)


def vote(answers: Sequence[Hypothesis], labels: Sequence[str | None], weighted: bool = False) -> Hypothesis:
    """The best-ranked answer (of tied ones, the first) of those with the label that wins the vote.

    `labels` (one an answer; equal where answers are equivalent, None without a vote) and the ties are as in
    `openprm.decoding.selection`. The weights are exp(score); what was not scored to its end weighs nothing.
    Raises ValueError where there are no answers, or not as many labels.
    """
    if len(answers) != len(labels):
        raise ValueError(f"{len(labels)} labels do not belong to {len(answers)} answers")
    winner = weighted_vote(labels, [answer.weight for answer in answers]) if weighted else majority_vote(labels)
    return ranked([answer for answer, label in zip(answers, labels, strict=True) if label == winner])[0]


@dataclass
class _BestOfN(PromptSearch):
    n: int
    rule: RejectionRule | None

    def __post_init__(self) -> None:
        self.answers = dict.fromkeys(range(self.n), EMPTY)

    @property
    def _open(self) -> list[int]:
        return [i for i, answer in self.answers.items() if not answer.partial.finished]

    @property
    def open(self) -> bool:
        return bool(self._open)

    def requests(self, depth: int) -> list[StepRequest]:
        if depth == 1:
            return [StepRequest(self.question, EMPTY.partial, self.n, self.seed, whole=self.rule is None)]
        # Answers that are equal so far are extended independently: a seed depends on the answer's number.
        return [
            StepRequest(self.question, self.answers[i].partial, 1, prompt_seed(self.seed, f"{i}\0{depth}"))
            for i in self._open
        ]

    def expand(self, extensions: Sequence[Sequence[Extension]]) -> list[Expansion]:
        ways = [way for reply in extensions for way in reply]
        return [Expansion(self.prompt, self.answers[i], way.partial) for i, way in zip(self._open, ways, strict=True)]

    def prune(self, scored: Sequence[Hypothesis], depth: int) -> tuple[list[Hypothesis], int]:
        self.answers |= zip(self._open, scored, strict=True)
        rejected = self._rejected(self.rule, depth) if self.rule else []
        for i in rejected:
            del self.answers[i]
        self.stopped += len(rejected)
        return self.complete(), len(rejected)

    def complete(self) -> list[Hypothesis]:
        return list(self.answers.values())

    def _rejected(self, rule: RejectionRule, depth: int) -> list[int]:
        """Those to be stopped; a finished one costs nothing more and stays."""
        scores = [partial_score(answer.step_rewards, depth, rule.aggregation) for answer in self.answers.values()]
        kept = dict(zip(self.answers, rule.keeps(scores), strict=True))
        return [i for i in self._open if not kept[i]]
