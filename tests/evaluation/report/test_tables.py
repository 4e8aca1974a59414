"""The tables of an evaluation on benchmarks, by hand."""

from __future__ import annotations

import pytest

from openprm.evaluation.report.tables import (
    benchmark_tables,
    document,
    facts,
    models,
    number,
    opening,
    overview,
    remarks,
)

from .results import benchmark, difference, metric, results

SEEDS = {"seeds": [0.25, 0.75]}


def titles(tables):
    return [table.title for table in tables]


def test_a_number_has_its_interval_as_far_as_there_are_any():
    assert number(metric("m", 0.5, 0.25, 0.75)) == "0.500 (0.250 to 0.750)"
    assert number(metric("m", -0.5, -1.0, 0.0), "+.3f") == "-0.500 (-1.000 to +0.000)"
    assert number(metric("m", 0.5)) == "0.500"
    assert number(metric("m", 0.0, 0.0, 0.0)) == "0.000 (0.000 to 0.000)"
    assert number(metric("m", None)) == number(None) == ""


def test_the_overview_has_the_headline_of_each_benchmark_by_model_and_baseline():
    one = benchmark(
        [
            metric("mine", 0.6, 0.5, 0.7),
            metric("mine", 0.1, subset="hard"),
            metric("mine", 0.2, part="length", metric="accuracy"),
            metric("random score", 0.5),
            metric("majority vote", 0.9),
        ]
    )
    other = benchmark([metric("mine", None, metric="F1"), metric("length", 0.4, metric="F1")], headline="F1")
    table = overview(results("mine", one=one, other=other))
    assert table.header == ["model", "one: accuracy", "other: F1"]
    assert table.rows == [
        ["mine", "0.600 (0.500 to 0.700)", ""],
        ["random score", "0.500", ""],
        ["length", "", "0.400"],
    ]
    assert overview(results("mine")).rows == []


def test_models_of_one_kind_stand_together_and_their_unscored_responses_are_summed():
    found = results("prm", one=benchmark([metric("prm", 0.5, **SEEDS)], unscored={"prm-0": 1, "prm-1": 1_200}))
    found["models"]["prm"]["models"] = ["prm-0", "prm-1"]
    assert models(found).rows == [["prm", "prm-0, prm-1", "min", "strength"]]
    (whole,) = benchmark_tables(found["benchmarks"]["one"], found["models"])
    assert whole.header == ["model", "accuracy", "over seeds", "items", "unscored responses"]
    assert whole.rows == [["prm", "0.500", "0.250 to 0.750", "10", "1,201"]]


def test_each_kind_of_number_has_its_table():
    result = benchmark(
        [
            metric("mine", 0.5),
            metric("mine", 0.25, metric="F1"),
            metric("vote", 0.75, aggregation=None, items=9),
            metric("mine", 1.0, subset="a"),
            metric("vote", 0.0, subset="b", items=4),
            metric("mine", 0.1, metric="accuracy@1"),
            metric("mine", 0.2, metric="accuracy@2"),
            metric("mine", 0.3, part="attacks", metric="flipped", subset="empty", items=3),
            metric("vote", 0.4, part="attacks", metric="flipped", subset="empty", items=2_000),
            metric("mine", None, part="length", metric="correlation"),
            metric("mine", 0.6, part="attacks", metric="change", subset="empty", items=3),
            metric("mine", 0.7, part="attacks", metric="flipped", subset="colon", items=3),
        ],
        aggregations=[
            metric("mine", 0.5, aggregation="min"),
            metric("mine", 0.6, aggregation="max"),
            metric("length", 0.7, aggregation="max"),
        ],
    )
    whole, subsets, curve, by_aggregation, attacks, length = benchmark_tables(result, {})
    assert whole.rows == [["mine", "0.500", "0.250", "", "10", ""], ["vote", "0.750", "", "", "9", ""]]
    assert subsets == ("By subset: accuracy", ["subset", "mine", "vote", "items"], subsets.rows)
    assert subsets.rows == [["a", "1.000", "", "10"], ["b", "", "0.000", "4"]]
    assert curve == (
        "By number of candidates",
        ["candidates", "mine", "items"],
        [["1", "0.100", "10"], ["2", "0.200", "10"]],
    )
    assert by_aggregation.header == ["model", "min", "max"]
    assert by_aggregation.rows == [["mine", "0.500", "0.600"], ["length", "", "0.700"]]
    assert attacks == (
        "Probe: attacks",
        ["number", "mine", "vote", "items"],
        [
            ["flipped: empty", "0.300", "0.400", "3 to 2,000"],
            ["flipped: colon", "0.700", "", "3"],
            ["change: empty", "0.600", "", "3"],
        ],
    )
    assert length.rows == [["correlation", "", "10"]]


def test_differences_are_of_models_and_always_theirs_less_what_they_are_compared_with():
    result = benchmark(
        [metric("mine", 0.5)],
        differences=[
            difference("other", "mine", 0.1, -0.1, 0.3, **SEEDS),
            difference("mine", "random score", 0.25, -0.125, 0.5, seeds=[0.0, 0.5]),
            difference("length", "random score", 0.5, 0.4, 0.6),
            difference("mine", "majority vote", -0.1, -0.2, 0.0),
            difference("random score", "majority vote", -0.1, -0.2, 0.0),
            difference("other", "mine", 0.9, 0.9, 0.9, subset="a"),
            difference("other", "mine", 0.9, 0.9, 0.9, part="length"),
            difference("other", "mine", 0.9, 0.9, 0.9, metric="F1"),
            difference("mine", "length", None, None, None, seeds=[None, 0.5]),
        ],
    )
    _, table = benchmark_tables(result, results("mine", "other")["models"])
    assert table.title == "Differences in accuracy, paired by prompt"
    assert table.header == ["model", "less random score", "less majority vote", "less length", "less mine"]
    assert table.rows == [
        ["mine", "+0.250 (-0.125 to +0.500)", "-0.100 (-0.200 to +0.000)", "", ""],
        ["other", "", "", "", "+0.100 (-0.100 to +0.300)"],
    ]


