"""First differences, and the changes between versions of a dataset."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.errors import InputError
from openprm.runs.folder import read_rows, rows_hash
from openprm.schema import Candidate, Pair, Prompt, Tree, plain_reward
from openprm.trees.tree import MergeParameters, build_tree
from openprm.verify.compare import ABSENT, change_lines, compare_datasets, compare_rows, first_difference
from tests.folders import candidate, dataset
from tests.publication import change_rows, make_run, publish


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("compare") / "run")


def test_the_first_difference_is_named_with_both_values():
    one = [{"prompt_id": "p", "nodes": [{"value": 1.0}, {"value": 2.0}]}, {"prompt_id": "q", "nodes": []}]
    other: Any = copy.deepcopy(one)
    assert first_difference(one, other) is None
    other[0]["nodes"][1]["value"] = 2.5
    found = first_difference(one, other)
    assert found is not None
    assert (found.row, found.prompt_id, found.field) == (1, "p", "nodes[1].value")
    assert str(found) == "row 1, prompt 'p', nodes[1].value: 2.0, not 2.5"
    assert first_difference(one, other, tolerance=0.4) is not None
    assert first_difference(one, other, tolerance=0.5) is None


def test_what_one_side_lacks_is_a_difference():
    one = [{"prompt_id": "p", "marks": ["a"]}]
    longer = first_difference(one, [{"prompt_id": "p", "marks": ["a", "b"]}])
    assert longer is not None
    assert (longer.field, longer.one, longer.other) == ("marks[1]", ABSENT, "b")
    assert str(first_difference(one, [])) == "row 1, prompt 'p': only one of the two has this row"
    column = first_difference(one, [{"prompt_id": "p"}])
    assert column is not None
    assert (column.field, column.other) == ("marks", ABSENT)
    assert first_difference([{"x": None}], [{}]) is not None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=2), VALUES, max_size=3), max_size=3), st.randoms())
def test_no_difference_is_the_same_as_an_equal_hash(rows: list[dict[str, Any]], chance: random.Random):
    other = copy.deepcopy(rows)
    if other and chance.random() < 0.7:
        row = chance.choice(other)
        row[chance.choice([*row, "new"])] = chance.choice([None, 0, 0.0, math.nan, [], "x"])
    assert (first_difference(rows, other) is None) == (rows_hash(rows) == rows_hash(other))


def test_changed_candidates_are_counted_by_kind():
    a = [candidate(prompt, index, f"answer {index}", 1.0) for prompt in "pqr" for index in range(3)]
    b = [copy.deepcopy(row) for row in a if row["prompt_id"] != "p" and row["sample_index"] != 2]
    b += [candidate("s", 0, "new", 1.0), candidate("q", 7, "more", 1.0)]
    b[0]["rewards"] = [plain_reward("golden", 0.0), plain_reward("judge", 3.0)]
    b[2]["rewards"] = []
    b[3]["response"] = "another"
    changes = compare_rows(a, b, Candidate)
    assert changes.rows == (9, 6)
    assert changes.counts == {
        "rewards changed": 2,
        "response changed": 1,
        "responses removed": 5,
        "responses added": 2,
    }
    assert changes.examples["rewards changed"][0] == "prompt 'q', sample 0, rewards[0].value: 1.0 -> 0.0"


def test_rows_with_the_same_key_are_matched_in_order():
    a = [candidate("p", 0, text, 1.0) for text in ("one", "two", "three")]
    assert compare_rows(a, a[:2], Candidate).counts == {"responses removed": 1}


def test_changed_trees_and_pairs_name_the_field(run: Path):
    rows: Any = [candidate("p", index, text, float(index)) for index, text in enumerate(("a.\nb.", "a.\nc."))]
    tree: Any = build_tree(rows, "golden", MergeParameters(separator="line"))
    other = copy.deepcopy(tree)
    other["nodes"][1]["value"] = 0.75
    changes = compare_rows([tree], [other], Tree)
    assert changes.examples == {"nodes changed": ["prompt 'p', nodes[1].value: 0.5 -> 0.75"]}

    a = list(read_rows(run / "pairs"))
    b = copy.deepcopy(a[1:])
    b[0]["gap"] += 1.0
    b.append({**copy.deepcopy(a[0]), "chosen": "Something else."})
    assert compare_rows(a, b, Pair).counts == {"gap changed": 1, "pairs removed": 1, "pairs added": 1}


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 9), max_size=8))
def test_the_changes_in_both_directions_are_opposites(one: list[int], other: list[int]):
    a, b = ([candidate(str(number), 0, "text", float(number)) for number in numbers] for numbers in (one, other))
    there, back = compare_rows(a, b, Candidate).counts, compare_rows(b, a, Candidate).counts
    assert there["responses added"] == back["responses removed"]
    assert there["responses added"] - there["responses removed"] == len(b) - len(a)
    assert compare_rows(a, b, Candidate).identical == (one == other)


def test_changes_as_text():
    a = [candidate(f"p{index}", 0, "text", 1.0) for index in range(9)]

    def said(b: list[Any]) -> list[str]:
        return [*change_lines({"train": compare_rows(a, b, Candidate)})]

    assert said(a) == ["train: identical, 9 responses"]
    b = copy.deepcopy(a)
    random.Random(0).shuffle(b)
    assert said(b) == ["train: 9 responses before, 9 after", "  the same rows in another order"]
    for row in b[1:]:
        row["rewards"][0]["value"] = 0.5
    lines = said(b)
    assert lines[:2] == ["train: 9 responses before, 9 after", "  rewards changed: 8"]
    assert len(lines) == 8
    assert lines[-1] == "    ..."


def test_folders_and_publications_are_compared_by_split(run: Path, tmp_path: Path):
    one, other = publish(run, tmp_path / "a"), publish(run, tmp_path / "b")
    changes = compare_datasets(one / "trees", other / "trees")
    assert {part: found.identical for part, found in changes.items()} == {"train": True, "test": True}
    change_rows(other / "trees" / "data" / "test-00000.parquet", lambda rows: rows[0]["nodes"][1].update(value=9.0))
    changes = compare_datasets(one / "trees", other / "trees")
    assert changes["train"].identical
    assert changes["test"].counts == {"nodes changed": 1}

    assert [*compare_datasets(run / "pairs", one / "pairs")] == ["train"]
    assert compare_datasets(run / "pairs", one / "pairs")["train"].identical
    assert compare_datasets(one / "pairs", run / "pairs-test", "test")["test"].identical
    assert not compare_datasets(one / "pairs", run / "pairs-test")["train"].identical


WRONG: dict[str, tuple[Callable[[Path, Path], tuple[Any, ...]], str]] = {
    "two kinds": (lambda run, hub: (run / "trees", hub / "pairs"), "holds trees, .* pairs; compare two of the same"),
    "no such split": (lambda run, hub: (hub / "trees", hub / "trees", "dev"), "no split 'dev'; there are train, test"),
    "nothing": (lambda run, hub: (hub / "trees", "./nowhere"), "neither a folder"),
    "not published": (lambda run, hub: (hub, hub / "trees"), "not published by openprm"),
    "another stage": (lambda run, hub: (run / "other", hub / "trees"), "not a dataset but the result of 'test'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_incomparable_datasets_are_refused(run: Path, tmp_path: Path, name: str):
    arguments, message = WRONG[name]
    hub = publish(run, tmp_path / "hub")
    if not (run / "other").exists():
        dataset(run / "other", Prompt, [{"schema_version": 1, "prompt_id": "p", "source": "s", "question": []}])
    with pytest.raises(InputError, match=message):
        compare_datasets(*arguments(run, hub))
