"""Responses that share their first steps on purpose: sampled as a tree instead of one by one.

`branched(questions, seeds, (4, 4, 4), step_generator)` samples 4 first steps to each question, goes on from each in 4
ways for a step, and finishes each of these in 4 ways: 64 responses, whose shared prefixes are generated once.

Each response by itself is distributed like an ordinary sample, and the ways on from a node are independent, given what
was generated up to it; responses of one prompt are no longer independent. So the mean reward over the ways on from a
node is an unbiased value of it. Where a way ends before the last branching, it is one response among those that others
branched into, and weighs less than they do in a mean over responses.

Where a step ends shows a literal separator at once; a sentence or a line ends for sure when the next one begins. The
ways on from it then share that token too: it was generated before the branching, and to draw it again would change the
distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..engines.base import Report, no_report, prompt_seed
from ..engines.step_requests import Extension, PartialResponse, StepRequest
from ..errors import Failure
from ..schema import Message


@dataclass(frozen=True)
class Branch:
    """A response of a tree.

    path: which way was taken at each branching, from zero; fewer than there are where the response ended before
    partial: the response; until it is finished, up to the last branching
    new_tokens: tokens generated for it and for no branch before it
    """

    path: tuple[int, ...]
    partial: PartialResponse
    new_tokens: int

    def extended(self, ways: Sequence[Extension]) -> list[Branch]:
        """With each of the ways; what was generated up to here counts for the first."""
        return [
            Branch((*self.path, i), way.partial, way.n_tokens + (0 if i else self.new_tokens))
            for i, way in enumerate(ways)
        ]


def branched(
    questions: Sequence[Sequence[Message]],
    seeds: Sequence[int],
    widths: Sequence[int],
    generate: Callable[[Sequence[StepRequest], Report], list[list[Extension] | Failure]],
    report: Report = no_report,
) -> list[list[Branch] | Failure]:
    """For each question its responses, finished, depth first; or why there are none.

    widths: in how many ways to go on at each branching, the last time to the end, before by one step. Equal steps of a
    node stay separate ways. A question's responses depend on its own seed alone, as far as that holds for `generate`.
    `report` is called with shares of the product of `widths`.
    """
    trees: list[list[Branch] | Failure] = [[Branch((), PartialResponse(), 0)] for _ in questions]
    for depth, width in enumerate(widths):
        whole = depth == len(widths) - 1
        share = math.prod(widths[depth + 1 :]) / len(widths)
        requests = [
            StepRequest(question, one.partial, width, prompt_seed(seed, ",".join(map(str, one.path))), whole)
            for question, seed, tree in zip(questions, seeds, trees, strict=True)
            for one in (() if isinstance(tree, Failure) else tree)
            if not one.partial.finished
        ]
        replies = iter(generate(requests, _scaled(report, share)))
        trees = [tree if isinstance(tree, Failure) else _grown(tree, replies) for tree in trees]
    return trees


def _grown(tree: Sequence[Branch], replies: Iterator[list[Extension] | Failure]) -> list[Branch] | Failure:
    """The tree with the next replies in place of what was not finished."""
    found = [[] if one.partial.finished else next(replies) for one in tree]
    failure = next((reply for reply in found if isinstance(reply, Failure)), None)
    if failure:
        return failure
    ways = [reply for reply in found if not isinstance(reply, Failure)]
    return [way for one, some in zip(tree, ways, strict=True) for way in one.extended(some) or [one]]


def _scaled(report: Report, share: float) -> Report:
    return lambda rows, tokens: report(rows * share, tokens)
