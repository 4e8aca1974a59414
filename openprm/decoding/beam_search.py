"""Process-level beam search (paper, section 3.3).

A prompt keeps a beam of partial answers. At every depth each of them is extended by one step in several ways,
duplicates are merged, the reward model scores the new steps, and the best are kept, until all are finished.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from ..engines.base import prompt_seed
from ..engines.step_requests import Extension, StepRequest
from .hypotheses import EMPTY, Expansion, Hypothesis, ranked
from .loop import PromptSearch


@dataclass(frozen=True)
class BeamShape:
    """How wide and how deep to search.

    beam: partial answers kept, a prompt
    expand: ways in which each of them is extended at a depth; the first depth samples beam * expand
    groups: the beam is split into so many sub-beams, each with its own first depth, that never compete (diverse
        search; as many groups as beams is "DVTS")
    max_steps: depths; what is unfinished then is cut with the finish reason "length"
    """

    beam: int
    expand: int
    groups: int = 1
    max_steps: int = 64

    @classmethod
    def for_budget(cls, n: int, diverse: bool = False) -> BeamShape:
        """The search that generates about as much as best-of-`n` does: a beam of sqrt(n), rounded down."""
        beam = math.isqrt(n)
        return cls(beam, n // beam, groups=beam if diverse else 1)

    @property
    def width(self) -> int:
        """The most extensions of one prompt at one depth: the N of the best-of-N that costs as much."""
        return self.beam * self.expand


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
class BeamSearch(PromptSearch):
    """The beam search for one prompt.

    A finished answer keeps its place in the beam, by its score, and is not extended. Better ones may take the place,
    yet it stays among those that the best is chosen from in the end. Duplicates (the same text, finished or not) are
    merged within a sub-beam. The search is over when all it keeps is finished, or after `max_steps`. What cannot be
    scored to its end ranks last (`openprm.decoding.hypotheses.Hypothesis`).
    """

    shape: BeamShape

    def __post_init__(self) -> None:
        self.beams = [_SubBeam() for _ in range(self.shape.groups)]
        self.size = self.shape.beam // self.shape.groups

    def requests(self, depth: int) -> list[StepRequest]:
        if depth > self.shape.max_steps:
            return []
        n = self.shape.expand * (self.size if depth == 1 else 1)
        # A seed depends on the text, not on its rank, which may depend on a reward's last bits.
        return [
            StepRequest(self.question, answer.partial, n, prompt_seed(self.seed, f"{group}\0{answer.partial.text}"))
            for group, beam in enumerate(self.beams)
            for answer in beam.open
        ]

    def expand(self, extensions: Sequence[Sequence[Extension]]) -> list[Expansion]:
        replies = iter(extensions)
        self._new = [
            beam.new([Expansion(parent, way.partial) for parent in beam.open for way in next(replies)])
            for beam in self.beams
        ]
        return list(chain.from_iterable(self._new))

    def prune(self, scored: Sequence[Hypothesis], depth: int) -> tuple[list[Hypothesis], int]:
        rest = iter(scored)
        dropped = sum(
            beam.select(list(islice(rest, len(new))), self.size)
            for beam, new in zip(self.beams, self._new, strict=True)
        )
        return [answer for beam in self.beams for answer in beam.kept], dropped

    def complete(self) -> list[Hypothesis]:
        """With what is unfinished at the end, finished as it stands."""
        found: list[Hypothesis] = []
        for beam in self.beams:
            cut = (replace(one, partial=replace(one.partial, finish_reason="length")) for one in beam.open)
            found += [*beam.complete, *cut]
        return found
