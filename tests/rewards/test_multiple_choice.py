import pytest

from openprm.rewards.multiple_choice import choice_rule, golden_option, read_options, stated_option
from tests.rewards.outcomes import assert_quick, failure, outcome, reward

QUESTION = """What do plants do with light?
A. respiration
B. photosynthesis
C. 16
D. a lot of growing
E. photosynthesis at night"""
OPTIONS = read_options(QUESTION)


@pytest.mark.parametrize(
    "question",
    [
        "Which?\nA. one\nB. two\nC. three",
        "Which?\n(A) one\n(B) two\n(C) three",
        "Which?\n A) one \n B) two\n C) three\nAnswer with the letter.",
        "Which?\r\nA. one\r\nB. two\r\nC. three\r\n",
        "Which?\na) one\nb) two\nc) three",
        "A. B. Cee asks\nB. not an option\nWhich?\nA. one\nB. two\n\nC: three",
    ],
)
def test_options(question):
    assert read_options(question) == {"A": "one", "B": "two", "C": "three"}


def test_a_question_without_options():
    assert read_options("What is 2 + 2?") == {}
    assert stated_option("The answer is (C).", {}) == "C"


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("The answer is (B).", "B"),
        ("**Answer: B** as plants need light", "B"),
        ("The correct answer is option B: photosynthesis.", "B"),
        (r"Thus $\boxed{\text{C}}$", "C"),
        ("(B)", "B"),
        ("B. photosynthesis", "B"),
        ("the answer is A. No, the answer is B.", "B"),
        ("The answer that fits best is (C).", "C"),
        ("So (B) is correct.", "B"),
        ("Option D is the right one, (D) is right.", "D"),
        ("The answer is (B). Plants do.\n\n(A) is wrong.\n(C) Is a number.", "B"),
        ("The answer is:\nB. photosynthesis\n\nPlants do it.", "B"),
        ("The answer is (b).", "B"),
        ("FINAL ANSWER: [b]", "B"),
        (r"So $\boxed{b}$ or \(B\)", "B"),
        ("(b)", "B"),
        ("b)", "B"),
        ("Option (c) is correct.", "C"),
        ("Option C", "C"),
        ("**Option C.**", "C"),
        ("It grows. Therefore D.", "D"),
        ("Is the answer B? Hence, it is option D\n", "D"),
        ("The answer must be B.", "B"),
        ("Correct option: B, as plants do", "B"),
        ("I would go with (B).", "B"),
        ("<think>(A)?</think><answer>B</answer>", "B"),
        ("The answer is B\r\nas plants do", "B"),
        # in other languages, as simple-evals reads them
        *[(text, "B") for text in ("Die Antwort ist B.", "Die richtige Antwort lautet (B).", "Antwort: B")],
        *[(text, "B") for text in ("La respuesta correcta es la B.", "La réponse est B", "Réponse : B")],
        *[(text, "B") for text in ("La risposta è B.", "A resposta é B.", "Ответ: B", "所以答案是B。", "答案：Ｂ")],
        *[(text, "B") for text in ("정답은 B입니다", "答え: B", "正确答案是（B）")],
        # by text
        ("The answer is photosynthesis.", "B"),
        ("So the answer is **Photosynthesis**, as always", "B"),
        ("The answer is photosynthesis at night.", "E"),
        ("The answer is $16$.", "C"),
        ("Photosynthesis.", "B"),
        ("The answer is a lot of growing.", "D"),
        # no statement: the last sentence names one
        ("A is wrong. The closest is (C).", "C"),
        ("They live by B. photosynthesis.", "B"),
        ("The answer is not among them, but the closest is (A).", "A"),
        # the model asks itself the next question
        ("The answer is (B).\n\nQuestion: Why?\nA. yes\nThe answer is (A).", "B"),
    ],
)
def test_an_option_is_stated(response, letter):
    assert stated_option(response, OPTIONS) == letter


