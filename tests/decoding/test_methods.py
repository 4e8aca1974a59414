"""Methods by name: each is the search that its name says, and refuses what does not fit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from openprm.decoding import loop
from openprm.decoding.beam_search import BeamSearch, BeamShape
from openprm.decoding.best_of_n import vote
from openprm.decoding.early_rejection import RejectionRule
from openprm.decoding.loop import SearchResult
from openprm.decoding.methods import METHODS, Method
from openprm.errors import Failure, InputError

from ..injected import Language, Rewards, questions

ASKED: Any = questions("p", "q", "r")
SEEDS = [3, 4, 5]


def run(method: Method, language: Any = None, **options: Any) -> list[SearchResult | Failure]:
    return method.run(ASKED, language or Language(), Rewards(), SEEDS, **options)


@pytest.mark.parametrize(("name", "diverse"), [("pbs", False), ("diverse-pbs", True)])
def test_beam_searches(name: str, diverse: bool):
    shape = BeamShape.for_budget(9, diverse)
    searches = [BeamSearch(question, seed, "mean", shape) for question, seed in zip(ASKED, SEEDS, strict=True)]
    assert run(Method(name, 9, "mean")) == loop.run(searches, Language(), Rewards())


@pytest.mark.parametrize("weighted", [False, True])
def test_votes_choose_among_the_answers_that_won(weighted: bool):
    method = Method(
        "weighted-vote" if weighted else "majority-vote", 8, "min" if weighted else None, pattern="re:[ab]"
    )
    drawn = run(Method("best-of-n", 8, "min"))
    for found, plain in zip(run(method), drawn, strict=True):
        assert isinstance(found, SearchResult)
        assert isinstance(plain, SearchResult)
        texts = [answer.partial.text for answer in plain.complete]
        said = [next((letter for letter in text[::-1] if letter in "ab"), None) for text in texts]  # the last one
        assert found.best == vote(found.complete, said, "strength" if weighted else None)
        assert [answer.partial.text for answer in found.complete] == texts
        if weighted:
            assert found == replace(plain, best=found.best)
        else:  # nothing has a reward
            assert {(answer.step_rewards, answer.score) for answer in found.complete} == {((), -math.inf)}
            assert found.scored_tokens == 0


def test_votes_are_weighted_by_the_unit_of_the_rewards():
    method = Method("weighted-vote", 8, "min", pattern="re:[ab]")
    for unit, plain in zip(("log-odds", "strength"), (run(method, unit="log-odds"), run(method)), strict=True):
        for found in plain:
            assert isinstance(found, SearchResult)
            texts = [answer.partial.text for answer in found.complete]
            said = [next((letter for letter in text[::-1] if letter in "ab"), None) for text in texts]
            assert found.best == vote(found.complete, said, unit)
    Method("weighted-vote", 8, "prod").check_unit("log-odds")
    Method("best-of-n", 8, "min").check_unit("grade")
    for aggregation, unit, problem in [
        ("prod", "strength", "'prod' multiplies probabilities"),
        ("min", "grade", "which scores of the unit 'grade' do not give; take the best of N"),
        ("min", "logits", "unknown unit 'logits'"),
    ]:
        with pytest.raises(ValueError, match=problem):
            Method("weighted-vote", 8, aggregation).check_unit(unit)
    with pytest.raises(ValueError, match="'prod' multiplies probabilities"):
        Method("pbs", 4, "prod").check_unit("strength")


def test_a_prompt_that_fails_leaves_the_others():
    for name in METHODS:
        method = Method(name, 4, None if name == "majority-vote" else "min")
        first, failed, last = run(method, Language(failing=["q"]))
        assert isinstance(failed, Failure)
        whole = run(method)
        assert [first, last] == [whole[0], whole[2]]


def test_what_does_not_fit_together():
    for options, problem in [
        ({"name": "beam"}, "unknown method 'beam'; choose one of best-of-n, pbs"),
        ({"budget": 0}, "buys no answer"),
        ({"aggregation": "median"}, "unknown aggregation 'median'"),
        ({"equivalence": "alike"}, "unknown equivalence 'alike'"),
        ({"name": "majority-vote", "aggregation": "min"}, "counts answers, not rewards"),
        ({"name": "majority-vote", "pattern": "foo"}, "unknown pattern 'foo'"),
        ({"name": "weighted-vote", "pattern": "re:("}, "not a regular expression"),
        ({"name": "pbs", "rule": RejectionRule(1.0, "min", 16, 0.1, 20)}, "early rejection is for best-of-n"),
        ({"rule": RejectionRule(1.0, "min", 8, 0.1, 20)}, "for 8 answers scored by min, not for 16"),
        ({"rule": RejectionRule(1.0, "min", 16, 0.1, 20), "aggregation": "mean"}, "scored by min, not for 16 by mean"),
    ]:
        with pytest.raises(InputError, match=problem):
            Method(**options)
    with pytest.raises(InputError, match="needs an aggregation"):
        run(Method("pbs", 4))


def test_parameters_name_what_decides_only():
    pbs = {"method": "pbs", "budget": 10, "aggregation": "min", "width": 9}
    assert Method("pbs", 10, "min").parameters() == pbs
    assert Method("majority-vote", 4).parameters()["equivalence"] == "exact"
    assert (
        Method("best-of-n", 4, "min", RejectionRule(1.5, "min", 4, 0.1, 20)).parameters()["rule"]["threshold"] == 1.5
    )
