"""A command that is given again."""

from __future__ import annotations

from pathlib import Path

from ..answers import write_jsonl

ROWS = [
    {"question": "2 + 2?", "response": "Add.\nFour", "reward": 1.0},
    {"question": "2 + 2?", "response": "Guess.\nFive", "reward": 0.0},
]


def test_what_was_made_is_not_made_again_and_says_so(run, fails):
    write_jsonl(Path("a.jsonl"), ROWS)
    assert "already made" not in run("trees", "a.jsonl", "-o", "t")[1]
    out = run("trees", "a.jsonl", "-o", "t", "--num-proc", "2")[1]
    assert out.startswith("t was already made, with the same parameters and inputs; --force makes it again\ntrees: 1")
    line = fails("trees", "a.jsonl", "-o", "t", "--threshold", "0.5", "--similarity", "indel")
    assert "t was made with similarity 'levenshtein', not 'indel', threshold 0.88, not 0.5; choose another" in line
    assert "already made" not in run("trees", "a.jsonl", "-o", "t", "--threshold", "0.5", "--force")[1]
