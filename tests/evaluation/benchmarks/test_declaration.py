"""Benchmarks as they are declared, those that come with the package and one's own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import Failure, InputError
from openprm.evaluation.benchmarks.declaration import Benchmark, declare, known_benchmarks, load_benchmark
from openprm.evaluation.benchmarks.items import Item, distinct
from openprm.evaluation.benchmarks.suites import SUITES, suite
from openprm.evaluation.probes import PROBES

DOCUMENT = Path(__file__).parents[3] / "docs" / "benchmarks.md"


@pytest.mark.parametrize("name", known_benchmarks())
def test_every_benchmark_says_where_it_is_and_whose(name: str):
    benchmark = load_benchmark(name)
    assert benchmark.name == name
    assert benchmark.homepage or "not" in benchmark.title
    assert {*benchmark.probes} <= PROBES.keys()
    if benchmark.revision:
        assert re.fullmatch(r"[0-9a-f]{40}", benchmark.revision)
    assert re.search(rf"^\| `{name}` \| {benchmark.kind} \|", DOCUMENT.read_text("utf-8"), re.M), (
        "see docs/benchmarks.md"
    )


def test_what_is_not_rewardbench_does_not_say_so():
    benchmark = load_benchmark("rewardbench-like")
    assert "not RewardBench" in benchmark.title
    assert "must not be reported" in (benchmark.note or "")


def test_suites_name_declared_benchmarks():
    for name, names in SUITES.items():
        assert set(names) <= set(known_benchmarks())
        assert len(set(names)) == len(names)
        assert suite(name) == names
    assert suite("all") == tuple(known_benchmarks())
    with pytest.raises(InputError, match="there is no suite 'papr'; did you mean 'paper'"):
        suite("papr")


def made(**more: Any) -> Benchmark:
    return declare("mine", {"kind": "pairs", "title": "Mine", **more}, "mine.yaml")


def test_the_file_in_the_data_folder_goes_before_the_hub(tmp_path: Path):
    benchmark = made(hub="org/data", revision="1" * 40, config="c", file="a/b.jsonl")
    assert benchmark.place() == benchmark.place(tmp_path) == f"org/data@{'1' * 40}:c"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jsonl").touch()
    assert benchmark.place(tmp_path) == str(tmp_path / "a" / "b.jsonl")
    with pytest.raises(InputError, match="'mine' is not on the Hub; say where its file lies: --on mine=FILE"):
        made(file="a/c.jsonl").place(tmp_path)


def test_only_rows_with_these_values_are_read(tmp_path: Path):
    rows = [
        {"prompt": "q", "chosen": f"{i}", "rejected": "x", "split": split, "n": i} for i, split in enumerate("abab")
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    items = list(made(where={"split": "b"}).read(str(path)))
    assert [one.id if isinstance(one, Item) else one.reason for one in items[:2]] == ["row 2", "row 4"]
    assert isinstance(items[2], Failure)  # a broken row is said whatever is asked for
    assert [one.id for one in made(where={"n": "3"}).read(str(path)) if isinstance(one, Item)] == ["row 4"]


def test_an_id_is_there_once():
    items = [Item("a", [], ()), Failure("no", "do"), Item("b", [], ()), Item("a", [], ())]
    found = list(distinct(items, "rows.jsonl"))
    assert found[:3] == items[:3]
    assert str(found[3]) == (
        "rows.jsonl, a: another row has the same id; give each row an id of its own, or name no column"
    )


@pytest.mark.parametrize("declared", [None, "text", ["kind"], {"kind": None}, {}])
def test_what_declares_nothing(declared: Any):
    with pytest.raises(InputError, match=r"^mine.yaml: there is no kind of benchmark"):
        declare("mine", declared, "mine.yaml")
