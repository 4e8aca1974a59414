"""Searches of many prompts side by side: one call to generate and one to reward at every depth, for all of them.

A `Search` decides for one prompt; `run` takes them all from depth to depth. `openprm.decoding.beam_search` and
`openprm.decoding.best_of_n` are the searches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice
from typing import TypeVar

from ..engines.step_requests import Extension, Generate, Score, StepRequest
from ..errors import Failure
from ..schema import Message
from .hypotheses import Expansion, Hypothesis, ScoredExpansion, fatal_failure, ranked, score_expansions

T = TypeVar("T")


@dataclass(frozen=True)
class SearchResult:
    """What a search found for one prompt.

    best: of the highest rank; of tied ones, the first
    complete: the answers that it was chosen from: of a beam search every finished one, in the order in which they
        were finished, and what was cut at the last depth; of a drawing all that were not stopped, in the order in
        which they were drawn, equal ones included
    generated_tokens, scored_tokens: what the language model generated and the reward model computed, in all
    merged: extensions with a duplicate (the same text, finished or not) at their depth, which was rewarded for both
    stopped: answers that early rejection stopped
    depths: how often the prompt was extended
    """

    best: Hypothesis
    complete: tuple[Hypothesis, ...]
    generated_tokens: int
    scored_tokens: int
    merged: int
    stopped: int
    depths: int


@dataclass(frozen=True)
class Pruning:
    """What was decided for one prompt at one depth: the answers kept, best first, and how many were left out.

    dropped: not kept; merged: see `SearchResult`
    """

    kept: tuple[Hypothesis, ...]
    dropped: int
    merged: int


@dataclass(frozen=True)
class DepthReport:
    """One depth of all searches, for whoever watches them.

    depth: counts from 1
    open: how many prompts go on
    decisions: by the prompt's index, of the prompts that were extended and did not fail
    """

    depth: int
    open: int
    decisions: Mapping[int, Pruning]


Watch = Callable[[DepthReport], None]


@dataclass
class Search(ABC):
    """The search for an answer to question number `prompt`: what it has, and what it took so far."""

    prompt: int
    question: Sequence[Message]
    seed: int
    failure: Failure | None = field(default=None, init=False)
    generated_tokens: int = field(default=0, init=False)
    scored_tokens: int = field(default=0, init=False)
    merged: int = field(default=0, init=False)
    stopped: int = field(default=0, init=False)
    depths: int = field(default=0, init=False)
    _merged: int = field(default=0, init=False)

    @property
    @abstractmethod
    def open(self) -> bool:
        """Whether there is something to extend."""

    @abstractmethod
    def requests(self, depth: int) -> list[StepRequest]:
        """What to extend at this depth (from 1): at least one request where the search is open."""

    @abstractmethod
    def children(self, extensions: Sequence[Sequence[Extension]]) -> list[Expansion]:
        """What to rate of the extensions of each request."""

    @abstractmethod
    def decide(self, rated: Sequence[Hypothesis], depth: int) -> tuple[list[Hypothesis], int]:
        """Takes the rated children; returns what is kept, and how many are dropped."""

    @abstractmethod
    def complete(self) -> list[Hypothesis]:
        """The answers to choose from when the search is over, at least one."""

    def receive(self, replies: Sequence[list[Extension] | Failure]) -> list[Expansion]:
        """What to rate of the replies to `requests`; nothing where one is a failure, which is then the search's."""
        self.depths += 1
        extensions = []
        for reply in replies:
            if isinstance(reply, Failure):
                self.failure = reply
                return []
            extensions.append(reply)
        ways = [way for reply in extensions for way in reply]
        self.generated_tokens += sum(way.n_tokens for way in ways)
        children = self.children(extensions)
        self._merged = len(ways) - len({(child.partial.text, child.partial.finished) for child in children})
        self.merged += self._merged
        return children

    def take(self, ratings: Sequence[ScoredExpansion], depth: int) -> Pruning | None:
        """Decides on the rated children; None where the search has failed."""
        self.failure = self.failure or fatal_failure(ratings)
        if self.failure:
            return None
        self.scored_tokens += sum(rating.n_tokens for rating in ratings)
        kept, dropped = self.decide([rating.rated for rating in ratings], depth)
        return Pruning(tuple(ranked(kept)), dropped, self._merged)

    def result(self) -> SearchResult | Failure:
        if self.failure:
            return self.failure
        complete = self.complete()
        return SearchResult(
            best=ranked(complete)[0],
            complete=tuple(complete),
            generated_tokens=self.generated_tokens,
            scored_tokens=self.scored_tokens,
            merged=self.merged,
            stopped=self.stopped,
            depths=self.depths,
        )


def run(
    searches: Sequence[Search],
    generate: Generate,
    score: Score | None,
    aggregation: str,
    watch: Watch | None = None,
    max_depth: int | None = None,
) -> list[SearchResult | Failure]:
    """The result of each search; goes on while one is open, at most to `max_depth`.

    `searches[i].prompt` is i. Without `score` nothing has a reward. A prompt fails where it cannot be extended, or
    for the reasons of `openprm.decoding.hypotheses.fatal_failure`; the others go on.
    """
    questions = [search.question for search in searches]
    for depth in count(1) if max_depth is None else range(1, max_depth + 1):
        going = [search for search in searches if search.open and not search.failure]
        if not going:
            break
        requests = [search.requests(depth) for search in going]
        replies = _grouped(generate(list(chain.from_iterable(requests))), requests)
        children = [search.receive(reply) for search, reply in zip(going, replies, strict=True)]
        ratings = _grouped(
            score_expansions(questions, list(chain.from_iterable(children)), score, aggregation), children
        )
        decisions = {}
        for search, rated in zip(going, ratings, strict=True):
            decision = search.take(rated, depth)
            if decision:
                decisions[search.prompt] = decision
        if watch:
            n_open = sum(search.open for search in going if not search.failure)
            watch(DepthReport(depth, n_open, decisions))
    return [search.result() for search in searches]


def _grouped(flat: Sequence[T], like: Sequence[Sequence[object]]) -> list[list[T]]:
    """`flat`, cut into lists as long as those of `like`."""
    if len(flat) != sum(map(len, like)):
        raise ValueError(f"{len(flat)} replies to {sum(map(len, like))} requests")
    replies = iter(flat)
    return [list(islice(replies, len(group))) for group in like]
