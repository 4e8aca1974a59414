"""The stages of prompts and of declared outcome pairs: folders, counts, draws, origins, and resumed runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.data.paper_datasets import PAIR_SOURCES, PROMPT_SOURCES
from openprm.errors import InputError
from openprm.runs.folder import read_rows
from openprm.schema import SCHEMA_VERSION, Message, Pair, Prompt, features
from openprm.stages import prompts as prompts_stage
from openprm.stages.pairs import Preferences
from openprm.stages.prompts import Prompts, draw

from .. import public_data
from ..answers import content, rejected, times, write_jsonl


def prompt(prompt_id: str) -> Prompt:
    question = [Message(role="user", content=f"What of {prompt_id}?")]
    return Prompt(schema_version=SCHEMA_VERSION, prompt_id=prompt_id, source="s", question=question, reference=None)


def make_prompts(prompts: str | None, out: Path, **options: Any) -> Any:
    return Prompts(prompts=prompts, **options).run(out)


@pytest.fixture
def file(tmp_path: Path) -> str:
    rows = [{"question": f"What is {n} + {n}?", "reference": 2 * n, "source": f"part {n % 2}"} for n in range(40)]
    return write_jsonl(tmp_path / "sums.jsonl", [*rows, rows[0], {"question": ""}])


def test_a_file(tmp_path, file):
    manifest = make_prompts(file, tmp_path / "out")
    rows = list(read_rows(tmp_path / "out", Prompt))
    assert len(rows) == 40
    assert rows[3]["question"][0]["content"] == "What is 3 + 3?"
    assert (rows[3]["reference"], rows[3]["source"]) == ("6", "part 1")
    counts = manifest["counts"]
    assert (counts["prompts"], counts["with_reference"], counts["duplicates"]) == (40, 40, 1)
    assert counts["rejected"] == {"'question' is empty": 1}
    assert rejected(tmp_path / "out")[0]["key"].endswith(", row 42")
    assert manifest["origins"] == [{"name": "sums.jsonl", "kind": "data", "license": None}]
    before = times(tmp_path / "out")
    make_prompts(file, tmp_path / "out")
    assert times(tmp_path / "out") == before, "it is there already"


def test_strictly(tmp_path, file):
    with pytest.raises(InputError, match=r"row 42: 'question' is empty.*--strict"):
        make_prompts(file, tmp_path / "out", strict=True)
    make_prompts(file, tmp_path / "out")
    with pytest.raises(InputError, match="was made without"):
        make_prompts(file, tmp_path / "out", strict=True)


def test_nothing_left(tmp_path):
    file = write_jsonl(tmp_path / "a.jsonl", [{"question": ""}])
    with pytest.raises(InputError, match="no prompts were left to write; 1 rows were rejected"):
        make_prompts(file, tmp_path / "out")


def test_a_subset_of_an_earlier_stage(tmp_path, file):
    make_prompts(file, tmp_path / "all")
    manifest = make_prompts(str(tmp_path / "all"), tmp_path / "some", limit=10, seed=3)
    rows, every = list(read_rows(tmp_path / "some")), list(read_rows(tmp_path / "all"))
    assert len(rows) == 10
    assert rows == [row for row in every if row in rows], "in the order of the whole"
    assert (manifest["counts"]["prompts"], manifest["counts"]["drawn_from"]) == (10, 40)
    assert (manifest["parameters"]["limit"], manifest["parameters"]["seed"]) == (10, 3)
    make_prompts(str(tmp_path / "all"), tmp_path / "others", limit=10, seed=4)
    assert list(read_rows(tmp_path / "others")) != rows


def test_a_subset_is_the_same_whatever_the_shards_and_where_it_was_cut_off(tmp_path, file, monkeypatch):
    make_prompts(file, tmp_path / "whole", limit=12)
    monkeypatch.setattr("openprm.runs.dataset.ROWS_PER_FILE", 5)
    write, written = prompts_stage.write_shards, []

    def cut_off(*arguments):
        written.append(write(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(prompts_stage, "write_shards", cut_off)
    with pytest.raises(KeyboardInterrupt):
        make_prompts(file, tmp_path / "out", limit=12)
    monkeypatch.setattr(prompts_stage, "write_shards", write)
    make_prompts(file, tmp_path / "out", limit=12)
    assert len(written) == 1
    assert list(read_rows(tmp_path / "out")) == list(read_rows(tmp_path / "whole"))
    assert content(tmp_path / "out")[0]["row_hash"] == content(tmp_path / "whole")[0]["row_hash"]
    assert not list((tmp_path / "out").glob(".prompts*"))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing(tmp_path, file, limit):
    with pytest.raises(InputError, match="make it more than 0"):
        make_prompts(file, tmp_path / "out", limit=limit)


ids = st.lists(st.text(st.characters(codec="utf-8"), max_size=5), unique=True, max_size=30)


@given(ids, st.integers(1, 40), st.integers(1, 40), st.integers(0, 3), st.randoms())
def test_a_draw(tmp_path_factory, ids, limit, less, seed, shuffled):
    scratch = tmp_path_factory.mktemp("draw") / "prompts.jsonl"
    prompts = [prompt(prompt_id) for prompt_id in ids]
    counts: Counter[str] = Counter()
    drawn = list(draw(prompts, limit, seed, scratch, counts))
    assert len(drawn) == min(limit, len(ids))
    assert counts["drawn_from"] == len(ids)
    assert drawn == [item for item in prompts if item in drawn]
    assert not scratch.exists()
    mixed = [*prompts]
    shuffled.shuffle(mixed)
    assert sorted(item["prompt_id"] for item in draw(mixed, limit, seed, scratch)) == sorted(
        item["prompt_id"] for item in drawn
    )
    fewer = list(draw(prompts, min(less, limit), seed, scratch))
    assert all(item in drawn for item in fewer)


def test_a_declared_source_says_what_it_is(tmp_path):
    folder = public_data.scienceqa(tmp_path / "s", [public_data.scienceqa_row()])
    manifest = make_prompts(str(folder), tmp_path / "out", declared="scienceqa")
    assert manifest["counts"]["prompts"] == 1
    assert manifest["counts"]["in_the_paper"] == 6508
    [origin] = manifest["origins"]
    assert origin["license"] == "CC-BY-NC-SA-4.0"
    assert origin["hub"] == "derek-thomas/ScienceQA"
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()
    subset = make_prompts(str(tmp_path / "out"), tmp_path / "subset", limit=1)
    assert subset["origins"] == [origin], "what is made of it must say so, too"


def test_a_source_that_is_there_needs_no_hub(tmp_path, monkeypatch):
    """The stage is told by the commit: a finished one is found again without a network."""
    folder = public_data.math(tmp_path / "m", {})
    monkeypatch.setattr("openprm.data.readers.download", lambda *_: folder)
    first = make_prompts(None, tmp_path / "out", declared="math")
    assert first["parameters"]["revision"] == PROMPT_SOURCES["math"].revision

    monkeypatch.setattr("openprm.data.readers.download", lambda *_: pytest.fail("the Hub was asked"))
    assert make_prompts(None, tmp_path / "out", declared="math") == first


def test_helpsteer2(tmp_path):
    rows = public_data.helpsteer2_rows(
        ("one?", [("good", 4), ("bad", 1)]),
        ("tie?", [("a", 2), ("b", 2)]),
        ("alone?", [("a", 2)]),
        ("same?", [("equal", 2), ("equal", 3)]),
        ("twice?", [("a", 0), ("b", 1), ("c", 3), ("d", 2)]),
    )
    folder = public_data.helpsteer2(tmp_path / "h", rows)
    manifest = Preferences(declared="helpsteer2", preferences=str(folder)).run(tmp_path / "out")
    pairs = list(read_rows(tmp_path / "out", Pair))
    assert [(pair["chosen"], pair["rejected"], pair["gap"]) for pair in pairs] == [
        ("good", "bad", 3.0),
        ("b", "a", 1.0),
        ("c", "d", 1.0),
    ]
    assert {pair["source"] for pair in pairs} == {"helpsteer2"}
    counts = manifest["counts"]
    assert (counts["pairs"], counts["ties"], counts["in_the_paper"]) == (3, 1, 7221)
    assert [(item["key"].split()[-1], item["reason"]) for item in rejected(tmp_path / "out")] == [
        ("5", "the prompt has one response"),
        ("6", "chosen and rejected are the same text"),
    ]
    assert manifest["origins"] == [PAIR_SOURCES["helpsteer2"].origin()]


def test_ultrafeedback_binarized(tmp_path):
    rows = [("p", "better", "worse", 8.5, 2.0), ("tie", "a", "b", 7.0, 7.0)]
    folder = public_data.ultrafeedback_binarized(tmp_path / "u", rows)
    manifest = Preferences(declared="ultrafeedback-binarized", preferences=str(folder)).run(tmp_path / "out")
    [pair] = read_rows(tmp_path / "out", Pair)
    assert (pair["chosen"], pair["rejected"], pair["gap"]) == ("better", "worse", 6.5)
    assert manifest["counts"]["ties"] == 1
    from datasets import load_dataset

    loaded = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"), split="train")
    assert loaded.features == features(Pair)


def test_only_ties(tmp_path):
    folder = public_data.helpsteer2(tmp_path / "h", public_data.helpsteer2_rows(("tie?", [("a", 2), ("b", 2)])))
    with pytest.raises(InputError, match="helpsteer2: no pair could be used"):
        Preferences(declared="helpsteer2", preferences=str(folder)).run(tmp_path / "out")
