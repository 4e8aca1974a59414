"""Rows of a prompt in the terminal."""

from __future__ import annotations

from rich.console import Console

from openprm.schema import SCHEMA_VERSION
from openprm.viewer import terminal
from openprm.viewer.colors import SCALE
from openprm.viewer.terminal import print_rows

from ..folders import candidate
from ..trees.test_statistics import TREES, tree

ROW = {"schema_version": SCHEMA_VERSION, "prompt_id": "p", "source": "test"}


def scored(index: int, steps: list[str], rewards: list[float | None], score: float) -> dict[str, object]:
    row = {**ROW, "sample_index": index, "steps": steps, "step_rewards": rewards}
    return {**row, "score": score, "aggregation": "min", "truncated": None in rewards}


def test_scores(capsys):
    worse = {**candidate("p", 0, "Guess.\n5", 0.0), **scored(0, ["Guess.\n", "5"], [0.5, -10.25], -10.25)}
    better = scored(1, ["Add [2].\nCarefully.\n", "4"], [1.5, None], 1.5)
    print_rows([worse, better])
    assert capsys.readouterr().out == (
        "p (test)\nuser: What is p?\n\n"
        "sample 1: score +1.500 (min), too long for the model, scored by its first steps\n"
        "   +1.500  Add [2].\n           Carefully.\n"
        "     none  4\n\n"
        "sample 0: score -10.250 (min), golden +0.000\n"
        "   +0.500  Guess.\n"
        "  -10.250  5\n"
    )


def test_labels(capsys):
    row = {
        **candidate("p", 0, ""),
        "steps": ["One.\n", "Three."],
        "labels": [1.0, 0.0],
        "kind": "correct",
        "by": "trl",
    }
    print_rows([{**row, "first_error": 1}, {**row, "sample_index": 1, "labels": [None, 1.0], "first_error": -1}])
    assert capsys.readouterr().out.endswith(
        "sample 0: labels (correct) by trl, step 1 wrong\n   +1.000  One.\n   +0.000  Three.\n\n"
        "sample 1: labels (correct) by trl, no step wrong\n     none  One.\n   +1.000  Three.\n"
    )


def test_steps_are_colored_as_in_the_demo(monkeypatch):
    screen = Console(force_terminal=True, color_system="truecolor", width=60, record=True)
    monkeypatch.setattr(terminal, "console", lambda: screen)
    print_rows([scored(0, ["a", "b"], [-1.0, 1.0], -1.0)])
    page = screen.export_html().lower()
    assert f"background-color: {SCALE[0][0]}" in page
    assert f"background-color: {SCALE[-1][0]}" in page


def test_candidates(capsys):
    generator = {**candidate("p", 0, "")["generator"], "model": "m"}
    print_rows([candidate("p", 3, "4\n\nor so", 1.0, generator=generator, marks=["truncated"], reference="4")])
    assert capsys.readouterr().out == (
        "p (test)\nuser: What is p?\nreference: 4\n\nsample 3: golden +1.000, by m, truncated\n  4\n\n  or so\n"
    )
    print_rows([candidate("p", 3, "4")])
    assert "\nsample 3\n  4\n" in capsys.readouterr().out


def test_pairs(capsys):
    pair = {
        **ROW,
        "question": [{"role": "user", "content": "q"}],
        "context": "Add.\n",
        "chosen": "4\n",
        "rejected": "5",
    }
    pair |= {"rejected_context": None, "level": "process", "gap": 0.25, "depth": 2}
    pair |= {"support": {"chosen": 3, "rejected": 1}}
    whole = {**pair, "context": "", "rejected_context": "Sum.", "level": "outcome", "gap": None, "depth": 0}
    print_rows([pair, whole])
    assert capsys.readouterr().out == (
        "p (test)\nuser: q\n\n"
        "process at step 2, gap 0.250; responses behind: 3 chosen, 1 rejected\n"
        "   context  Add.\n    chosen  4\n  rejected  5\n\n"
        "outcome, unknown gap; responses behind: 3 chosen, 1 rejected\n"
        "    chosen  4\n   context  Sum.\n  rejected  5\n"
    )


def test_a_tree(capsys):
    shown = tree(("Add.\n4", 1.0), ("Guess [x].\n5", -0.5), ("Add.\n\n6", 0.0))
    print_rows([shown])
    out = capsys.readouterr().out
    assert out == (
        "p (test), reward golden\n"
        "user: What is p?\n"
        "+0.167 ×3 all responses\n"
        "├── +0.500 ×2 Add.\n"
        "│   ├── +1.000 ×1 4\n"
        "│   └── +0.000 ×1 6\n"
        "└── -0.500 ×1 Guess [x].\n"
        "           5\n"
    )
    print_rows([shown])
    assert capsys.readouterr().out == out


def test_a_deep_tree(capsys):
    text = "".join(f"{i} and more {'so ' * i}.\n" for i in range(2000))
    print_rows([tree((text, 1.0), ("no", 0.0))])
    out = capsys.readouterr().out
    assert out.count("\n") == 3 + 2001
    assert max(map(len, out.splitlines())) <= 200


def test_a_lone_response(capsys):
    print_rows([TREES[1]])
    assert capsys.readouterr().out.endswith("-2.000 ×1 all responses\n└── -2.000 ×1 alone\n")
