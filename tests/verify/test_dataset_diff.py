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
from openprm.runs.folder import read_rows
from openprm.schema import Candidate, Pair, Prompt, Tree, plain_reward
from openprm.trees.tree import MergeParameters, build_tree
from openprm.verify.dataset_diff import diff, diff_datasets, lines
from openprm.verify.difference import NOTHING, first_difference
from tests.folders import candidate, dataset
from tests.publication import change_rows, make_run, publish


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("compare") / "run")


def counts(a: list[Any], b: list[Any], record: type) -> dict[str, int]:
    return dict(diff(lambda: a, lambda: b, record).counts)


def test_the_first_difference_is_named_with_both_values():
    one = [{"prompt_id": "p", "nodes": [{"value": 1.0}, {"value": 2.0}]}, {"prompt_id": "q", "nodes": []}]
    other = copy.deepcopy(one)
    assert first_difference(one, other) is None
    other[0]["nodes"][1]["value"] = 2.5  # type: ignore[index]
    found = first_difference(one, other)
    assert found is not None
    assert (found.row, found.prompt_id, found.field) == (1, "p", "nodes[1].value")
    assert str(found) == "row 1, prompt 'p', nodes[1].value: published 2.0, rebuilt 2.5"


def test_what_one_side_lacks_is_a_difference():
    one = [{"prompt_id": "p", "marks": ["a"]}]
    longer = first_difference(one, [{"prompt_id": "p", "marks": ["a", "b"]}])
    assert longer is not None
    assert (longer.field, longer.published, longer.rebuilt) == ("marks[1]", NOTHING, "b")
    assert str(first_difference(one, [])) == "row 1, prompt 'p': there is more published than rebuilt"
    assert str(first_difference([], one)) == "row 1, prompt 'p': there is less published than rebuilt"
    column = first_difference(one, [{"prompt_id": "p"}])
    assert column is not None
    assert (column.field, column.rebuilt) == ("marks", NOTHING)
    assert first_difference([{"x": None}], [{}]) is not None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=2), VALUES, max_size=3), max_size=3), st.randoms())
def test_no_difference_is_the_same_as_an_equal_hash(rows: list[dict[str, Any]], chance: random.Random):
    from openprm.runs.folder import rows_hash

    other = copy.deepcopy(rows)
    if other and chance.random() < 0.7:
        row = chance.choice(other)
        row[chance.choice([*row, "new"])] = chance.choice([None, 0, 0.0, math.nan, [], "x"])
    assert (first_difference(rows, other) is None) == (rows_hash(rows) == rows_hash(other))


def test_candidates_told_apart_into_prompts_responses_and_rewards():
    a = [candidate(prompt, index, f"answer {index}", 1.0) for prompt in "pqr" for index in range(3)]
    b = [copy.deepcopy(row) for row in a if row["prompt_id"] != "p" and row["sample_index"] != 2]
    b += [candidate("s", 0, "new", 1.0), candidate("q", 7, "more", 1.0)]
    b[0]["rewards"] = [plain_reward("golden", 0.0), plain_reward("judge", 3.0)]
    b[2]["rewards"] = []
    b[3]["response"] = "another"
    assert counts(a, b, Candidate) == {
        "prompts added": 1,
        "prompts removed": 1,
        "responses added": 2,
        "responses removed": 5,
        "rewards 'golden' changed": 1,
        "rewards 'judge' added": 1,
        "rewards 'golden' removed": 1,
        "response changed": 1,
        "prompts changed": 2,
    }


def test_responses_of_the_same_index_are_matched_in_order():
    a = [candidate("p", 0, text, 1.0) for text in ("one", "two", "three")]
    assert counts(a, a[:2], Candidate) == {"responses removed": 1, "prompts changed": 1}


def tree(rewards: dict[str, float], **options: Any) -> dict[str, Any]:
    rows: Any = [candidate("p", index, text, reward) for index, (text, reward) in enumerate(rewards.items())]
    return build_tree(rows, "golden", MergeParameters(separator="line", **options))  # type: ignore[return-value]


ANSWERS = {"We add.\n2 and 2 is 4.": 1.0, "We add.\n2 and 2 is 5.": 0.0, "Who knows?": 0.0}


def test_trees_told_apart_into_nodes_and_values():
    a = tree(ANSWERS)
    assert counts([a], [tree({**ANSWERS, "We add.\n2 and 2 is 5.": 1.0})], Tree) == {
        "values changed": 3,
        "trees with other responses or rewards": 1,
        "prompts changed": 1,
    }
    more = tree({**ANSWERS, "Zero, perhaps?": 0.0})
    found = diff(lambda: [a], lambda: [more], Tree)
    assert dict(found.counts) == {
        "trees with other responses or rewards": 1,
        "nodes added": 1,
        "values changed": 1,
        "prompts changed": 1,
    }
    assert found.examples["nodes added"] == ["'p' > 'Zero, perhaps?'"]
    assert counts([more], [a], Tree)["nodes removed"] == 1


