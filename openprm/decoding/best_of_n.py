"""Sample N whole answers to a prompt and choose one of them: best-of-N and votes (paper, sections 3.3 and 4.4).

With a `RejectionRule` (`openprm.decoding.early_rejection`) the answers grow a step at a time, and those that fall too
far behind are stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from ..engines.base import prompt_seed
from ..engines.step_requests import Extension, StepRequest
from .early_rejection import RejectionRule, partial_score
from .hypotheses import EMPTY, Expansion, Hypothesis, ranked
from .loop import PromptSearch
from .selection import majority_vote, weighted_vote


def vote(answers: Sequence[Hypothesis], labels: Sequence[str | None], unit: str | None = None) -> Hypothesis:
    """The best-ranked answer of those with the label that wins the vote.

    `labels` (one an answer; equal where answers are equivalent, None without a vote) and the ties are as in
    `openprm.decoding.selection`. With the `unit` of the scores, votes are weighted by them (see `log_weights`); what
    was not scored to its end weighs nothing. Raises ValueError where there are no answers, or not as many labels.
    """
    scores = [answer.weight for answer in answers]
    winner = majority_vote(labels) if unit is None else weighted_vote(labels, scores, unit)
    return ranked([answer for answer, label in zip(answers, labels, strict=True) if label == winner])[0]


@dataclass
class BestOfN(PromptSearch):
    """`n` whole answers to one prompt, in one request with its seed as it is; by default the best one is chosen.

    With a rule each answer grows by itself, with a seed for each depth, until it is finished or stopped; a stopped
    one is not among the `complete`.
    """

    n: int
    rule: RejectionRule | None = None

    def __post_init__(self) -> None:
        self.answers = dict.fromkeys(range(self.n), EMPTY)

    @property
    def _open(self) -> list[int]:
        return [i for i, answer in self.answers.items() if not answer.partial.finished]

    def requests(self, depth: int) -> list[StepRequest]:
        if depth == 1:
            return [StepRequest(self.question, EMPTY.partial, self.n, self.seed, whole=self.rule is None)]
        # Answers that are equal so far are extended independently: a seed depends on the answer's number.
        return [
            StepRequest(self.question, self.answers[i].partial, 1, prompt_seed(self.seed, f"{i}\0{depth}"))
            for i in self._open
        ]

    def expand(self, extensions: Sequence[Sequence[Extension]]) -> list[Expansion]:
        ways = zip(self._open, chain.from_iterable(extensions), strict=True)
        return [Expansion(self.answers[i], way.partial) for i, way in ways]

    def prune(self, scored: Sequence[Hypothesis], depth: int) -> tuple[list[Hypothesis], int]:
        self.answers |= zip(self._open, scored, strict=True)
        dropped = 0
        if self.rule:
            scores = [partial_score(one.step_rewards, depth, self.rule.aggregation) for one in self.complete()]
            for (i, answer), keep in zip(list(self.answers.items()), self.rule.keeps(scores), strict=True):
                if not keep and not answer.partial.finished:  # a finished one costs nothing more
                    del self.answers[i]
                    dropped += 1
        self.stopped += dropped
        return self.complete(), dropped

    def complete(self) -> list[Hypothesis]:
        return list(self.answers.values())
