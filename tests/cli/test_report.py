"""What is printed of a stage's result: always the share of one-step responses, warnings."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from openprm.cli import report
from openprm.cli.report import print_summary, print_table


def summary(counts: dict[str, Any], separator: str = ".\n", stage: str = "trees", out: str = "out") -> None:
    print_summary({"stage": stage, "rows": 3, "parameters": {"separator": separator}, "counts": counts}, out)


SHARES = {".\n": 0.8, "paragraph": 0.9, "line": 0.7, "sentence": 0.05}


def test_mostly_one_step(capsys):
    summary({"one_step_share": 0.82, "other_separators": SHARES})
    assert capsys.readouterr().out.split("\n", 2)[2] == (
        "Warning: 82% of the responses are one step, which no process pair can come from. "
        "With --separator 'sentence' it would be 5% (on a sample).\n"
    )


@pytest.mark.parametrize(
    ("separator", "shares", "advice"),
    [
        ("line", {**SHARES, "sentence": 1.0, "line": 0.6}, r""),  # never what is in use, nor what is worse
        ("paragraph", {".\n": 0.1, "sentence": 0.2}, r"With --separator '.\n' it would be 10%"),
    ],
)
def test_a_better_separator_is_named_only_if_there_is_one(capsys, separator, shares, advice):
    summary({"one_step_share": 0.65, "other_separators": shares}, separator)
    out = capsys.readouterr().out
    assert "65% of the responses are one step" in out
    assert advice in out
    assert advice or "--separator" not in out


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_share_is_always_printed(capsys, share):
    summary({"one_step_share": share, "other_separators": SHARES, "skipped": 0, "marks": {}})
    assert capsys.readouterr().out.split("\n")[:-1] == ["trees: 3 rows in out", f" one step share  {share} "]


def test_the_papers_numbers_stand_beside_ours(capsys):
    summary({"sibling_pairs_per_prompt": 1.5}, stage="pairs")
    out = capsys.readouterr().out
    assert "sibling pairs per prompt  1.5" in out
    assert "The paper kept, per prompt: UltraFeedback 1.17, ScienceQA 1.99, MATH 2.66 (Table 4)." in out


def test_examples_near_the_threshold_are_shown(capsys):
    examples = {"merged": [["[b]Add.", "x" * 300, 0.8812]], "apart": []}
    parameters = {"separator": ".\n", "threshold": 0.88}
    counts = {"merged_share": 0.5}
    manifest = {"stage": "trees", "rows": 3, "parameters": parameters, "counts": counts, "near_threshold": examples}
    print_summary(manifest, "out")
    out = capsys.readouterr().out
    assert "Different steps that merged just above the threshold of 0.88:\n  0.8812 [b]Add.\n         xxx" in out
    assert "just below" not in out
    assert max(map(len, out.splitlines())) <= 200


def test_too_few_outcome_pairs_are_said(capsys):
    for wanted, said in (("9", True), ("3", False), ("best", False)):
        parameters = {"separator": ".\n", "outcome": wanted}
        counts = {"levels": {"process": 9, "outcome": 3}}
        print_summary({"stage": "pairs", "rows": 3, "parameters": parameters, "counts": counts}, "out")
        assert ("only 3 outcome pairs of such a gap, not the 9" in capsys.readouterr().out) == said


def test_names_and_reasons_are_not_markup(capsys):
    summary({"rejected": {"'[bold]' is missing": 2, "rare": 1}, "sources": {"[red]": 3}}, out="runs[/x]")
    out = capsys.readouterr().out
    assert "trees: 3 rows in runs[/x]\n" in out
    assert "sources  [red]: 3" in out
    assert out.endswith(
        "3 rows were rejected, listed in runs[/x]/rejected.jsonl:\n         2  '[bold]' is missing\n         1  rare\n"
    )


def test_a_table(capsys):
    print_table("t", ["name", "value"], [["[a]", "1"]])
    assert "[a]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "warning"),
    [
        ({"merged_share": 0.004}, "0.4% of the steps merged"),
        ({"merged_share": 0.2}, ""),
        (
            {"end_nodes_with_right_and_wrong": 214, "end_nodes_of_several_responses": 1341},
            "214 of 1341 end nodes of several responses hold right and wrong ones: --distinct-answers",
        ),
        (
            {"single_response_share_by_level": {"process": 0.93}},
            "93% of the process pairs have one response behind each",
        ),
        ({"single_response_share_by_level": {"process": 0.5, "outcome": 1.0}}, ""),
        (
            {"min_gap_by_source": {"uf": 0.2}, "reward_sd_by_source": {"uf": 8.0}},
            "a gap of 0.2 is only 2.5% of a standard deviation of the rewards of uf",
        ),
        ({"min_gap_by_source": {"math": 0.2}, "reward_sd_by_source": {"math": 0.5}}, ""),
    ],
)
def test_what_trees_and_pairs_will_not_do_is_said(capsys, counts, warning):
    summary(counts)
    out = capsys.readouterr().out
    assert warning in out
    assert ("Warning" in out) == bool(warning)


def test_no_table_cuts_a_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr(report, "console", lambda: Console(width=40))
    report.print_table(
        "title", ["choice", "accuracy", "95 % interval"], [["best of 16: openprm/min", "0.9", "0 to 1"]]
    )
    lines = capsys.readouterr().out.splitlines()
    assert "…" not in "".join(lines)
    assert "bestof16:openprm/min" in "".join("".join(line.split("│")[1:2]) for line in lines).replace(" ", "")