def test_a_node_with_another_text_is_found_by_its_steps():
    a = tree(ANSWERS)
    b = copy.deepcopy(a)
    node = next(node for node in b["nodes"] if node["text"].startswith("We add"))
    node["text"], node["value"] = "We sum.", 0.75
    found = diff(lambda: [a], lambda: [b], Tree)
    assert dict(found.counts) == {"texts changed": 1, "values changed": 1, "prompts changed": 1}
    assert found.examples["values changed"] == ["'p' > 'We sum.': 0.5 -> 0.75"]


def test_pairs_added_removed_and_with_another_gap(run: Path):
    a = list(read_rows(run / "pairs"))
    b = copy.deepcopy(a[1:])
    b[0]["gap"] += 1.0
    b.append({**copy.deepcopy(a[0]), "chosen": "Something else."})
    found = counts(a, b, Pair)
    assert {name: found[name] for name in ("pairs added", "pairs removed", "gaps changed")} == {
        "pairs added": 1,
        "pairs removed": 1,
        "gaps changed": 1,
    }


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(0, 9), max_size=8))
def test_there_and_back_are_each_other_s_opposites(one: list[int], other: list[int]):
    a, b = ([candidate(str(number), 0, "text", float(number)) for number in numbers] for numbers in (one, other))
    there, back = counts(a, b, Candidate), counts(b, a, Candidate)
    for what in ("prompts", "responses"):
        assert there.get(f"{what} added") == back.get(f"{what} removed")
    assert there.get("responses added", 0) - there.get("responses removed", 0) == len(b) - len(a)
    assert diff(lambda: a, lambda: b, Candidate).identical == (one == other)


def test_what_stands_elsewhere_is_matched_and_another_order_is_told():
    a = [candidate(f"p{index}", 0, "text", 1.0) for index in range(40)]
    b = copy.deepcopy(a)
    random.Random(0).shuffle(b)
    assert list(lines({"train": diff(lambda: a, lambda: b, Candidate)})) == [
        "train: 40 responses before, 40 after",
        "  the rows are the same, in another order",
    ]
    b[5]["rewards"][0]["value"] = 0.0
    assert counts(a, b, Candidate) == {"rewards 'golden' changed": 1, "prompts changed": 1}


def test_a_diff_in_words():
    a = [candidate(f"p{index}", 0, "text", 1.0) for index in range(9)]
    assert list(lines({"train": diff(lambda: a, lambda: a, Candidate)})) == ["train: identical, 9 responses"]
    b = copy.deepcopy(a)
    for row in b[1:]:
        row["rewards"][0]["value"] = 0.5
    said = list(lines({"train": diff(lambda: a, lambda: b, Candidate)}))
    assert said[:3] == [
        "train: 9 responses before, 9 after",
        "  rewards 'golden' changed: 8",
        "    'p1', sample 0: 1.0 -> 0.5",
    ]
    assert said[6:8] == ["    'p5', sample 0: 1.0 -> 0.5", "    ..."]


def test_folders_and_publications_are_compared_by_split(run: Path, tmp_path: Path):
    one, other = publish(run, tmp_path / "a"), publish(run, tmp_path / "b")
    assert {part: found.identical for part, found in diff_datasets(one / "trees", other / "trees").items()} == {
        "train": True,
        "test": True,
    }
    change_rows(other / "trees" / "data" / "test-00000.parquet", _first_value)
    found = diff_datasets(one / "trees", other / "trees")
    assert found["train"].identical
    assert dict(found["test"].counts) == {"values changed": 1, "prompts changed": 1}
    (value,) = found["test"].examples["values changed"]
    assert value.startswith("'test-0' > '")
    assert value.endswith("-> 9.0")

    assert [*diff_datasets(run / "pairs", one / "pairs")] == ["train"]
    assert diff_datasets(run / "pairs", one / "pairs")["train"].identical
    assert diff_datasets(one / "pairs", run / "pairs-test", "test")["test"].identical
    assert not diff_datasets(one / "pairs", run / "pairs-test")["train"].identical


def _first_value(rows: list[dict[str, Any]]) -> None:
    rows[0]["nodes"][1]["value"] = 9.0


WRONG: dict[str, tuple[Callable[[Path, Path], tuple[Any, ...]], str]] = {
    "two kinds": (lambda run, hub: (run / "trees", hub / "pairs"), "holds trees, .* pairs; compare two of a kind"),
    "no such split": (lambda run, hub: (hub / "trees", hub / "trees", "dev"), "no split 'dev'; there are train, test"),
    "nothing": (lambda run, hub: (hub / "trees", "./nowhere"), "neither a folder"),
    "not published": (lambda run, hub: (hub, hub / "trees"), "not published by openprm"),
    "another stage": (lambda run, hub: (run / "other", hub / "trees"), "no dataset, but the result of 'test'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_compared_is_said(run: Path, tmp_path: Path, name: str):
    arguments, message = WRONG[name]
    hub = publish(run, tmp_path / "hub")
    if not (run / "other").exists():
        dataset(run / "other", Prompt, [{"schema_version": 1, "prompt_id": "p", "source": "s", "question": []}])
    with pytest.raises(InputError, match=message):
        diff_datasets(*arguments(run, hub))
