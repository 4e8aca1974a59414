import itertools

import pytest

from openprm.errors import InputError
from openprm.rewards import math_answer
from openprm.rewards.answer_equivalence import EQUIVALENCES, equivalence_of, labels
from openprm.rewards.exact_answer import golden_rule
from openprm.rewards.math_answer import mathematics_rule
from openprm.rewards.multiple_choice import choice_rule


def test_exact_answers():
    assert labels(["The answer is 1,000.", "So 1000", "Nothing."]) == ["1000", "1000", None]
    assert labels(["Answer: 3\nThen 4", "4"], pattern="stated") == ["3", None]


def test_answers_vote_as_they_are_graded():
    pytest.importorskip("math_verify")
    rules = (golden_rule(), choice_rule(), mathematics_rule())
    assert [equivalence_of(rule.describe()) for rule in rules] == ["exact", "option", "math"]
    assert equivalence_of(None) is equivalence_of({"kind": "model"}) is None  # free text has no vote


def test_options_by_letter_or_by_text():
    question = [{"role": "user", "content": "What do plants do?\nA. respiration\nB. photosynthesis"}]
    responses = ["The answer is photosynthesis.", "The answer is (B)", "Who knows?"]
    assert labels(responses, "option", question=question) == ["B", "B", None]
    assert labels(responses, "option") == [None, "B", None]


def test_mathematically_equal_answers_share_a_label():
    pytest.importorskip("math_verify")
    responses = ["The answer is 0.5", r"$\frac{1}{2}$.", "The answer is 3", "No idea.", r"\boxed{\frac{2}{4}}"]
    found = labels(responses, "math")
    assert found[0] == found[1] == found[4] is not None
    assert found[2] not in (found[0], None)
    assert found[3] is None
    # the groups are the same whatever comes first
    assert len(set(labels(responses[::-1], "math")) - {None}) == 2


def test_a_percentage_does_not_join_what_differs():
    pytest.importorskip("math_verify")
    answers = ["so 50", "so 0.5", "so 50%", "so 0.50"]
    for order in itertools.permutations(range(4)):
        found = dict(zip(order, labels([answers[i] for i in order], "math"), strict=True))
        assert found[0] == found[2] != found[1] == found[3]


@pytest.mark.parametrize("slow", [1, 2, 5])
def test_slow_answers_take_no_more_time_with_every_other(monkeypatch, slow):
    """A slow answer is given up after two time-outs, whichever it is; the others still vote together."""
    pytest.importorskip("math_verify")
    timed_out = []

    def equal(one: str, other: str) -> bool:
        if "x" in one + other and one != other:
            timed_out.append((one, other))
            raise TimeoutError
        return float(one) % 10 == float(other) % 10

    monkeypatch.setattr(math_answer, "equal", equal)
    responses = [f"The answer is {number}" for number in range(10, 50)]
    responses[5:5] = [rf"\boxed{{x^{number}}}" for number in range(slow)]
    found = labels(responses, "math")
    assert len(set(found)) == 10 + slow
    assert found[:5] == found[10 + slow : 15 + slow]
    assert len(timed_out) <= 2 * slow + 1


def test_unknown_equivalence():
    with pytest.raises(InputError, match=", ".join(EQUIVALENCES)):
        labels(["1"], "roughly")
