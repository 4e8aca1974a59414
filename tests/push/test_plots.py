"""Pictures: the same bytes from the same rows, which are read once; what they show is counted right."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openprm.push import plots
from openprm.push.plots import plot_statistics

from openprm.errors import InputError
from openprm.evaluation.choices_plot import plot_evaluation
from openprm.trees.tree import build_tree
from tests.folders import candidate
from tests.push.publications import evaluation

pytest.importorskip("matplotlib")

TEXTS = ["The sum.\nThen five.\nThe answer is 5", "The sum.\nThen two.\nThe answer is 2", "Add.\nThe answer is 5"]


def candidates(prompts: int, **columns: Any) -> list[dict[str, Any]]:
    return [
        candidate(f"p{p}", i, text, float(i % 2), **columns) for p in range(prompts) for i, text in enumerate(TEXTS)
    ]


def trees(prompts: int) -> list[Any]:
    rows = candidates(prompts)
    return [build_tree(rows[start : start + 3], "golden") for start in range(0, len(rows), 3)]  # type: ignore[arg-type]


def pairs(gaps: list[float | None], level: str = "process") -> list[dict[str, Any]]:
    return [{"level": level, "gap": gap, "chosen": "Five.", "rejected": "Six"} for gap in gaps]


ROWS = {
    "candidates": {"train": candidates(9, n_tokens=12), "test": candidates(2, n_tokens=7)},
    "trees": {"train": trees(9), "test": trees(2)},
    "pairs": {
        "train": pairs([index / 40 for index in range(1, 41)]) + pairs([1.0], "outcome"),
        "test": pairs([None, 0.5]),
    },
}


@pytest.mark.parametrize("kind", [*ROWS, "evaluation"])
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, kind: str) -> None:
    for name in ("a.png", "b.png"):
        if kind == "evaluation":
            plot_evaluation(evaluation(), tmp_path / name)
        else:
            plot_statistics(kind, {split: iter(some) for split, some in ROWS[kind].items()}, tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert b"Software" not in first


def test_nothing_to_draw_and_nothing_to_draw_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("pairs", "trees"):
        with pytest.raises(InputError, match=f"no numbers in these {kind}"):
            plot_statistics(kind, {"train": []}, tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"pip install 'openprm\[plots\]'"):
        plot_statistics("pairs", ROWS["pairs"], tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_what_candidates_show() -> None:
    reward, length = plots._candidates(ROWS["candidates"])
    assert reward.groups == {"train": {0.0: 18, 1.0: 9}, "test": {0.0: 4, 1.0: 2}}
    assert length.groups == {"train": {12: 27}, "test": {7: 6}}
    assert "tokens" in length.title
    row = candidates(1)[0]
    row["rewards"] = [{"name": "a", "value": 0.25}, {"name": "b", "value": float("nan")}]
    found = [panel for panel in plots._candidates({"train": [row]}) if any(panel.groups.values())]
    assert [panel.title for panel in found] == ["reward: a", "length of a response in characters"]
    assert found[1].groups == {"train": {len(TEXTS[0]): 1}}


def test_what_trees_show() -> None:
    values, shares = plots._trees({"train": trees(1)})
    assert values.groups == {"train": {0.5: 1, 0.0: 4, 1.0: 2}}
    assert shares.groups["train"] == {1: pytest.approx(1 / 3), 2: 0, 3: 0}


def test_what_pairs_show() -> None:
    train, test = plots._pairs({"train": pairs([0.5, 0.5]) + pairs([1.0], "outcome"), "test": pairs([None, None])})
    assert train.groups == {"process": {0.5: 2}, "outcome": {1.0: 1}}
    assert test.groups == {"chosen": {5: 2}, "rejected": {3: 2}}  # without gaps, their lengths
    assert "characters" in test.title


def test_rows_are_read_one_at_a_time(tmp_path: Path) -> None:
    alive: list[int] = []

    class Row(dict):
        def __del__(self) -> None:
            alive.pop()

    def stream() -> Iterator[Row]:
        for index in range(1000):
            alive.append(index)
            assert len(alive) <= 3
            yield Row(level="process", gap=index / 1000, chosen="", rejected="")

    plot_statistics("pairs", {"train": stream()}, tmp_path / "a.png")
