"""Searches of many prompts side by side: one call to generate and one to score at every depth, for all of them.

A `PromptSearch` decides for one prompt; `run` takes them all from depth to depth. `openprm.decoding.beam_search` and
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

    best: the highest-ranked answer; of tied ones, the first
    complete: the answers that it was chosen from: of a beam search every finished one, in the order in which they
        were finished, and what was cut at the last depth; of best-of-N all that were not stopped, in the order in
        which they were sampled, equal ones included
    generated_tokens, scored_tokens: what the language model generated and the reward model computed, in all
    merged: extensions with a duplicate (the same text, finished or not) at their depth, which was scored for both
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

    @property
    def text(self) -> str:
        """The best answer."""
        return self.best.partial.text

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of the best answer; joined they are `text`."""
        return self.best.partial.steps

    @property
    def step_rewards(self) -> tuple[float, ...]:
        """One reward a step; fewer where the rest does not fit into the reward model."""
        return self.best.step_rewards

    @property
    def score(self) -> float:
        """The aggregate of `step_rewards`; -inf where there are none."""
        return self.best.score


@dataclass(frozen=True)
class Pruning:
    """One prompt at one depth: the answers kept, best first, how many were dropped, and how many merged."""

    kept: tuple[Hypothesis, ...]
    dropped: int
    merged: int


@dataclass(frozen=True)
class DepthReport:
    """One depth (from 1) of all searches: how many prompts remain open, and what was pruned, by the prompt's index,
    of those that were extended and did not fail."""

    depth: int
    open: int
    prunings: Mapping[int, Pruning]


#: Called after every depth.
Watch = Callable[[DepthReport], None]


@dataclass
class PromptSearch(ABC):
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

    @property
    @abstractmethod
    def open(self) -> bool:
        """Whether there is something to extend."""

    @abstractmethod
    def requests(self, depth: int) -> list[StepRequest]:
        """What to extend at this depth (from 1): at least one request where the search is open."""

    @abstractmethod
    def expand(self, extensions: Sequence[Sequence[Extension]]) -> list[Expansion]:
        """What to score of the extensions of each request."""

    @abstractmethod
    def prune(self, scored: Sequence[Hypothesis], depth: int) -> tuple[list[Hypothesis], int]:
        """Takes the scored expansions; returns what is kept, and how many are dropped."""

    @abstractmethod
    def complete(self) -> list[Hypothesis]:
        """The answers to choose from when the search is over, at least one."""

    def receive(self, replies: Sequence[list[Extension] | Failure]) -> list[Expansion]:
        """What to score of the replies to `requests`; nothing where one is a failure, which is then the search's."""
        self.depths += 1
        extensions = [reply for reply in replies if not isinstance(reply, Failure)]
        if len(extensions) < len(replies):
            self.failure = next(reply for reply in replies if isinstance(reply, Failure))
            return []
        ways = list(chain.from_iterable(extensions))
        self.generated_tokens += sum(way.n_tokens for way in ways)
        expansions = self.expand(extensions)
        self._merged = len(ways) - len({(one.partial.text, one.partial.finished) for one in expansions})
        self.merged += self._merged
        return expansions

    def take(self, scored: Sequence[ScoredExpansion], depth: int) -> Pruning | None:
        """Prunes the scored expansions; None where the search has failed."""
        self.failure = self.failure or fatal_failure(scored)
        if self.failure:
            return None
        self.scored_tokens += sum(one.n_tokens for one in scored)
        kept, dropped = self.prune([one.hypothesis for one in scored], depth)
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
    searches: Sequence[PromptSearch],
    generate: Generate,
    score: Score | None,
    aggregation: str,
    watch: Watch | None = None,
    max_depth: int | None = None,
) -> list[SearchResult | Failure]:
    """The result of each search, which all proceed depth by depth while one is open, at most to `max_depth`.

    `searches[i].prompt` is i. Without `score` nothing has a reward. A prompt fails where it cannot be extended, or
    for the reasons of `openprm.decoding.hypotheses.fatal_failure`; the others continue.
    """
    questions = [search.question for search in searches]
    for depth in count(1) if max_depth is None else range(1, max_depth + 1):
        active = [search for search in searches if search.open and not search.failure]
        if not active:
            break
        requests = [search.requests(depth) for search in active]
        replies = _grouped(generate(list(chain.from_iterable(requests))), requests)
        expansions = [search.receive(reply) for search, reply in zip(active, replies, strict=True)]
        scored = score_expansions(questions, list(chain.from_iterable(expansions)), score, aggregation)
        prunings = {}
        for search, own in zip(active, _grouped(scored, expansions), strict=True):
            if pruning := search.take(own, depth):
                prunings[search.prompt] = pruning
        if watch:
            watch(DepthReport(depth, sum(search.open for search in active if not search.failure), prunings))
    return [search.result() for search in searches]


def _grouped(flat: Sequence[T], like: Sequence[Sequence[object]]) -> list[list[T]]:
    """`flat`, cut into lists as long as those of `like`."""
    if len(flat) != sum(map(len, like)):
        raise ValueError(f"{len(flat)} replies to {sum(map(len, like))} requests")
    replies = iter(flat)
    return [list(islice(replies, len(group))) for group in like]
