import math

from openprm.decoding.hypotheses import (
    EMPTY,
    Expansion,
    Hypothesis,
    ScoredExpansion,
    fatal_failure,
    ranked,
    score_expansions,
)
from openprm.engines.step_requests import PartialResponse, PrefixRewards
from openprm.errors import Failure

from ..injected import Rewards, questions


def answer(steps, rewards, score):
    return Hypothesis(PartialResponse(tuple(steps)), tuple(rewards), score)


def test_the_order_of_answers():
    whole, worse = answer("ab", [1.0, 0.0], 0.0), answer("ab", [1.0, -1.0], -1.0)
    cut, unrewarded = answer("ab", [9.0], 9.0), answer("ab", [], -math.inf)
    tied = answer("c", [0.0], 0.0)
    assert ranked([EMPTY, unrewarded, cut, worse, whole, tied]) == [whole, tied, worse, cut, EMPTY, unrewarded]
    assert [a.truncated for a in (whole, cut, unrewarded, EMPTY)] == [False, True, True, False]


def test_each_prefix_is_asked_for_once_and_only_for_what_is_new():
    asked = Rewards()
    qs = questions("x", "y")
    parent = answer("a", asked.of("x", "a"), 0.0)
    children = [
        Expansion(0, parent, PartialResponse(("a", "b"))),
        Expansion(0, parent, PartialResponse(("a", "b"), (1,), "stop")),  # the same steps
        Expansion(1, EMPTY, PartialResponse(("a", "b"))),  # the same steps of another prompt
        Expansion(0, parent, PartialResponse(("a",), (), "stop")),  # no new step
        Expansion(0, answer("aa", [1.0], 1.0), PartialResponse(("a", "a", "a"))),  # of a truncated parent
    ]
    ratings = score_expansions(qs, children, asked, "mean")
    (call,) = asked.calls
    assert [(p.question, p.steps, p.known) for p in call] == [(qs[0], ("a", "b"), 1), (qs[1], ("a", "b"), 0)]
    x, y = asked.of("x", "ab"), asked.of("y", "ab")
    assert [list(r.hypothesis.step_rewards) for r in ratings] == [x, x, y, x[:1], [1.0]]
    assert [r.hypothesis.partial for r in ratings] == [child.partial for child in children]
    assert [r.hypothesis.score for r in ratings] == [sum(x) / 2, sum(x) / 2, sum(y) / 2, 0.0, 1.0]
    assert [r.n_tokens for r in ratings] == [2, 0, 2, 0, 0]
    assert score_expansions(qs, [], asked, "mean") == []
    assert len(asked.calls) == 1


def test_rewards_that_cannot_be_used_leave_those_of_the_parent():
    parent = answer("a", [1.0], 1.0)
    children = [Expansion(0, parent, PartialResponse(("a", "b"))), Expansion(0, EMPTY, PartialResponse(("c",)))]

    def score(prefixes):
        return [Failure("too odd", "look at it", transient=False), PrefixRewards((math.nan,), 5)]

    failed, nan = score_expansions(questions("x"), children, score, "min")
    assert (failed.hypothesis, failed.failure.reason) == (answer("ab", [1.0], 1.0), "too odd")
    assert (nan.hypothesis, nan.failure.transient) == (Hypothesis(PartialResponse(("c",))), False)
    assert "finite" in nan.failure.reason


def test_a_step_that_grew_is_rewarded_again():
    """White space that ends an answer joins its last step."""
    asked = Rewards()
    parent = answer(["a.", "b."], asked.of("x", ["a.", "b."]), 0.0)
    grown = PartialResponse(("a.", "b.\n"), (1,), "stop")
    (rating,) = score_expansions(questions("x"), [Expansion(0, parent, grown)], asked, "mean")
    assert [(p.steps, p.known) for p in asked.calls[0]] == [(grown.steps, 1)]
    whole = asked.of("x", grown.steps)
    assert whole[1] != parent.step_rewards[1]
    assert rating.hypothesis == Hypothesis(grown, tuple(whole), sum(whole) / 2)

    def fails(prefixes):
        return [Failure("too odd", "", transient=False)]

    (failed,) = score_expansions(questions("x"), [Expansion(0, parent, grown)], fails, "mean")
    assert failed.hypothesis == Hypothesis(grown, tuple(whole[:1]), whole[0])
    assert failed.hypothesis.truncated


def test_white_space_alone_is_not_rewarded():
    asked = Rewards()
    (rating,) = score_expansions(
        questions("x"), [Expansion(0, EMPTY, PartialResponse((" \n",), (1,), "stop"))], asked, "min"
    )
    assert asked.calls == []
    assert rating == ScoredExpansion(Hypothesis(PartialResponse((" \n",), (1,), "stop")))
    assert not rating.hypothesis.rank[0]


def test_what_ends_a_prompt():
    bad, dead = Failure("bad", "", transient=False), Failure("dead", "", transient=True)
    rewarded, nothing = ScoredExpansion(answer("a", [1.0], 1.0)), Hypothesis(PartialResponse(("a",)))
    assert fatal_failure([rewarded, ScoredExpansion(nothing, failure=bad)]) is None
    assert fatal_failure([ScoredExpansion(nothing, failure=bad)] * 2) == bad
    assert (
        fatal_failure([rewarded, ScoredExpansion(nothing, failure=bad), ScoredExpansion(nothing, failure=dead)])
        == dead
    )
    assert fatal_failure([ScoredExpansion(nothing)]) is None  # too long for the reward model, which is no failure
    assert fatal_failure([]) is None
