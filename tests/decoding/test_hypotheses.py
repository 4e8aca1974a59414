import math

from openprm.decoding.hypotheses import EMPTY, Expansion, Hypothesis, ranked
from openprm.engines.step_requests import PartialResponse


def answer(steps, rewards, score):
    return Hypothesis(PartialResponse(tuple(steps)), tuple(rewards), score)


def test_the_order_of_answers():
    whole, worse = answer("ab", [1.0, 0.0], 0.0), answer("ab", [1.0, -1.0], -1.0)
    cut, unrewarded = answer("ab", [9.0], 9.0), answer("ab", [], -math.inf)
    tied = answer("c", [0.0], 0.0)
    assert ranked([EMPTY, unrewarded, cut, worse, whole, tied]) == [whole, tied, worse, cut, EMPTY, unrewarded]
    assert [a.truncated for a in (whole, cut, unrewarded, EMPTY)] == [False, True, True, False]


def test_what_is_scored_of_an_expansion():
    parent = answer(["a.", "b."], [1.0, 2.0], 1.0)
    for start, steps, known, needed in [
        (EMPTY, ["a."], (), True),
        (EMPTY, [" \n"], (), False),  # white space alone
        (parent, ["a.", "b.", "c."], (1.0, 2.0), True),
        (parent, ["a.", "b."], (1.0, 2.0), False),  # no new step
        (parent, ["a.", "b.\n"], (1.0,), True),  # white space that ends an answer joins its last step
        (answer(["a.", "b."], [1.0], 1.0), ["a.", "b.", "c."], (1.0,), False),  # longer than what did not fit
    ]:
        expansion = Expansion(start, PartialResponse(tuple(steps)))
        assert (expansion.known_rewards, expansion.needs_rewards) == (known, needed)
