"""The tables of an evaluation."""

from __future__ import annotations

from openprm.evaluation.choices_tables import tables

ROW = {"method": "m", "accuracy": 0.5, "low": 0.4, "high": 0.6, "seeds": [0.5]}
ROW |= {"difference": 0.0, "difference_low": 0.0, "difference_high": 0.0}


def test_a_zero_is_no_blank():
    rows = [
        {**ROW, "tied": 0.0, "ties_broken": None},
        {**ROW, "tied": 1.0, "ties_broken": 0.0},
        {**ROW, "tied": None, "ties_broken": None},
    ]
    (table,) = tables({"metrics": rows, "counts": {"prompts": 1, "candidates": 2}})
    assert [row[-2:] for row in table.rows] == [["0.0%", ""], ["100.0%", "0.000"], ["", ""]]
