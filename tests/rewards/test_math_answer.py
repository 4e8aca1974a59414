import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openprm.errors import InputError
from openprm.rewards import math_answer as mathematics
from openprm.rewards.answer_equivalence import labels
from openprm.rewards.base import TIMED_OUT
from openprm.rewards.math_answer import equal, mathematics_rule, stated_expression
from tests.rewards.outcomes import assert_quick, candidate, failure, outcome, reward

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
        ("It makes 1.6e-19.", "1.6e-19"),
        ("It makes 1.6 × 10^-19 C.", "1.6 × 10^-19"),
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
        ("0.5", [r"50\%", "50%", r"$50\%$"]),
        ("50%", ["0.5", "50", r"\frac12"]),
        (r"\frac{1}{3}", ["0.333333", "33.3333%"]),
        ("1.6e-19", [r"1.6\times10^{-19}", "1.6 × 10^-19", r"$1.60 \cdot 10^{-19}$", "1.6E−19"]),
        ("602214076000000000000000", ["6.02214076e23"]),
    ],
)
def test_equal_values_in_any_form(reference, answers):
    assert [equal(reference, answer) for answer in answers] == [True] * len(answers)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        *[("5", "6"), ("x+1", "x"), (r"\frac{1}{2}", "0.51"), ("(1,2)", "(2,1)"), ("50%", "0.51")],
        # tiny numbers, alone and inside of others
        *[("1.6e-19", "-9.1e-31"), ("1.6e-19", "-1.6e-19"), ("0.0000004", "0.0000007"), ("0", "1e-9")],
        *[(r"2\times10^{-20}", r"3\times10^{-20}"), (r"4\times10^{-20}x", r"7\times10^{-20}x")],
        *[(r"\{0.0000004, 2\}", r"\{0.0000007, 2\}"), ("(1, 0.0000004)", "(1, 0.0000007)")],
        *[("x = 0.0000004", "x = 0.0000007"), ("x < 0.0000004", "x < 0.0000007"), ("1e-400", "2e-400")],
        (r"\begin{pmatrix}0.0000004\\2\end{pmatrix}", r"\begin{pmatrix}0.0000007\\2\end{pmatrix}"),
    ],
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


@pytest.mark.parametrize(
    "answer",
    ["9**9**9", "9^{9^{9^9}}", "100000000!", "(x+1)^{3000}", "(" * 300, "{" * 300, r"\frac{1}{" * 60, "9" * 100_000],
)
def test_pathological_answers_end(answer, monkeypatch):
    # an exception raised in a callback of the garbage collector is lost; the next signal is not
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: None)
    monkeypatch.setattr(mathematics, "SECONDS", 0.2)
    assert outcome(mathematics_rule(), rf"The answer is ${answer}$", "7").reward["value"] == 0.0  # type: ignore[index]
    assert outcome(mathematics_rule(), rf"\boxed{{{answer}}}", "7").reward["value"] == 0.0  # type: ignore[index]


def test_imports_take_no_time_of_the_first_comparison():
    """math-verify takes two seconds of processor time to import, more than this limit."""
    program = (
        "from openprm.rewards import answer_equivalence, math_answer; math_answer.SECONDS = 0.5;"
        "found = answer_equivalence.labels(['so it is 3/4', 'so it is 0.75', 'so it is 9'], 'math');"
        "assert found[0] == found[1] != found[2], found"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


class SlowLibrary:
    """Stands for math-verify; parses as it, once it is no longer slow."""

    slow = True

    def __init__(self, library):
        self.verify, self._parse = library.verify, library.parse

    def parse(self, *arguments, **options):
        while self.slow:
            pass
        return self._parse(*arguments, **options)


def test_a_time_out_is_counted_and_not_kept(monkeypatch, caplog):
    library = SlowLibrary(mathematics._library())
    monkeypatch.setattr(mathematics, "SECONDS", 0.1)
    monkeypatch.setattr(mathematics, "_library", lambda: library)
    responses, rule = [r"\boxed{7/16}", r"\boxed{0.4375}"], mathematics_rule()
    assert len(set(labels(responses, "math"))) == 2
    assert "2 comparisons" in caplog.text
    with pytest.raises(TimeoutError):
        equal("7/16", "0.4375")
    assert rule.reward(candidate(responses[0], "7/16")) == reward("math", 0.0, TIMED_OUT)
    library.slow = False
    assert len(set(labels(responses, "math"))) == 1
    assert rule.reward(candidate(responses[1], "7/16")) == reward("math", 1.0)


@pytest.mark.parametrize(
    "unit",
    [
        *["$", "$ ", "\\boxed{", "\\[", "\\(x", "answer is $x", "{", "}", "5 ", "answer is x ", "$x$, "],
        *["\n", "\r", "#### ", r"\text{a}", "{a}", "1 x 10^", "x "],
    ],
)
def test_degenerate_responses_are_read_in_reasonable_time(unit):
    assert_quick(stated_expression, unit)


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