@pytest.mark.parametrize(
    "response",
    [
        "",
        "I do not know.",
        "Both A and B look right",
        "The answer is A or B.",
        "The answer is (A), (B), and (C).",
        "The answer is photosynthesis or respiration.",
        "The answers are:\nA. respiration\nB. photosynthesis",
        "The answer is A great mystery",
        "The answer is 16.5",
        "The answer is (J).",
        "It is (A) or (B).",
        "The answer is b.",
        "The answer is f(b)",
        "The answers are:\r\nA. respiration\r\nB. photosynthesis",
        "So D is wrong.",
        "Therefore B or D.",
        "It is not B. Therefore not D.",
        "It is as in case (b).",
        "That is not so, so option D",
        "答案：\n\nA. respiration\nB. photosynthesis\n等等",
    ],
)
def test_none_or_several_are_stated(response):
    assert stated_option(response, OPTIONS) is None


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        *[
            ("The answer is 4.", "A"),
            ("4", "A"),
            ("So the answer is **4**, as always", "A"),
            ("The answer is x.", "D"),
        ],
        *[("The answer is x = 4.", None), ("The answer is 4 + 1 = 5.", None), ("The answer is 4.5", None)],
        *[("The answer is 4 1/2", None), ("The answer is 4 / 5", None), ("The answer is 5%", None)],
        ("The answer is B, as 2 + 2 = 4", "B"),
    ],
)
def test_options_of_one_character(response, letter):
    options = read_options("2 + 2?\nA. 4\nB. 5\nC. 1/2\nD. x")
    assert stated_option(response, options) == letter


def test_a_small_letter_is_no_option_where_it_is_a_text():
    options = {"A": "b", "B": "a", "C": "c"}
    assert [stated_option(f"The answer is {one}", options) for one in ("(b)", "b", "(B)")] == [None, None, "B"]
    assert [golden_option(one, options) for one in ("b", "B")] == ["A", "B"]


def test_a_letter_is_stronger_than_a_text_of_one_letter():
    assert stated_option("The answer is (B).", {"A": "B", "B": "C", "C": "A"}) == "B"


@pytest.mark.parametrize(
    ("reference", "letter"),
    [("B", "B"), ("(B)", "B"), ("b", "B"), ("Photosynthesis", "B"), ("16.0", "C"), ("K", None), ("osmosis", None)],
)
def test_golden_option(reference, letter):
    assert golden_option(reference, OPTIONS) == letter


def test_two_options_with_one_text_are_no_reference():
    assert golden_option("yes", {"A": "yes", "B": "Yes."}) is None


def test_the_rule():
    rule = choice_rule()
    assert outcome(rule, "The answer is photosynthesis.", "B", QUESTION) == reward("choice", 1.0)
    assert outcome(rule, "The answer is B.", "photosynthesis", QUESTION) == reward("choice", 1.0)
    assert outcome(rule, "The answer is A.", "B", QUESTION) == reward("choice", 0.0)
    assert outcome(rule, "A or B.", "B", QUESTION) == reward("choice", 0.0, "unparsable")
    assert failure(rule, "A", None, QUESTION).reason == "no reference"
    assert "neither an option's letter nor its text" in failure(rule, "A", "osmosis", QUESTION).reason
    assert outcome(choice_rule("mc"), "The answer is (C)", "C") == reward("mc", 1.0)


@pytest.mark.parametrize(
    "unit",
    [
        *["A ", "(A) ", "answer is ", "the best option ", "\\boxed{", "A, ", "\nA. ", "* ", ". ", "*", "So ", "So *"],
        *[
            "option ",
            "option (A) is ",
            "(",
            "\\text{",
            "答案",
            "答案是",
            "antwort ",
            "antwort ist ",
            "I would go with ",
        ],
    ],
)
def test_degenerate_responses_are_read_in_reasonable_time(unit):
    assert_quick(lambda text: stated_option(text, OPTIONS), unit)
    assert_quick(read_options.__wrapped__, unit)


def test_options_that_read_the_same_are_equal():
    options = read_options("Which?\nA. caf\u00e9\nB. tea")
    assert stated_option("The answer is cafe\u0301.", options) == "A"
    assert stated_option("The answer is (\u200bB).", options) == "B"
