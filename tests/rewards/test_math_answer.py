import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openprm.errors import InputError
from openprm.rewards import math_answer as mathematics
from openprm.rewards.math_answer import equal, mathematics_rule, stated_expression
from tests.rewards.outcomes import failure, outcome, reward

MATH500 = Path(__file__).parents[2] / "../shared/data/math/math500.parquet"


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"so $x = \boxed{\frac{1}{\sqrt{2}}}$, with 3 steps", r"\frac{1}{\sqrt{2}}"),
        (
            r"\boxed{1} is wrong. \boxed{\left\{ \frac{\sqrt{\frac{1}{2}}}{3} \right\}}",
            r"\left\{ \frac{\sqrt{\frac{1}{2}}}{3} \right\}",
        ),
        (r"$\boxed{3}$ and $\boxed{4}$", "3, 4"),
        (r"First \boxed{3}. Now \boxed{4}", "4"),
        (r"$\boxed{44}$. We check: $17 \cdot 44 = 748$, so our answer is correct.", "44"),
        (r"The answer is $\frac{1}{2}$ of the cake, as $3 + 4 = 7$.", r"$\frac{1}{2}$"),
        ("The answer is $x = 3$ or $x = -3$.", "$x = 3$ or $x = -3$"),
        ("**Answer:**\n\\[\n x^2\n\\]", "\\[\n x^2\n\\]"),
        ("The answer is x^8 + x^7 + x^6 + x^5 + x^4 + x^3 + 1", "x^8 + x^7 + x^6 + x^5 + x^4 + x^3 + 1"),
        ("The answer is 18 dollars.", "18 dollars"),
        ("#### 18", "18"),
        ("Hence $x = 9$.\nI hope it is correct.", "$x = 9$"),
        ("They cost $5 and $6", "6"),
        ("It makes 7.", "7"),
        (r"\boxed{", None),
        ("I do not know.", None),
    ],
)
def test_the_stated_answer(response, answer):
    assert stated_expression(response) == answer


@pytest.mark.parametrize(
    ("reference", "answers"),
    [
        (r"\frac{1}{2}", ["0.5", "1/2", r"\dfrac12", r"\frac{2}{4}", "$0.5$", "x = 0.5"]),
        ("(x+1)^2", ["x^2 + 2x + 1", "(1+x)(x+1)"]),
        (r"\left( 3, \frac{\pi}{2} \right)", [r"(3, \pi/2)"]),
        (r"\sqrt{8}", [r"2\sqrt{2}", r"$2\sqrt2$"]),
        (r"\text{Evelyn}", ["Evelyn", r"\text{Evelyn}"]),
        ("5", ["x = 5", "5.0", r"\frac{10}{2}"]),
        (r"1,2", ["2, 1", "$1$ and $2$"]),
        (r"\$32,\!348", ["32348", r"\$32,348"]),
        (r"90^\circ", ["90", r"90^{\circ}"]),
    ],
)
def test_equal_values_in_any_form(reference, answers):
    assert [equal(reference, answer) for answer in answers] == [True] * len(answers)


@pytest.mark.parametrize(
    ("reference", "answer"), [("5", "6"), ("x+1", "x"), (r"\frac{1}{2}", "0.51"), ("(1,2)", "(2,1)")]
)
def test_other_values(reference, answer):
    assert equal(reference, answer) is False


@settings(max_examples=25)
@given(st.integers(-99, 99), st.integers(1, 99), st.integers(1, 9))
def test_a_fraction_is_its_multiples_and_no_other(over, under, factor):
    reference = rf"\frac{{{over}}}{{{under}}}"
    assert equal(reference, f"{over * factor}/{under * factor}")
    assert not equal(reference, f"{over + 1}/{under}")


def test_the_rule():
    rule = mathematics_rule()
    assert outcome(rule, r"\boxed{\frac{2}{4}}", "0.5") == reward("math", 1.0)
    assert outcome(rule, r"\boxed{\frac{2}{5}}", "0.5") == reward("math", 0.0)
    assert outcome(rule, "I do not know.", "0.5") == reward("math", 0.0, "unparsable")
    assert outcome(rule, r"\boxed{\frac{(}{)}}", "0.5") == reward("math", 0.0, "unparsable")
    assert failure(rule, r"\boxed{5}", None).reason == "no reference"
    for unreadable in ("", r"\frac{(}{)}", "1" * 1000):
        assert "cannot be read as mathematics" in failure(rule, r"\boxed{5}", unreadable).reason


# an exception raised in a callback of the garbage collector is lost; the next signal is not
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "answer",
    ["9**9**9", "9^{9^{9^9}}", "100000000!", "(x+1)^{3000}", "(" * 300, "{" * 300, r"\frac{1}{" * 60, "9" * 100_000],
)
def test_pathological_answers_end(answer, monkeypatch):
    monkeypatch.setattr(mathematics, "SECONDS", 0.2)
    assert outcome(mathematics_rule(), rf"The answer is ${answer}$", "7").reward["value"] == 0.0  # type: ignore[index]
    assert outcome(mathematics_rule(), rf"\boxed{{{answer}}}", "7").reward["value"] == 0.0  # type: ignore[index]


@pytest.mark.parametrize(
    "unit", ["$", "$ ", "\\boxed{", "\\[", "\\(x", "answer is $x", "{", "}", "5 ", "answer is x ", "$x$, "]
)
def test_degenerate_responses_are_read_in_reasonable_time(unit):
    stated_expression(unit * (100_000 // len(unit)))


def test_a_thread_is_told_to_be_a_process():
    errors = []

    def work():
        try:
            equal("1234", "1235")
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "main thread" in errors[0]


def test_a_missing_extra_is_named(monkeypatch):
    mathematics._library.cache_clear()
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(InputError, match=r"openprm\[math\]"):
        mathematics_rule()


@pytest.mark.slow
@pytest.mark.skipif(not MATH500.exists(), reason="no shared data")
def test_every_reference_solution_of_math500_is_right():
    import pyarrow.parquet as pq

    rule = mathematics_rule()
    for row in pq.read_table(MATH500).to_pylist():
        assert outcome(rule, row["solution"], row["answer"]) == reward("math", 1.0), row["unique_id"]
