"""Two versions of a dataset compared."""

from __future__ import annotations

import copy
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.errors import InputError
from openprm.runs.folder import rows_hash
from openprm.schema import plain_reward
from openprm.verify.compare import compare_datasets, compare_rows
from tests.folders import candidate
from tests.publication import change_manifest, change_rows, publish


def difference(one: dict[str, Any], other: dict[str, Any], tolerance: float = 0.0) -> list[str]:
    return compare_rows([{"prompt_id": "p", **one}], [{"prompt_id": "p", **other}], tolerance).differences


def test_a_difference_is_named_with_both_values():
    one, other = {"nodes": [{"value": 1.0}, {"value": 2.0}]}, {"nodes": [{"value": 1.0}, {"value": 2.5}]}
    assert difference(one, one) == []
    assert difference(one, other) == difference(one, other, 0.4) == ["prompt 'p', nodes[1].value: 2.0 -> 2.5"]
    assert difference(one, other, tolerance=0.5) == []
    assert difference({"marks": ["a"]}, {"marks": ["a", "b"]}) == ["prompt 'p', marks[1]: nothing -> 'b'"]
    assert difference({"x": None}, {}) == ["prompt 'p', x: None -> nothing"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.text(max_size=2), VALUES, max_size=3).map(lambda row: {**row, "prompt_id": "p"}))


@given(ROWS, st.randoms())
def test_no_difference_is_the_same_as_an_equal_hash(rows: list[dict[str, Any]], chance: random.Random):
    other = copy.deepcopy(rows)
    if other and chance.random() < 0.7:
        row = chance.choice(other)
        row[chance.choice([*row, "new"])] = chance.choice([None, 0, 0.0, math.nan, [], "x"])
    assert compare_rows(rows, other).identical == (rows_hash(rows) == rows_hash(other))


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 9), max_size=8))
def test_the_differences_in_both_directions_are_opposites(one: list[int], other: list[int]):
    a, b = ([candidate(str(number), 0, "text", float(number)) for number in numbers] for numbers in (one, other))
    there, back = compare_rows(a, b), compare_rows(b, a)
    assert (there.added, there.removed) == (back.removed, back.added)
    assert there.added - there.removed == len(b) - len(a)
    assert there.identical == (one == other)


def test_changed_rows_are_matched_by_prompt_and_sample():
    a = [candidate(prompt, index, f"answer {index}", 1.0) for prompt in "pqr" for index in range(3)]
    b = [copy.deepcopy(row) for row in a if row["prompt_id"] != "p" and row["sample_index"] != 2]
    b += [candidate("s", 0, "new", 1.0), candidate("q", 7, "more", 1.0)]
    b[0]["rewards"] = [plain_reward("golden", 0.0), plain_reward("judge", 3.0)]
    b[3]["response"] = "another"
    lines = str(compare_rows(a, b)).splitlines()
    assert lines[0] == "9 rows before, 6 after: 2 added, 5 removed, 2 changed"
    assert lines[1] == "  prompt 'q', sample 0, rewards[0].value: 1.0 -> 0.0"
    assert lines[2:4] == [
        "  prompt 'r', sample 1, response: 'answer 1' -> 'another'",
        "  prompt 'p', sample 0: removed",
    ]
    assert lines[6:] == ["  ..."]
    assert str(compare_rows(a, a)) == "identical, 9 rows"
    assert str(compare_rows(a, a[::-1])) == "9 rows before, 9 after: the same ones in another order"
    doubled = [candidate("p", 0, text, 1.0) for text in ("one", "two", "three")]
    assert compare_rows(doubled, doubled[:2]).differences == ["prompt 'p', sample 0: removed"]


def test_folders_and_publications_are_compared_by_split(run: Path, tmp_path: Path):
    one, other = publish(run, tmp_path / "a"), publish(run, tmp_path / "b")
    found = compare_datasets(one / "trees", other / "trees")
    assert {part: comparison.identical for part, comparison in found.items()} == {"train": True, "test": True}
    change_rows(other / "trees" / "data" / "test-00000.parquet", lambda rows: rows[0]["nodes"][1].update(value=9.0))
    found = compare_datasets(one / "trees", other / "trees")
    assert found["train"].identical
    assert (found["test"].changed, "nodes[1].value" in found["test"].differences[0]) == (1, True)

    change_rows(other / "pairs" / "process" / "train-00000.parquet", lambda rows: rows[0].update(chosen="Other."))
    found = compare_datasets(run / "pairs", other / "pairs")
    assert [*found] == ["train"]
    assert (found["train"].added, found["train"].removed) == (1, 1)
    assert re.match(r"prompt 'train-\d', process: 'Other.' over ", found["train"].differences[1])
    assert compare_datasets(one / "pairs", run / "pairs-test", "test")["test"].identical
    assert not compare_datasets(one / "pairs", run / "pairs-test")["train"].identical


WRONG: dict[str, tuple[Callable[[Path, Path], tuple[Any, ...]], str]] = {
    "two kinds": (lambda run, hub: (run / "trees", hub / "pairs"), "compare two datasets of the same kind"),
    "no such split": (lambda run, hub: (hub / "trees", hub / "trees", "dev"), "no part 'dev'; there are: train, test"),
    "nothing": (lambda run, hub: (hub / "trees", "./nowhere"), "neither a folder"),
    "not published": (lambda run, hub: (hub, hub / "trees"), "not published by openprm"),
    "not a dataset": (lambda run, hub: (hub / "candidates", hub / "trees"), "not a dataset but a demo"),
}


@pytest.mark.parametrize("name", WRONG)
def test_incomparable_datasets_are_refused(run: Path, tmp_path: Path, name: str):
    arguments, message = WRONG[name]
    hub = publish(run, tmp_path / "hub")
    change_manifest(hub / "candidates", lambda manifest: manifest.update(kind="demo", parts={}))
    with pytest.raises(InputError, match=message):
        compare_datasets(*arguments(run, hub))
