"""Trees sampled on purpose: by a policy that is written down, and by a tiny model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest

from openprm.decoding.branching import Branch, branched
from openprm.engines.base import Report, Sampling, no_report
from openprm.engines.step_generator import StepGenerator
from openprm.engines.step_requests import Extension, PartialResponse, StepRequest
from openprm.engines.transformers_generator import TransformersGenerator
from openprm.errors import Failure
from openprm.presets import toy_domain as tiny
from openprm.schema import Message

QUESTIONS: list[list[Message]] = [[{"role": "user", "content": text}] for text in ("a", "b", "bad")]


def written(requests: Sequence[StepRequest], report: Report = no_report) -> list[list[Extension] | Failure]:
    """Steps of two tokens that name their way; the second way on from `a` ends there, of `bad` the second fails."""
    replies: list[list[Extension] | Failure] = []
    for request in requests:
        before, content = request.partial, request.question[0]["content"]
        if content == "bad" and before.steps == ("1",):
            replies.append(Failure("broken", "mend it"))
            continue
        ways = []
        for i in range(request.n):
            ends = request.whole or (content == "a" and not before.steps and i == 1)
            grown = PartialResponse((*before.steps, str(i)), (*before.tokens, i, i), "stop" if ends else None)
            ways.append(Extension(grown, 2))
            report(1, 2)
        replies.append(ways)
    return replies


def test_ways_in_order_and_tokens_once():
    a, b, bad = branched(QUESTIONS, [1, 2, 3], (2, 1, 2), written)
    assert not isinstance(a, Failure)
    assert not isinstance(b, Failure)
    assert [(one.path, one.partial.text, one.new_tokens) for one in a] == [
        ((0, 0, 0), "000", 6),
        ((0, 0, 1), "001", 2),
        ((1,), "1", 2),  # ended before the last branching
    ]
    assert [(one.path, one.new_tokens) for one in b] == [
        ((0, 0, 0), 6),
        ((0, 0, 1), 2),
        ((1, 0, 0), 6),
        ((1, 0, 1), 2),
    ]
    assert bad == Failure("broken", "mend it")


def test_reports_come_to_the_responses_asked_for():
    rows: list[float] = []
    branched(QUESTIONS[1:2], [1], (2, 3, 4), lambda requests, report: written(requests, report), _into(rows))
    assert sum(rows) == pytest.approx(24)
    assert branched([], [], (2, 2), written) == []


def _into(rows: list[float]) -> Report:
    return lambda some, _: rows.append(some)


def test_every_way_has_a_seed_of_its_own():
    seeds: list[int] = []

    def watched(requests: Sequence[StepRequest], report: Report) -> list[list[Extension] | Failure]:
        seeds.extend(request.seed + i for request in requests for i in range(request.n))
        return written(requests, report)

    branched(QUESTIONS[:2], [1, 2], (4, 4, 4), watched)
    # of a 4 + 3 * 4 + 12 * 4, its second first step ended; of b 4 + 16 + 64
    assert len(set(seeds)) == len(seeds) == 4 + 12 + 48 + 4 + 16 + 64


@pytest.mark.parametrize("separator", [" ", "sentence"])
def test_a_models_prefixes_are_shared_to_the_byte(policy: Path, separator: str):
    """And responses do not depend on the questions beside theirs."""
    generator = TransformersGenerator.load(str(policy))
    steps = StepGenerator(generator, separator, Sampling(temperature=1.2, max_new_tokens=40))
    questions: list[list[Message]] = [[{"role": "user", "content": one.question}] for one in tiny.dials(3, 3, "test")]
    trees = branched(questions, [7, 8, 9], (3, 2, 2), steps)
    assert branched(questions[1:2], [8], (3, 2, 2), steps) == trees[1:2]
    lengths = set()
    for tree in trees:
        assert not isinstance(tree, Failure)
        assert [one.path for one in tree] == sorted(one.path for one in tree)
        assert all(one.partial.finished for one in tree)
        distinct = set()
        for depth in (1, 2):
            for path, group in groupby((one for one in tree if len(one.path) > depth), key=_up_to(depth)):
                prefixes = {one.partial.steps[:depth] for one in group}
                assert len(prefixes) == 1
                distinct.add((path, *prefixes))
        assert len({one.partial.text for one in tree}) > 4
        lengths |= {len(one.path) for one in tree}
        # tokens counted once: the distinct prefixes of the paths' token sequences
        whole = sum(len(one.partial.tokens) for one in tree)
        assert max(len(one.partial.tokens) for one in tree) <= sum(one.new_tokens for one in tree) <= whole
    assert 3 in lengths


def _up_to(depth: int):  # type: ignore[no-untyped-def]
    def path(one: Branch) -> tuple[int, ...]:
        return one.path[:depth]

    return path
