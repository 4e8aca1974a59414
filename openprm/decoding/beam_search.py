"""Process-level beam search (paper, section 3.3) over two given functions, all prompts together at every depth.

    parameters = BeamParameters.for_budget(16)
    found = beam_search(questions, generate, score, parameters, seeds)

Every prompt keeps `beam` partial answers. At every depth each of them is extended by one step in `expand` ways,
duplicates are merged, the reward model scores the new steps, and the best are kept, until all are finished.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from ..engines.base import prompt_seed
from ..engines.step_requests import Extension, Generate, Score, StepRequest
from ..errors import Failure
from ..schema import Message
from ..scoring.aggregation import AGGREGATIONS, DEFAULT_AGGREGATION
from .hypotheses import EMPTY, Expansion, Hypothesis, ranked
from .loop import PromptSearch, SearchResult, Watch, run


@dataclass(frozen=True)
class BeamParameters:
    """How wide and how deep to search.

    beam: partial answers kept, a prompt
    expand: ways in which each of them is extended at a depth; the first depth samples beam * expand
    aggregation: of the step rewards, see `openprm.scoring.aggregation`
    groups: the beam is split into so many sub-beams, each with its own first depth, that never compete (diverse
        search; as many groups as beams is "DVTS")
    max_steps: depths; what is unfinished then is cut with the finish reason "length"
    """

    beam: int
    expand: int
    aggregation: str = DEFAULT_AGGREGATION
    groups: int = 1
    max_steps: int = 64

    def __post_init__(self) -> None:
        if min(self.beam, self.expand, self.groups, self.max_steps) < 1:
            raise ValueError("beam, expand, groups and max_steps are at least 1")
        if self.beam % self.groups:
            raise ValueError(f"a beam of {self.beam} cannot be split into {self.groups} equal groups")
        if self.aggregation not in AGGREGATIONS:
            raise ValueError(f"unknown aggregation {self.aggregation!r}; choose one of {', '.join(AGGREGATIONS)}")

    @classmethod
    def for_budget(cls, n: int, aggregation: str = DEFAULT_AGGREGATION, diverse: bool = False) -> BeamParameters:
        """The search that generates about as much as best-of-`n` does: a beam of sqrt(n), rounded down.

        `width` of the result says how much of `n` is used where it is no square. Raises ValueError where `n` is
        below 1.
        """
        if n < 1:
            raise ValueError(f"a budget of {n} buys no answer: give 1 or more")
        beam = math.isqrt(n)
        return cls(beam, n // beam, aggregation, groups=beam if diverse else 1)

    @property
    def width(self) -> int:
        """The most extensions of one prompt at one depth: the N of the best-of-N that costs as much."""
        return self.beam * self.expand


def beam_search(
    questions: Sequence[Sequence[Message]],
    generate: Generate,
    score: Score,
    parameters: BeamParameters,
    seeds: Sequence[int],
    watch: Watch | None = None,
) -> list[SearchResult | Failure]:
    """For each question the best answer found, or why there is none; `seeds` are one a question.

    At every depth there is one call of `generate` and at most one of `score`, for all prompts. A prompt's result does
    not depend on what stands beside it, as far as that holds for the two functions.

    A finished answer keeps its place in the beam, by its score, and is not extended. Better ones may take the place,
    yet it stays among those that the best is chosen from in the end. Duplicates (the same text, finished or not) are
    merged within a sub-beam. A prompt is done when all it keeps is finished, or after `max_steps`. What cannot be
    scored to its end ranks last (`openprm.decoding.hypotheses.Hypothesis`); which failures end a prompt, see
    `openprm.decoding.loop.run`.
    """
    searches = [
        _BeamSearch(prompt, question, seed, parameters)
        for prompt, (question, seed) in enumerate(zip(questions, seeds, strict=True))
    ]
    return run(searches, generate, score, parameters.aggregation, watch, parameters.max_steps)


@dataclass
class _SubBeam:
    """What is kept, best first, and every finished answer it came by."""

    kept: list[Hypothesis] = field(default_factory=lambda: [EMPTY])
    complete: list[Hypothesis] = field(default_factory=list)

    @property
    def open(self) -> list[Hypothesis]:
        return [answer for answer in self.kept if not answer.partial.finished]

    def new(self, extensions: Sequence[Expansion]) -> list[Expansion]:
        """The first of each text and finished state that is not complete already."""
        known = {(answer.partial.text, True) for answer in self.complete}
        firsts: dict[tuple[str, bool], Expansion] = {}
        for extension in extensions:
            firsts.setdefault((extension.partial.text, extension.partial.finished), extension)
        return [extension for state, extension in firsts.items() if state not in known]

    def select(self, scored: Sequence[Hypothesis], size: int) -> int:
        """Keeps the best of the finished and the new; returns how many were not kept."""
        self.complete += [answer for answer in scored if answer.partial.finished]
        pool = [answer for answer in self.kept if answer.partial.finished] + list(scored)
        self.kept = ranked(pool)[:size]
        return len(pool) - len(self.kept)


@dataclass
class _BeamSearch(PromptSearch):
    parameters: BeamParameters

    def __post_init__(self) -> None:
        self.beams = [_SubBeam() for _ in range(self.parameters.groups)]
        self.size = self.parameters.beam // self.parameters.groups

    @property
    def open(self) -> bool:
        return any(beam.open for beam in self.beams)

    def requests(self, depth: int) -> list[StepRequest]:
        n = self.parameters.expand * (self.size if depth == 1 else 1)
        # A seed depends on the text, not on its rank, which may depend on a reward's last bits.
        return [
            StepRequest(self.question, answer.partial, n, prompt_seed(self.seed, f"{group}\0{answer.partial.text}"))
            for group, beam in enumerate(self.beams)
            for answer in beam.open
        ]

    def expand(self, extensions: Sequence[Sequence[Extension]]) -> list[Expansion]:
        replies = iter(extensions)
        self._expansions = []
        for beam in self.beams:
            every = [Expansion(self.prompt, parent, way.partial) for parent in beam.open for way in next(replies)]
            self._expansions.append(beam.new(every))
        return list(chain.from_iterable(self._expansions))

    def prune(self, scored: Sequence[Hypothesis], depth: int) -> tuple[list[Hypothesis], int]:
        remaining = iter(scored)
        dropped = 0
        for beam, expansions in zip(self.beams, self._expansions, strict=True):
            dropped += beam.select(list(islice(remaining, len(expansions))), self.size)
        return [answer for beam in self.beams for answer in beam.kept], dropped

    def complete(self) -> list[Hypothesis]:
        return [answer for beam in self.beams for answer in [*beam.complete, *map(_cut, beam.open)]]


def _cut(answer: Hypothesis) -> Hypothesis:
    """What is unfinished at the end, finished as it stands."""
    return replace(answer, partial=replace(answer.partial, finish_reason="length"))
