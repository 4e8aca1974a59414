"""Labels brought into one format, and made into others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.labels.step_labels import NO_ERROR, VALUE
from openprm.runs.folder import read_manifest, read_rows
from openprm.schema import Candidate, Scored, StepLabels, Tree
from openprm.stages.label import Label
from openprm.stages.trees import Trees

from ..answers import answers, write_jsonl
from ..folders import candidate, dataset
from ..labels.rows import labelled


def label(out: Path, labels: Any, **options: Any) -> list[Any]:
    Label(labels=str(labels), **options).run(out)
    return list(read_rows(out, StepLabels))


@pytest.fixture
def values(tmp_path: Path) -> Path:
    rows = [labelled(some, index, kind=VALUE) for index, some in enumerate(([1.0, 0.5, 0.0], [0.25, 0.75], [0.0]))]
    return dataset(tmp_path / "values", StepLabels, rows)


def grow(folder: Path, rewards: Callable[[int], float]) -> Path:
    """Trees of answers with these rewards."""
    rows = [{**row, "reward": rewards(index)} for index, row in enumerate(answers(6))]
    Trees(candidates=write_jsonl(folder / "a.jsonl", rows), separator="line").run(folder / "trees")
    return folder / "trees"


def test_values_of_trees(tmp_path: Path):
    grow(tmp_path, lambda index: float(index % 3 == 0))
    rows = label(tmp_path / "labels", tmp_path / "trees", by="tree")
    trees: list[Any] = list(read_rows(tmp_path / "trees", Tree))
    expected = []
    for tree in trees:
        for index, response in enumerate(tree["responses"]):
            through = [n for n in tree["nodes"] if any(member["response"] == index for member in n["members"])]
            through.sort(key=lambda node: node["depth"])
            expected.append((response["steps"], [n["value"] for n in through], [n["n_leaves"] for n in through]))
    assert [(row["steps"], row["labels"], row["support"]) for row in rows] == expected
    assert {row["kind"] for row in rows} == {VALUE}


def test_a_tree_of_other_rewards_is_listed(tmp_path: Path):
    label(tmp_path / "labels", grow(tmp_path, lambda index: 7.0 if index == 0 else float(index % 2)), by="tree")
    rejected = (tmp_path / "labels" / "rejected.jsonl").read_text("utf-8")
    assert "labels are probabilities" in rejected
    assert "sample 0" in rejected


def test_given_labels_and_what_cannot_be_used(tmp_path: Path):
    rows = [{"problem": "1?", "steps": ["a", "b"], "label": 1}, {"problem": "2?", "steps": ["a"], "label": 5}]
    file = write_jsonl(tmp_path / "given.jsonl", rows)
    (row,) = label(tmp_path / "labels", file, by="processbench")
    assert row["labels"] == [1.0, 0.0]
    counts = read_manifest(tmp_path / "labels")["counts"]
    assert (counts["responses"], counts["labels"], counts["kind"]) == (1, 2, "correct")
    assert sum(counts["rejected"].values()) == 1


def test_only_some_prompts_whole(tmp_path: Path):
    rows = [{"problem": f"{n // 2}?", "steps": ["a", f"{n}"], "label": n % 2} for n in range(12)]
    drawn = label(tmp_path / "labels", write_jsonl(tmp_path / "given.jsonl", rows), by="processbench", limit=2)
    assert len(drawn) == 4
    assert len({row["prompt_id"] for row in drawn}) == 2


def test_hard_labels_cut_after_the_first_error(tmp_path: Path, values: Path):
    rows = label(tmp_path / "labels", values, by="labels", harden=0.3, cut=True)
    assert [row["labels"] for row in rows] == [[1.0, 1.0, 0.0], [0.0, None], [0.0]]
    assert [row["first_error"] for row in rows] == [2, 0, 0]


def test_a_confidence_that_drops(tmp_path: Path):
    """Log-odds 2, 1.5, -2 are .88, .82, .12; the second response does not drop."""
    rows = [candidate("p", index, text) for index, text in enumerate(["a\nb\nc", "a\nb", "a"])]
    source = dataset(tmp_path / "candidates", Candidate, rows)
    rewards = [[2.0, 1.5, -2.0], [0.0, 0.5]]

    def scored(unit: str) -> str:
        made = [
            {
                **{name: row[name] for name in ("schema_version", "prompt_id", "source", "sample_index")},
                "steps": row["response"].splitlines(keepends=True),
                "step_rewards": some,
                "score": min(some),
                "aggregation": "min",
                "truncated": False,
                "unit": unit,
            }
            for row, some in zip(rows, rewards, strict=False)
        ]
        return str(dataset(tmp_path / unit, Scored, made))

    found = label(tmp_path / "labels", source, by="verifier", scores=scored("log-odds"))
    assert [(row["labels"], row["first_error"]) for row in found] == [([1.0, 1.0, 0.0], 2), ([1.0, 1.0], NO_ERROR)]
    assert "it has no scores" in (tmp_path / "labels" / "rejected.jsonl").read_text("utf-8")
    with pytest.raises(InputError, match="a strength of 2 is no probability"):
        label(tmp_path / "none", source, by="verifier", scores=scored("strength"))


def test_what_two_sources_agree_on(tmp_path: Path, values: Path):
    """The values' first errors are 2, none and 0 where right is above 0; the judge's 2, 1, and it lacks the last."""
    judged = [labelled([1.0, 1.0, 0.0], 0, first_error=2), labelled([1.0, 0.0], 1, first_error=1)]
    other = dataset(tmp_path / "judged", StepLabels, judged)
    rows = label(tmp_path / "labels", values, by="consensus", other=str(other))
    assert [(row["sample_index"], row["first_error"]) for row in rows] == [(0, 2)]
    counts = read_manifest(tmp_path / "labels")["counts"]
    assert (counts["agreed"], counts["disagreed"]) == (1, 1)
    assert counts["rejected"] == {"the other source has no labels of it": 1}


def test_the_control_keeps_all_labels_in_another_order(tmp_path: Path):
    rows = [labelled([float(index % 3 > 0)] * 4, index, first_error=None) for index in range(9)]
    source = dataset(tmp_path / "hard", StepLabels, rows)
    found = label(tmp_path / "labels", source, by="labels", shuffle=0)
    before, after = ([label for row in some for label in row["labels"]] for some in (rows, found))
    assert before != after
    assert sorted(before) == sorted(after)
    for row in found:
        assert row["first_error"] == (row["labels"].index(0.0) if 0.0 in row["labels"] else NO_ERROR)


def test_kinds_are_not_mixed(tmp_path: Path):
    mixed = dataset(tmp_path / "mixed", StepLabels, [labelled([1.0], 0, kind=VALUE), labelled([0.0], 1)])
    with pytest.raises(InputError, match="sample 1 has labels of kind 'correct', others of another"):
        label(tmp_path / "labels", mixed, by="labels")
    assert len(label(tmp_path / "hard", mixed, by="labels", harden=0.0)) == 2


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"by": "tre"}, "did you mean 'tree'"),
        ({"by": "verifier"}, "--by verifier and --scores go together"),
        ({"by": "labels", "other": "x"}, "--by consensus and --other go together"),
        ({"by": "labels", "harden": 1.0}, "--harden 1.0"),
        ({"by": "labels", "drop": 0.0}, "--drop 0.0"),
    ],
)
def test_what_cannot_be(tmp_path: Path, values: Path, options: dict[str, Any], problem: str):
    with pytest.raises(InputError, match=problem):
        label(tmp_path / "labels", values, **options)


def test_labels_of_one_class_teach_nothing(tmp_path: Path):
    right = dataset(tmp_path / "right", StepLabels, [labelled([1.0, 1.0], index) for index in range(2)])
    with pytest.raises(InputError, match="all 4 labels are right"):
        label(tmp_path / "labels", right, by="labels")


def test_a_file_without_labels(tmp_path: Path):
    file = tmp_path / "given.jsonl"
    file.write_text(json.dumps({"problem": "1?", "steps": [], "label": 0}) + "\n")
    with pytest.raises(InputError, match="no response has labels; "):
        label(tmp_path / "labels", file, by="processbench")
