import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.evaluation.benchmarks.declaration import declare
from openprm.evaluation.benchmarks.summary import summarize
from openprm.evaluation.probes import PROBES
from openprm.evaluation.probes.prefixes import slices
from tests.evaluation.probes.measuring import item, seen

PAIRS = declare("mine", {"kind": "pairs", "title": "Mine", "probes": ["prefixes"]}, "here")


def curve(items, score, aggregation="last"):
    views = seen("prefixes", items, score, aggregation)
    metrics = summarize(PAIRS, items, {"model": [views]})["metrics"]
    assert all(row["aggregation"] == "last" for row in metrics if row["part"] == "prefixes")
    return {row["metric"]: row["value"] for row in metrics if not row["subset"]}


@given(st.text(min_size=10))
def test_slices_join_to_the_text_and_none_is_empty(text):
    assert "".join(slices(text)) == text
    assert len(slices(text)) == 10
    assert all(slices(text))


def test_slices_end_at_the_ends_of_words():
    text = "one two three four five six seven eight nine ten eleven twelve"
    assert slices(text)[:3] == ("one", " two", " three four")  # before 6, 12 and 18 characters
    assert slices("0123456789" * 2) == ("01", "23", "45", "67", "89") * 2


def test_the_accuracy_on_each_part_of_the_answers():
    """The chosen answers' words score once they are read: of the first after 30 %, of the second at the end."""
    early, late, bad = "aaaaaaGOOD bbbbbb ccc", "aaaaaaaaaa bbbb GOOD", "dddddddd eeeeeee ffff"
    items = [item(early, bad, name="early", subset=""), item(late, bad, name="late", subset="")]
    found = curve(items, lambda text: float("GOOD" in text))
    assert [found[f"accuracy at {percent} %"] for percent in range(10, 101, 10)] == [0] * 4 + [0.5] * 5 + [1.0]


@pytest.mark.parametrize("aggregation", ["last", "min"])
def test_all_of_the_answer_is_the_accuracy_by_the_last_reward(aggregation):
    texts = [f"Step {n}. Then {n * 7 % 11} of it. So {n * 3 % 8}" for n in range(40)]
    items = [item(a, b, subset="") for a, b in zip(texts[::2], texts[1::2], strict=True)]
    score = lambda text: float(sum(map(ord, text)) * 7919 % 101)  # noqa: E731
    last = curve(items, score)
    assert last["accuracy at 100 %"] == last["accuracy"]
    other = curve(items, score, aggregation)
    assert other["accuracy at 100 %"] == last["accuracy"]
    assert 0 < last["accuracy"] < 1
    assert (other["accuracy"] == last["accuracy"]) == (aggregation == "last")


def test_short_answers_are_left_out_and_counted():
    items = [item("long enough", "too short", subset="", name="a"), item("long enough", "also long", subset="")]
    views = seen("prefixes", [*items, item("well long", "long enough too", subset="")], len)
    assert PROBES["prefixes"].details(views) == {"items": 0, "left_out": 3, "alike": []}
    assert not PROBES["prefixes"].readings(views)
    items.append(item("long enough", "as long as it", subset="", name="c"))
    found = curve(items, len)
    assert found["accuracy at 100 %"] == 0
    assert found["accuracy"] == pytest.approx(2 / 3)


def test_where_answers_begin_alike_every_model_ties_and_loses():
    """Both begin with the same 3 of 10 letters."""
    items = [item("abcdefghij", "abcDEFGHIJ", subset=""), item("0123456789", "abcdefghij", subset="")]
    found = curve(items, lambda text: -ord(text[-1]) * text[-1].isupper())
    assert [found[f"accuracy at {percent} %"] for percent in (30, 40)] == [0, 1 / 2]
    assert PROBES["prefixes"].details(seen("prefixes", items, len))["alike"] == [0.5] * 3 + [0] * 7


def test_subsets_have_curves_too():
    items = [item("a" * 20, "b" * 10, subset="one"), item("c" * 20, "d" * 10, subset="two")]
    views = seen("prefixes", items, len)
    metrics = summarize(PAIRS, items, {"model": [views]})["metrics"]
    assert {row["subset"] for row in metrics if row["metric"] == "accuracy at 50 %"} == {"", "one", "two"}


def test_steps_of_a_single_answer_have_none():
    assert PROBES["prefixes"].views([item("a single answer")]) == {"prefixes": []}
