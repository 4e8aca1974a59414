import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.scoring.steps import split

SEPARATORS = [".\n", "paragraph", "line", "sentence", r"re:\d+\.", "re:x*", " "]
# text in which separators are frequent, besides any Unicode at all
TEXTS = st.one_of(st.text(), st.text(alphabet='ab.\n 1!`。」"\r\t\u2028A'))


@given(text=TEXTS, separator=st.sampled_from(SEPARATORS))
def test_joined_steps_are_the_text(text, separator):
    steps = split(text, separator)
    assert "".join(steps) == text
    assert all(step.strip() for step in steps) or (len(steps) == 1 and not text.strip())
    assert bool(steps) == bool(text)


@pytest.mark.parametrize(
    ("separator", "text", "steps"),
    [
        (".\n", "One.\nTwo. Still two.\nThree", ["One.\n", "Two. Still two.\n", "Three"]),
        (".\n", "One.\n\n\nTwo", ["One.\n", "\n\nTwo"]),
        (".\n", "One.\n \n", ["One.\n \n"]),
        ("paragraph", "a\nb\n \n\nc", ["a\nb\n \n\n", "c"]),
        ("line", "a\nb\n\nc", ["a\n", "b\n\n", "c"]),
        (r"re:Step \d+: ", "Step 1: a Step 2: b", ["Step 1: ", "a Step 2: ", "b"]),
    ],
)
def test_separators(separator, text, steps):
    assert split(text, separator) == steps


@pytest.mark.parametrize(
    "steps",
    [
        ["Mr. Fox met Dr. Who, e.g. at 3.14 p.m. today. ", "Really?! ", '"Yes." ', "He left."],
        ["1. First item.\n", "2. Second item.\n", "- Third"],
        ["Look:\n", "```py\nx = 1. \n\nprint(x)\n```\n", "Done."],
        ["你好。", "再见！", "“走吧。”", "好"],
        ["A line that is\nwrapped by hand. ", "Another."],
        ["The answer is B. \n", "J. Smith agrees."],
        ["Wait… ", "what?"],
        ["```\nnever closed. A. B"],
    ],
)
def test_sentences(steps):
    # a trailing "B." is an option letter and does not end a sentence by itself, but its line does
    assert split("".join(steps), "sentence") == steps


@pytest.mark.parametrize("separator", [".\n", "paragraph", "line", "sentence"])
@pytest.mark.parametrize(
    "text",
    [
        "A sentence of some length. " * 8000,
        *("." * 100_000 + "a", "?!" * 50_000 + "a", "a" + "。" * 100_000, '."' * 50_000 + "a", "A." * 50_000),
        *(" \n" * 100_000 + "a", "\n" + " " * 100_000 + "a", "a" + "\n" * 100_000, "." + "'" * 100_000 + "a"),
        *("```" * 30_000, "```\n" * 30_000, "1." * 50_000, ". \n" * 50_000, "\n \ta" * 40_000),
    ],
    ids=lambda text: repr(text[:6]),
)
def test_no_long_response_takes_long(text, separator):
    before = time.process_time()
    steps = split(text, separator)
    assert time.process_time() - before < 2
    assert "".join(steps) == text


def test_a_run_of_marks_ends_a_sentence_as_one():
    assert split("Wait... what?! No..5 e.g. one.. Yes.", "sentence") == [
        "Wait... ",
        "what?! ",
        "No..5 e.g. one.. ",
        "Yes.",
    ]
    assert len(split("A sentence of some length. " * 8000, "sentence")) == 8000


@pytest.mark.parametrize(
    ("separator", "name"),
    [
        *(("lines", "line"), ("Line", "line"), ("newline", "line"), ("new line", "line"), ("line breaks", "line")),
        *(
            ("paragraphs", "paragraph"),
            ("Paragraph", "paragraph"),
            ("sentences", "sentence"),
            ("sentance", "sentence"),
        ),
    ],
)
def test_a_slip_in_a_separators_name_is_not_a_text(separator, name):
    with pytest.raises(ValueError, match=f"did you mean {name}\\?.* re:"):
        split("All lines.\nOf a paragraph", separator)


@pytest.mark.parametrize("separator", ["Step", "Answer:", "\nLine", "- line", "define", "so", "ли"])
def test_other_words_are_texts(separator):
    assert split(f"a{separator}b", separator) == [f"a{separator}", "b"]


@pytest.mark.parametrize("separator", ["", "re:("])
def test_unreadable_separators_are_refused(separator):
    with pytest.raises(ValueError, match="separator"):
        split("a", separator)
