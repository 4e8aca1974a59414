from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.errors import Failure, InputError
from openprm.rewards.base import RewardBatch
from openprm.rewards.exact_answer import extract_answer, golden_answer, golden_rule, normalize
from tests.rewards.outcomes import assert_quick, candidate, failure, outcome, reward


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("16 - 3 - 4 = 9.\nThe answer is 18.", "18"),
        ("So the answer is **1,000 dollars**.", "1000"),
        ("9 * 2 = 18\n#### 18", "18"),
        ("#### Step 1: add\n2 + 3 = 5", "5"),
        ("#### 1. Add\nWe get 7.\n#### 7\nDone in 2 steps.", "7"),
        (r"so $\boxed{\frac{1}{\sqrt{2}}}$, with 3 steps", r"\frac{1}{\sqrt{2}}"),
        (r"The answer is $\boxed{42}$.", "42"),
        (r"The final answer is: $42$. I hope it is correct.", "42"),
        ("**Answer:** Paris\n\nIt lies on the Seine, 300 km away.", "Paris"),
        ("The answer is 5 because 2 + 3 = 5 and nothing else is left to be added.", "5"),
        ("The answer is 3. No, wait: the answer is 4.", "4"),
        ("She earns 9 × $2 = $18 daily.", "18"),
        ("10-5 is 5, H2O", "5"),
        ("It falls by -3.50", "-3.5"),
        ("The chance is 3/4.", "3/4"),
        ("The answer is ...\n I make it 12", "12"),
        ("240 / 16 = 15 gallons. Therefore, she drinks 15 gallons in 30 days.", "15"),
        ("200 / 8 = 25. So 25 minus 5 is left. This gives us 20 cars.", "20"),
        ("Each costs $1.5 * 2 = $3. So he pays $3 for 2 of them.", "3"),
        ("He arrives at 5:00", "5"),
        ("We see that x = 14. Our final answer is x = 14.", "14"),
        ("The answer is 5. We checked: the answer is correct.", "5"),
        ("The answer is 4.\n\nQuestion: What is 2 + 3?\nThe answer is 5.", "4"),
        ("It is 4.\n\nQ: What is 2 + 3?\nIt is 5.", "4"),
        ("Question: how many?\nThe answer is 3.\nQuestion: and in all?\nThe answer is 6.", "6"),
        ("I do not know.", None),
        ("", None),
    ],
)
def test_the_last_stated_answer_else_the_last_number(response, answer):
    assert extract_answer(response) == answer


def test_stated_only():
    assert extract_answer("There are 5 apples.", "stated") is None
    assert extract_answer("There are 5 apples. The answer is 6.", "stated") == "6"


def test_own_pattern():
    assert extract_answer("x: 1\nx: 2\ny: 3", r"re:^x: (\d)$") == "2"
    assert extract_answer("yes no yes maybe", r"re:yes|no") == "yes"
    assert extract_answer("ab", r"re:(b)|(a)") == "b"
    with pytest.raises(ValueError, match="not a regular expression"):
        extract_answer("", "re:(")
    with pytest.raises(ValueError, match="unknown pattern"):
        extract_answer("", "boxed")


def test_golden_answer():
    assert golden_answer("The answer is 16.0", "16") == 1.0
    assert golden_answer("... which makes 1000", "1,000") == 1.0
    assert golden_answer("The answer is 17", "16") == 0.0
    assert golden_answer("I do not know.", "16") == 0.0
    with pytest.raises(Failure, match="no answer"):
        golden_answer("The answer is 17", " ")


@pytest.mark.parametrize(
    ("spellings", "answer"),
    [
        (["1000", "1,000", "1000.00", "$1,000", r"\$1{,}000", "1,000 km", "+1000", "01000", " 1000. "], "1000"),
        (["0.5", ".5", "0.50", "$0.5$"], "0.5"),
        (["50%", r"50\%", "50 %", "50 percent"], "50"),
        (["-3", "−3", "-3.0", "-$3"], "-3"),
        (["0", "-0", "0.0", "000"], "0"),
        (["C", "(C)", "C)", "C.", "**C**", r"\text{(C)}", "[C]"], "C"),
        (["2x"], "2x"),
        (["3 or 4"], "3 or 4"),
        (["x = 7", "3 + 4 = 7 days", "3 + 2 + 2 = 3 + 4 = 7", "7"], "7"),
        (["y = 2x"], "y = 2x"),
        (["x + y = 7"], "x + y = 7"),
        (["1,2"], "1,2"),
        ([r"\(x+1\)", "$x+1$", "x+1"], "x+1"),
        (["(1, 2)"], "(1, 2)"),
    ],
)
def test_normalize(spellings, answer):
    assert {normalize(spelling) for spelling in spellings} == {answer}


@given(st.text(alphabet="0123456789.,-+$%()*{}\\! aC\nx", max_size=12))
def test_normalize_has_one_result(text):
    assert normalize(normalize(text)) == normalize(text)


@given(st.integers(-(10**30), 10**30))
def test_any_integer_is_found_in_any_spelling(number):
    for text in (f"It is {number:,}.", f"The answer is {number}.0!", rf"\boxed{{{number}}}", f"#### {number:,}"):
        assert golden_answer(text, str(number)) == 1.0


def test_the_rule():
    rule = golden_rule()
    assert outcome(rule, "The answer is 16.0", "16") == reward("golden", 1.0)
    assert outcome(rule, "The answer is 17", "16") == reward("golden", 0.0)
    assert outcome(rule, "I do not know.", "16") == reward("golden", 0.0, "unparsable")
    assert outcome(golden_rule("stated", "exact"), "It is 16", "16") == reward("exact", 0.0, "unparsable")
    assert outcome(golden_rule(r"re:^A: (\w+)"), "A: yes\nB: no", "yes") == reward("golden", 1.0)
    assert failure(rule, "The answer is 17", None).reason == "no reference"
    assert "holds no answer" in failure(rule, "The answer is 17", " ").reason
    with pytest.raises(InputError, match="unknown pattern 'boxed'"):
        golden_rule("boxed")


def test_the_rule_rewards_batches_in_order():
    rows = [candidate(f"It is {number}.", "2") for number in (1, 2, 3)]
    reported = []
    ((batch, outcomes),) = golden_rule().rewards([RewardBatch(7, rows)], lambda *call: reported.append(call))
    assert batch.index == 7
    assert reported == [(1, 0)] * 3, "each response, not each batch"
    assert [found.reward["value"] for found in outcomes if found.reward] == [0.0, 1.0, 0.0]
    assert golden_rule("stated").describe() == {
        "rule": "golden answer",
        "pattern": "stated",
        "openprm": version("openprm"),
    }


@pytest.mark.parametrize(
    "unit",
    [
        *["= 5 so ", "so 5 ", "=", "5 ", ".", "_", "*", " ", "\n", "\r", "#", "#### ", "0", "1,000", "{", r"\boxed{"],
        *["answer: ", "$", ". ", r"\(", r"\text{a}", "1 x 10^", "1e", "Q", "* "],
    ],
)
def test_degenerate_responses_are_read_in_reasonable_time(unit):
    assert_quick(extract_answer, unit)
    assert_quick(normalize, unit)


def test_answers_that_read_the_same_are_equal():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert golden_answer(f"The answer is {decomposed}.", composed) == 1.0
    assert golden_answer("The answer is \u200b4\ufeff2.", "42") == 1.0
    assert golden_answer("The answer is cafe.", composed) == 0.0
