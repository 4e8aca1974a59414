import math

import pytest

from openprm.decoding.hypotheses import EMPTY, Expansion, Hypothesis
from openprm.decoding.loop import PromptSearch, run
from openprm.decoding.methods import Method
from openprm.engines.step_requests import PartialResponse, PrefixRewards, StepRequest
from openprm.errors import Failure

from ..injected import Language, Rewards, questions


class Given(PromptSearch):
    """Extends the empty answer once, to what it is given."""

    def __init__(self, name, *expansions):
        super().__init__(questions(name)[0], 0, "mean")
        self.expansions = list(expansions)

    def requests(self, depth):
        return [StepRequest(self.question, EMPTY.partial, 1, 0)] if depth == 1 else []

    def expand(self, extensions):
        return self.expansions

    def prune(self, scored, depth):
        self.scored = list(scored)
        return self.scored, 0

    def complete(self):
        return self.scored


def expansion(steps, parent=EMPTY, **more):
    return Expansion(parent, PartialResponse(tuple(steps), **more))


def test_each_prefix_is_asked_for_once_and_only_for_what_is_new():
    asked = Rewards()
    first = Hypothesis(PartialResponse(("a",)), tuple(asked.of("x", "a")), 0.0)
    x = Given("x", expansion("ab", first), expansion("ab", first, finish_reason="stop"), expansion("a", first))
    y = Given("y", expansion("ab"))
    one, other = run([x, y], Language(), asked)
    (call,) = asked.calls
    assert [(p.question, p.steps, p.known) for p in call] == [(x.question, ("a", "b"), 1), (y.question, ("a", "b"), 0)]
    rewards = asked.of("x", "ab")
    assert [list(answer.step_rewards) for answer in one.complete] == [rewards, rewards, rewards[:1]]
    assert [answer.score for answer in one.complete] == [sum(rewards) / 2, sum(rewards) / 2, rewards[0]]
    assert list(other.best.step_rewards) == asked.of("y", "ab")
    assert (one.scored_tokens, other.scored_tokens) == (2, 2)
    run([Given("x", expansion(" \n"))], Language(), asked)
    assert len(asked.calls) == 1


def test_rewards_that_cannot_be_used_leave_those_of_the_parent():
    parent = Hypothesis(PartialResponse(("a",)), (1.0,), 1.0)
    search = Given("x", expansion("ab", parent), expansion("c"))
    odd = Failure("too odd", "look at it", transient=False)
    (found,) = run([search], Language(), lambda prefixes: [odd, PrefixRewards((math.nan,), 5)])
    assert found.complete == (
        Hypothesis(PartialResponse(("a", "b")), (1.0,), 1.0),
        Hypothesis(PartialResponse(("c",))),
    )
    assert found.scored_tokens == 0
    (failed,) = run([Given("x", expansion("c"))], Language(), lambda prefixes: [PrefixRewards((math.nan,), 5)])
    assert "finite" in failed.reason


def test_nothing_that_fits_is_no_failure():
    (found,) = run([Given("x", expansion("c"))], Language(), lambda prefixes: [PrefixRewards((), 5)])
    assert found.best == Hypothesis(PartialResponse(("c",)))


@pytest.mark.parametrize("n_replies", [1, 3])
def test_functions_that_do_not_answer_every_request_are_refused(n_replies):
    def generate(requests):
        return (Language()(requests) * 2)[:n_replies]

    def score(prefixes):
        return (Rewards()(prefixes) * 2)[: len(prefixes) + n_replies - 2]

    for some, reward_model in ((generate, Rewards()), (Language(), score)):
        with pytest.raises(ValueError, match="replies to"):
            Method("pbs", 4, "min").run(questions("x", "y"), some, reward_model, [0, 1])
