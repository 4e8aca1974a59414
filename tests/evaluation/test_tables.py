"""Tables in Markdown."""

from __future__ import annotations

from openprm.evaluation.tables import Table, in_markdown, markdown, over_seeds


def test_a_table_in_markdown_keeps_its_cells_whatever_they_hold():
    table = Table("A | <b>", ["model", "accuracy"], [["one|two\nthree", "0.500"], ["<script>", ""]])
    assert markdown([table]).splitlines() == [
        "## A \\| &lt;b>",
        "",
        "| model | accuracy |",
        "| --- | ---: |",
        "| one\\|two three | 0.500 |",
        "| &lt;script> |  |",
    ]
    assert markdown([]) == ""
    assert in_markdown("a\x0b\u2028b\x1b\ud800") == "a b\\x1b\\ud800"


def test_a_range_is_of_several_seeds():
    assert over_seeds({"seeds": [0.5, 0.25, 1.0]}, ".2f") == "0.25 to 1.00"
    assert over_seeds({"seeds": [0.5]}, ".2f") == ""
