"""The files of an evaluation on benchmarks."""

from __future__ import annotations

import json

from openprm.evaluation.report.write import RESULTS, TABLES, finite, write_report

from .results import benchmark, metric, results


def test_a_number_that_is_not_there_is_null_and_an_empty_cell(tmp_path):
    row = metric("mine", float("nan"), float("nan"), float("inf"), seeds=[float("nan"), 0.5])
    found = results("mine", one=benchmark([row], details={"other": {"mine": ({"score": -float("inf")},)}}))
    write_report(found, tmp_path, "openprm evaluate")
    written = json.loads((tmp_path / RESULTS).read_text("utf-8"), parse_constant=lambda text: 1 / 0)
    one = written["benchmarks"]["one"]
    assert (one["metrics"][0]["value"], one["metrics"][0]["high"]) == (None, None)
    assert (one["metrics"][0]["seeds"], one["details"]) == ([None, 0.5], {"other": {"mine": [{"score": None}]}})
    text = (tmp_path / TABLES).read_text("utf-8")
    assert "nan" not in text
    assert "None" not in text
    assert "| mine |  |  | last | 10 |  |" in text


def test_only_what_is_no_number_is_taken_out():
    assert finite({"a": [1, 0.5, None, "nan", True], "b": (float("-inf"),)}) == {
        "a": [1, 0.5, None, "nan", True],
        "b": [None],
    }
