import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.evaluation.benchmarks.declaration import declare
from openprm.evaluation.benchmarks.items import Response
from openprm.evaluation.benchmarks.summary import summarize
from openprm.evaluation.probes import PROBES
from openprm.evaluation.probes.mathematics import parts
from openprm.scoring.steps import split
from tests.evaluation.probes.measuring import item, seen

PAIRS = declare("mine", {"kind": "pairs", "title": "Mine", "probes": ["mathematics"]}, "here")


@pytest.mark.parametrize(
    ("text", "mathematics"),
    [
        ("Natalia sold 48/2 = <<48/2=24>>24 clips in May.", ["48/2", "<<48/2=24>>"]),
        ("She sold 48+24 = 72 clips altogether.\n#### 72", ["48+24 = 72", "#### 72"]),
        ("He pays $5 * 3 = $15 for 3 of them.", ["$5 * 3 = $15"]),
        ("It costs $5 and then $6, or $1,000.", []),
        ("It takes 2 hours x 3 = 6 hours in 4 days.", ["2 hours x 3 = 6"]),
        ("He pays 7 pounds * $6 per pound = $42.", ["7 pounds * $6 per pound = $42"]),
        ("Then 2x + 3 = 7, so x = 2.", ["2x + 3 = 7", "x = 2"]),
        ("She adds 20% (of 50): (50 * 0.2) = 10.", ["(50 * 0.2) = 10"]),
        ("The root is $\\sqrt{2}$, and $x$ too.", ["$\\sqrt{2}$", "$x$"]),
        ("So \\(a^2\\) and\n\\[\nb = c\n\\]\nhold.", ["\\(a^2\\)", "\\[\nb = c\n\\]"]),
        ("We get $$a\n= b$$ or \\begin{align*}a\\end{align*}.", ["$$a\n= b$$", "\\begin{align*}a\\end{align*}"]),
        ("The answer is \\boxed{\\frac{1}{2}}.", ["\\boxed{\\frac{1}{2}}"]),
        ("A well-known answer - I think - is B.", []),
        ("- 5 spoons\n- 6 forks", []),
        ("In 2020 there were 12 of them.", []),
    ],
)
def test_what_is_mathematics(text, mathematics):
    assert [piece for kind, piece in parts([text])[0] if kind] == mathematics


@given(st.text(alphabet="ab x$\\()[]{}=+-*/0123<>#.\n", max_size=60))
def test_mathematics_and_prose_are_all_of_each_step(text):
    steps = split(text, "sentence")
    assert ["".join(piece for _, piece in pieces) for pieces in parts(steps)] == steps


def test_views_keep_the_number_of_steps():
    answer = "First we add. So 2 + 3 = 5 of them.\nThen\n4 * 5 = 20"
    views = PROBES["mathematics"].views([item(answer, answer + "0")])
    assert {view: [one.text for one in views[view][0].responses] for view in views} == {
        "whole": [answer, answer + "0"],
        "only mathematics": ["... 2 + 3 = 5\n...\n4 * 5 = 20", "... 2 + 3 = 5\n...\n4 * 5 = 200"],
        "only prose": ["First we add. So  of them.\nThen\n..."] * 2,
    }
    assert {len(response.steps) for one in views.values() for response in one[0].responses} == {4}


def test_mathematics_over_several_steps():
    item_ = item("a", "b")
    steps = ("We have \\[a\n", "= b\\] here.")
    views = PROBES["mathematics"].views([type(item_)("x", item_.question, (Response("".join(steps), steps),) * 2)])
    assert views["only mathematics"][0].responses[0].steps == ("\\[a\n", "= b\\]")
    assert views["only prose"][0].responses[0].steps == ("We have\n", "here.")


def test_a_judge_of_sums_needs_no_prose():
    """Right sums score; the prose says nothing, so without mathematics both tie, which is a loss."""
    items = [item("It is 2 + 2 = 4.", f"It is 2 + 2 = {n}.", name=str(n), subset="") for n in (5, 6)]
    found = summarize(PAIRS, items, {"m": [seen("mathematics", items, lambda text: float("= 4" in text))]})["metrics"]
    assert {row["metric"]: (row["value"], row["items"], row["part"]) for row in found} == {
        "accuracy": (1.0, 2, ""),
        "accuracy of whole": (1.0, 2, "mathematics"),
        "accuracy of only mathematics": (1.0, 2, "mathematics"),
        "accuracy of only prose": (0.0, 2, "mathematics"),
    }


def test_items_that_lack_either_are_left_out_and_counted():
    items = [item("It is 2 + 2.", "It is five."), item("2 + 2 = 4", "So 2 + 2 = 5"), item("So 1 + 2.", "No: 1 + 3.")]
    views = seen("mathematics", items, len)
    assert PROBES["mathematics"].details(views) == {"items": 1, "left_out": 2, "all": 3}
    assert set(PROBES["mathematics"].readings(seen("mathematics", items[:2], len))) == set()
