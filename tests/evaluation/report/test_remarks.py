"""What is said of an evaluation before its numbers."""

from __future__ import annotations

import pytest

from openprm.evaluation.report.remarks import remarks

from .results import benchmark, difference, metric, results


def test_what_is_missing_is_said():
    one = benchmark(
        [metric("mine", 0.5)], limit=20, skipped={"no chosen": 3}, unscored={"mine": 2, "other": 0, "third": 2}
    )
    found = results("mine", one=one)
    found["skipped"] = {"two": "the Hub does not give it"}
    assert remarks(found) == [
        "two was not measured: the Hub does not give it",
        "one: only 20 of its prompts were drawn (--limit)",
        "one: 3 left out: no chosen",
        "one: 2 responses have no reward by mine, third, and are ranked last",
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
        (difference("length", "mine", -0.1, -0.2, -0.01), []),
        (
            difference("length", "mine", -0.1, -0.2, 0.0),
            ["not better than length (accuracy: +0.100, +0.000 to +0.200)"],
        ),
        (difference("length", "mine", 0.1, 0.05, 0.2), ["worse than length (accuracy: -0.100, -0.200 to -0.050)"]),
        (difference("length", "mine", 0.1, None, None), ["not better than length (accuracy: -0.100)"]),
        (difference("length", "mine", None, None, None), []),
        (difference("mine", "majority vote", -0.1, -0.2, -0.1), []),
        (difference("length", "random score", -0.1, -0.2, -0.1), []),
        (difference("length", "mine", 0.1, 0.05, 0.2, subset="hard"), []),
    ],
)
def test_a_model_that_is_not_better_than_a_baseline_is_said_to_be_so(row, said):
    found = results("mine", one=benchmark([metric("mine", 0.5)], differences=[row]))
    assert remarks(found) == [f"one: mine is {text}" for text in said]
