"""The ways to spend a budget of N answers on a prompt, by name: what `openprm search --method` offers.

results = Method("pbs", budget=16, aggregation="min").run(questions, generate, score, seeds)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..engines.step_requests import Generate, Score
from ..errors import Failure, InputError
from ..rewards.answer_equivalence import DEFAULT_EQUIVALENCE, EQUIVALENCES, labels
from ..rewards.exact_answer import DEFAULT_PATTERN, extract_answer
from ..schema import Message
from ..scoring.aggregation import AGGREGATIONS, score_unit
from ..scoring.units import DEFAULT_UNIT
from .beam_search import BeamSearch, BeamShape
from .best_of_n import BestOfN, vote
from .early_rejection import RejectionRule
from .loop import PromptSearch, SearchResult, Watch, run
from .selection import log_weights

MAJORITY, WEIGHTED = "majority-vote", "weighted-vote"
BEAMS = ("pbs", "diverse-pbs")
METHODS = ("best-of-n", *BEAMS, MAJORITY, WEIGHTED)


@dataclass(frozen=True)
class Method:
    """How to search an answer.

    name: one of `METHODS`. "pbs" is process-level beam search (paper, section 3.3), "diverse-pbs" the same with
        independent sub-beams; the others sample whole answers and choose one
    budget: N: answers sampled, or extensions of a prompt at each step of a beam search (sqrt(N) beams)
    aggregation: of step rewards to a score; none for the majority vote, which needs no reward model
    rule: of early rejection, for best-of-n
    equivalence, pattern: which answers are the same in a vote (see `openprm.rewards.answer_equivalence`)

    Raises InputError for what does not fit together.
    """

    name: str = "best-of-n"
    budget: int = 16
    aggregation: str | None = None
    rule: RejectionRule | None = None
    equivalence: str = DEFAULT_EQUIVALENCE
    pattern: str = DEFAULT_PATTERN

    def __post_init__(self) -> None:
        for what, chosen, known in (
            ("method", self.name, METHODS),
            ("equivalence", self.equivalence, EQUIVALENCES),
            ("aggregation", self.aggregation, (None, *AGGREGATIONS)),
        ):
            if chosen not in known:
                raise InputError(f"unknown {what} {chosen!r}; choose one of {', '.join(filter(None, known))}")
        if self.budget < 1:
            raise InputError(f"a budget of {self.budget} buys no answer; give 1 or more")
        if self.aggregation is not None and not self.uses_rewards:
            raise InputError(f"a {self.name} counts answers, not rewards; leave the aggregation out")
        if self.votes and self.equivalence == "exact":
            extract_answer("", self.pattern)  # raises for a pattern that cannot be read
        if self.rule:
            self.check_rejection()
            made = self.rule.n_answers, self.rule.aggregation
            if made != (self.budget, self.aggregation or self.rule.aggregation):
                raise InputError(
                    f"the rule of early rejection was calibrated for {made[0]} answers scored by {made[1]}, not for "
                    f"{self.budget} by {self.aggregation}: calibrate it again"
                )

    def check_rejection(self) -> None:
        """Raises InputError where it cannot have a rule of early rejection."""
        if self.name != "best-of-n":
            raise InputError(f"early rejection is for best-of-n, not for {self.name}")

    def check_unit(self, unit: str) -> None:
        """Raises ValueError where it cannot take step rewards of this unit."""
        of_scores = score_unit(self.aggregation, unit) if self.aggregation else unit
        if self.name == WEIGHTED:
            log_weights([], of_scores)

    @property
    def uses_rewards(self) -> bool:
        return self.name != MAJORITY

    @property
    def votes(self) -> bool:
        return self.name in (MAJORITY, WEIGHTED)

    @property
    def beam(self) -> BeamShape | None:
        """Of a beam search."""
        return BeamShape.for_budget(self.budget, diverse=self.name == "diverse-pbs") if self.name in BEAMS else None

    def run(
        self,
        questions: Sequence[Sequence[Message]],
        generate: Generate,
        score: Score | None,
        seeds: Sequence[int],
        watch: Watch | None = None,
        unit: str = DEFAULT_UNIT,
    ) -> list[SearchResult | Failure]:
        """For each question what was found, or why nothing was; `seeds` are one a question, `unit` of the rewards.

        `best` of the result is the method's choice: of votes, the highest-ranked answer among those that say what won.
        All prompts are searched together, see `openprm.decoding.loop.run`.
        """
        if self.uses_rewards and self.aggregation is None:
            raise InputError(f"{self.name} needs an aggregation, such as the reward model's own")
        searches = [self._search(question, seed) for question, seed in zip(questions, seeds, strict=True)]
        return [
            self._vote(found, question, unit) if self.votes and isinstance(found, SearchResult) else found
            for found, question in zip(run(searches, generate, score, watch), questions, strict=True)
        ]

    def parameters(self) -> dict[str, Any]:
        """What a result is determined by."""
        return {
            "method": self.name,
            "budget": self.budget,
            "aggregation": self.aggregation,
            **({"width": self.beam.width} if self.beam else {}),
            **({"equivalence": self.equivalence, "pattern": self.pattern} if self.votes else {}),
            **({"rule": asdict(self.rule)} if self.rule else {}),
        }

    def _search(self, question: Sequence[Message], seed: int) -> PromptSearch:
        if self.beam:
            return BeamSearch(question, seed, self.aggregation, self.beam)
        return BestOfN(question, seed, self.aggregation, self.budget, self.rule)

    def _vote(self, found: SearchResult, question: Sequence[Message], unit: str) -> SearchResult:
        responses = [answer.partial.text for answer in found.complete]
        by_answer = labels(responses, self.equivalence, self.pattern, question)
        return replace(found, best=vote(found.complete, by_answer, self._vote_unit(unit)))

    def _vote_unit(self, unit: str) -> str | None:
        return score_unit(self.aggregation, unit) if self.name == WEIGHTED and self.aggregation else None