def test_facts_say_the_data_and_what_was_left_out_of_it():
    result = benchmark([], skipped={"no chosen": 2, "too long": 1_000}, limit=5)
    assert facts("one", result) == {
        "name": "one",
        "kind": "pairs",
        "data": "pairs.jsonl",
        "revision or hash": "abc123",
        "license": "MIT",
        "items": "10 of at most 5 prompts",
        "left out": "2 (no chosen), 1,000 (too long)",
    }


def test_the_document_has_everything_and_no_text_of_others_breaks_it():
    hostile = "a|b\n# c<script>"
    found = results(hostile, **{"one|": benchmark([metric(hostile, 0.5)], title=hostile)})
    found["skipped"] = {"two": "there is no such file"}
    text = document(found)
    assert text.startswith("# Evaluation\n\n- two was not measured: there is no such file\n\n## Overview\n\n| model |")
    lines = text.splitlines()
    assert "## a\\|b # c&lt;script>" in lines
    assert "| a\\|b # c&lt;script> | 0.500 |" in lines
    assert "| a\\|b # c&lt;script> | 0.500 |  | 10 |  |" in lines
    assert [line for line in lines if line.startswith("#")] == [
        "# Evaluation",
        "## Overview",
        "## Models",
        "## a\\|b # c&lt;script>",
        "### Whole",
    ]
    assert document(results()) == "# Evaluation\n"


def test_what_is_missing_is_said():
    one = benchmark(
        [metric("mine", 0.5)], limit=20, skipped={"no chosen": 3}, unscored={"mine": 2, "other": 0, "third": 2}
    )
    found = results("mine", one=one)
    found["skipped"] = {"two": "the Hub does not give it"}
    assert remarks(found) == [
        "two was not measured: the Hub does not give it",
        "one: only 20 of its prompts were drawn (--limit)",
        "one: 3 left out of the whole file: no chosen",
        "one: of 20 responses these have no reward, and lose: 2 by mine, third",
    ]
    assert remarks(results("mine", one=benchmark([metric("mine", 0.5)]))) == []


def test_what_a_probe_could_not_measure_is_said():
    details = {
        "calibration": {"mine": {"why": "no probabilities"}, "length": {"why": "no probabilities"}},
        "prefixes": {"mine": {"items": 8, "left_out": 1_002}, "length": {"items": 8, "left_out": 1_002}},
        "attacks": {"mine": None},
        "abstention": {"mine": [{"coverage": 1.0, "risk": 0.5}]},
        "distribution": {},
    }
    assert remarks(results("mine", one=benchmark([metric("mine", 0.5)], details=details))) == [
        "one: calibration of mine: no probabilities",
        "one: 1,002 items are left out by the probe prefixes",
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (difference("mine", "length", 0.1, 0.01, 0.2), ""),
        (difference("mine", "length", 0.1, 0.0, 0.2), "not better than length: one +0.100 (+0.000 to +0.200)"),
        (difference("mine", "length", -0.1, -0.2, -0.05), "worse than length: one -0.100 (-0.200 to -0.050)"),
        (difference("mine", "length", 0.1, None, None), ""),
        (difference("mine", "length", None, None, None), ""),
        (difference("mine", "majority vote", -0.1, -0.2, -0.1), ""),
        (difference("length", "random score", -0.1, -0.2, -0.1), ""),
        (difference("mine", "length", -0.1, -0.2, -0.1, subset="hard"), ""),
    ],
)
def test_a_model_that_is_not_better_than_a_baseline_is_said_to_be_so(row, said):
    found = results("mine", one=benchmark([metric("mine", 0.5)], differences=[row]))
    assert remarks(found) == ([f"mine is {said}"] if said else [])


def test_thresholds_are_shown_with_what_they_were_chosen_on():
    half = {"threshold": 0.25, "from": "math"}
    details = {"first-error": {"mine": {"thresholds": {"gsm8k": half, "math": {"threshold": None, "from": "gsm8k"}}}}}
    found = benchmark([metric("mine", 0.5)], kind="first-error", details=details)
    tables = {one.title: one for one in benchmark_tables(found, results("mine")["models"])}
    assert tables["Thresholds"].rows == [["mine", "gsm8k", "math", "0.250"], ["mine", "math", "gsm8k", ""]]


def test_the_share_of_responses_without_a_reward_stands_before_the_benchmarks():
    one, two = (benchmark([metric("mine", 0.5)], unscored=some) for some in ({"mine": 5, "other": 0}, {"mine": 0}))
    (found,) = [table for table in opening(results("mine", one=one, two=two)) if "without a reward" in table.title]
    assert (found.header, found.rows) == (["model", "one", "two"], [["mine", "25%", "0%"]])


def test_a_headline_that_does_not_exist_and_a_section_that_is_not_there_are_said():
    said = "the mean of a; a tie is a loss; without b; not in it: 'c'"
    found = remarks(results("mine", one=benchmark([metric("mine", 0.5, metric="AUC")], arithmetic=said)))
    assert found == [f"one: {said}", "one: there is no accuracy: it needs more items (--limit), or others"]
