"""The stages that make datasets: what comes out, and that nothing on the way changes it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openprm.data.candidates import CandidateSource
from openprm.errors import InputError
from openprm.runs.folder import read_manifest, read_rows, rows_hash
from openprm.runs.manifest import WORK
from openprm.schema import Candidate, Pair, Tree, features, plain_reward
from openprm.stages import trees as tree_stage
from openprm.stages.import_candidates import ImportCandidates
from openprm.stages.pairs import Pairs
from openprm.stages.trees import Trees
from openprm.trees.tree import build_tree, response_text

from ..answers import answers, content, rejected, times, write_jsonl


def rows_of(folder: Path) -> list[Any]:
    return list(read_rows(folder))


def make(stage: str, file: str, folder: Path) -> Path:
    """The folder of a stage, made of a file of answers."""
    out = folder / stage
    if stage == "candidates":
        ImportCandidates(candidates=file).run(out)
    else:
        Trees(candidates=file).run(folder / "trees")
    if stage == "pairs":
        Pairs(trees=str(folder / "trees"), min_gap="0.1").run(out)
    return out


# --- what comes out


def test_trees_are_those_of_build_tree(tmp_path, file, trees):
    ImportCandidates(candidates=file).run(tmp_path / "candidates")
    prompts: dict[str, list[Candidate]] = {}
    for candidate in rows_of(tmp_path / "candidates"):
        prompts.setdefault(candidate["prompt_id"], []).append(candidate)
    expected = {prompt_id: build_tree(candidates, "reward") for prompt_id, candidates in prompts.items()}
    assert {tree["prompt_id"]: tree for tree in rows_of(trees)} == expected


def test_a_part_of_the_responses_to_each_prompt(tmp_path, file):
    """As if no more had been sampled."""
    ImportCandidates(candidates=file).run(tmp_path / "candidates")
    first = [row for row in rows_of(tmp_path / "candidates") if row["sample_index"] < 2]
    few = write_jsonl(tmp_path / "few.jsonl", [row | {"reward": row["rewards"][0]["value"]} for row in first])
    counts = Trees(candidates=str(tmp_path / "candidates"), responses=2).run(tmp_path / "trees")["counts"]
    assert counts["responses"] == len(first)
    Trees(candidates=str(few)).run(tmp_path / "expected")
    assert [tree["nodes"] for tree in rows_of(tmp_path / "trees")] == [
        tree["nodes"] for tree in rows_of(tmp_path / "expected")
    ]


@pytest.mark.parametrize("per_shard", [500, 5])
def test_the_order_of_rows_decides_nothing(tmp_path, monkeypatch, per_shard):
    """The hashes of trees are equal, and those of pairs also where the file does not number the responses."""
    monkeypatch.setattr(tree_stage, "PROMPTS_PER_SHARD", per_shard)
    rows = answers(12)
    random.Random(0).shuffle(rows)
    numbered = list(CandidateSource(write_jsonl(tmp_path / "a.jsonl", rows)).read())
    hashes = set()
    for index, ordered in enumerate([numbered, numbered[::-1], rows[::-1]]):
        file = write_jsonl(tmp_path / f"{index}.jsonl", ({"source": "a", **row} for row in ordered))
        trees = Trees(candidates=file).run(tmp_path / f"trees{index}")
        pairs = Pairs(trees=str(tmp_path / f"trees{index}"), min_gap="0.1", outcome="best").run(tmp_path / f"p{index}")
        hashes.add(("pairs", pairs["row_hash"]))
        if index < 2:
            hashes.add(("trees", trees["row_hash"]))
    assert len(hashes) == 2


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), min_size=1, max_size=6),
    st.sampled_from([".\n", "paragraph", "line", "sentence", "re:[.]"]),
)
def test_every_response_is_rebuilt_exactly(tmp_path_factory, texts, separator):
    folder = tmp_path_factory.mktemp("rebuilt")
    odd = "A.\n\n\nB\r\n C.\u2028 \x85d。”\n\n```\ncode. \n```\n\t1. e\0\ufeff👩‍👩‍👧 e\u0301.\n "
    texts = [*texts, odd, odd[::-1]]
    file = write_jsonl(folder / "a.jsonl", ({"question": "q", "response": text, "reward": 1} for text in texts))
    Trees(candidates=file, separator=separator).run(folder / "trees")
    [tree] = rows_of(folder / "trees")
    with open(file, encoding="utf-8", newline="\n") as lines:
        expected = [json.loads(line)["response"].encode() for line in lines]
    assert sorted(response_text(response).encode() for response in tree["responses"]) == sorted(expected)


@pytest.mark.parametrize(("stage", "record"), [("candidates", Candidate), ("trees", Tree), ("pairs", Pair)])
def test_datasets_loads_exactly_the_rows(tmp_path, monkeypatch, file, stage, record):
    monkeypatch.setattr(tree_stage, "PROMPTS_PER_SHARD", 5)
    out = make(stage, file, tmp_path)
    loaded = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features == features(record)
    assert list(loaded) == rows_of(out)
    manifest = read_manifest(out)
    assert (len(loaded), rows_hash(loaded)) == (manifest["rows"], manifest["row_hash"])


def test_neither_processes_nor_shards_change_the_rows(tmp_path, monkeypatch):
    rows = answers(12)
    rows[1]["response"], rows[2]["reward"] = "", None  # one rejected by a shard, one by the reading
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    results = []
    for index, (per_shard, num_proc) in enumerate([(500, 1), (5, 1), (5, 2)]):
        monkeypatch.setattr(tree_stage, "PROMPTS_PER_SHARD", per_shard)
        manifest = Trees(candidates=file, num_proc=num_proc).run(tmp_path / f"trees{index}")
        del manifest["counts"]["other_separators"]  # a sample: of the first shard
        assert len(list((tmp_path / f"trees{index}" / "data").iterdir())) == -(-12 // per_shard)
        results.append((manifest, rows_of(tmp_path / f"trees{index}"), rejected(tmp_path / f"trees{index}")))
    assert results[0] == results[1] == results[2]
    read, stored = [entry["key"] for entry in results[0][2]]
    assert read == f"{file}, row 3"
    assert stored.endswith("', sample 0")


def test_the_text_of_a_failure_may_hold_odd_line_ends(tmp_path):
    """What was rejected while reading is read again; only `\\n` ends a line of JSON."""
    rows = [{"question": "q", "response": text, "reward": 1, "prompt_id": "a\u2028b\x85c"} for text in ("x", " ")]
    Trees(candidates=write_jsonl(tmp_path / "line\u2028end.jsonl", [*rows, {}])).run(tmp_path / "trees")
    keys = [entry["key"] for entry in rejected(tmp_path / "trees")]
    assert keys == [f"{tmp_path}/line\u2028end.jsonl, row 3", "prompt 'a\\u2028b\\x85c', sample 1"]


def test_counts(tmp_path):
    rows = [
        {"question": "a", "response": "one step", "reward": 1, "source": "x"},
        {"question": "a", "response": "Two.\nsteps 12", "reward": 0, "source": "x"},
        {"question": "a", "response": "Two.\nsteps 13", "reward": 1, "source": "x"},
        {"question": "b", "response": "alone", "reward": 1, "source": "x"},
        {"question": "c", "response": "left out", "reward": 1, "source": "y"},
    ]
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    counts = Trees(candidates=file, where={"source": "x"}, threshold=0.8).run(tmp_path / "t")["counts"]
    expected = {
        "prompts": 2,
        "responses": 4,
        "steps": 6,
        "nodes": 4,
        "one_step_share": 0.5,
        "merged_share": round(1 - 4 / 6, 4),
        "merged_with_changed_numbers": 1,
        "forks": 1,
        "prompts_with_one_response": 1,
        "skipped": 1,
        "other_separators": {".\n": 0.5, "paragraph": 1.0, "line": 0.5, "sentence": 0.5},
        "rejected": {},
    }
    assert {name: counts[name] for name in expected} == expected


def test_examples_near_the_threshold(tmp_path):
    steps = ["Let us add two and three.", "Let us add two and then three.", "Let us add two and three here now."]
    rows = [{"question": "q", "response": f"{step}\n{index}", "reward": index} for index, step in enumerate(steps)]
    manifest = Trees(candidates=write_jsonl(tmp_path / "a.jsonl", rows), threshold=0.8).run(tmp_path / "trees")
    (merged,), (apart,) = manifest["near_threshold"]["merged"], manifest["near_threshold"]["apart"]
    assert {*merged[:2]} == {*steps[:2]}
    assert merged[2] == pytest.approx(1 - 5 / 30)
    assert apart[2] < 0.8


def test_answers_are_kept_apart(tmp_path):
    rows = [{"question": "q", "response": f"The answer is ({x}).", "reward": x == "E"} for x in "EEHH"]
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    for index, distinct in enumerate([False, True]):
        manifest = Trees(candidates=file, distinct_answers=distinct).run(tmp_path / f"t{index}")
        counts = manifest["counts"]
        mixed = counts["end_nodes_with_right_and_wrong"], counts["end_nodes_of_several_responses"]
        assert mixed == ((0, 2) if distinct else (1, 1))
        [tree] = rows_of(tmp_path / f"t{index}")
        assert tree["build"]["distinct_answers"] is distinct


def test_slips_in_separators_are_named(tmp_path, file):
    with pytest.raises(ValueError, match="did you mean line"):
        Trees(candidates=file, separators={"a": "lines"}).run(tmp_path / "trees")
    with pytest.raises(InputError, match="--source-separator: no candidate is of source 'b'; there are a"):
        Trees(candidates=file, separators={"a": "line", "b": "line"}).run(tmp_path / "trees")


def test_whole_rewards_of_records_are_hashed_as_they_are_stored(tmp_path, file):
    rows = [
        {**row, "rewards": [plain_reward("r", index % 2)]} for index, row in enumerate(CandidateSource(file).read())
    ]
    records = write_jsonl(tmp_path / "records.jsonl", rows)
    manifest = Trees(candidates=records).run(tmp_path / "trees")
    assert manifest["row_hash"] == rows_hash(read_rows(tmp_path / "trees"))


# --- skipped, made again


@pytest.mark.parametrize("stage", ["candidates", "trees", "pairs"])
def test_nothing_is_done_twice(tmp_path, file, stage):
    before = times(make(stage, file, tmp_path))
    assert times(make(stage, file, tmp_path)) == before


def test_what_rebuilds_trees(tmp_path, file, trees):
    hashes = {read_manifest(trees)["row_hash"]}
    for parameters in ({"separator": "line"}, {"threshold": 0.5}, {}):
        hashes.add(Trees(candidates=file, **parameters).run(trees, force=True)["row_hash"])
    assert len(hashes) == 3
    before = times(trees)
    Trees(candidates=file, num_proc=2).run(trees)
    assert times(trees) == before
    assert Trees(candidates=file).run(trees, force=True)["row_hash"] in hashes
    assert times(trees) != before


# --- several rewards


def test_one_of_several_rewards_must_be_chosen(tmp_path, rewarded):
    with pytest.raises(InputError, match="candidates have rewards a, b; choose one with --reward-name"):
        Trees(candidates=str(rewarded)).run(tmp_path / "trees")
    assert not (tmp_path / "trees").exists()
    with pytest.raises(InputError, match="no candidate has a reward 'c'; there are a, b"):
        Trees(candidates=str(rewarded), reward_name="c").run(tmp_path / "trees")
    Trees(candidates=str(rewarded), reward_name="b").run(tmp_path / "trees")
    for tree in rows_of(tmp_path / "trees"):
        assert tree["reward_name"] == "b"
        assert all(r["reward"] == r["rewards"][1]["value"] for r in tree["responses"])


# --- killed


def test_killed_at_some_moments(tmp_path):
    rows = answers(8)
    rows[3]["response"] = rows[20]["response"] = " "
    rows[7]["reward"] = "bad"
    given = write_jsonl(tmp_path / "a.jsonl", rows)
    command = [sys.executable, "-m", "tests.killed", given, str(tmp_path / "work"), "9"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    moments = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert {before for before, _ in moments} >= {0, 3}
    assert all(after in (0, 3) if before == 0 else before + after == 3 for before, after in moments)


PROGRAM = """
import sys
from openprm.stages import trees

trees.PROMPTS_PER_SHARD = 5
if __name__ == "__main__":
    trees.Trees(candidates=sys.argv[1], num_proc=2).run(sys.argv[2])
"""


@pytest.mark.slow
def test_no_worker_outlives_a_killed_stage(tmp_path):
    file = write_jsonl(tmp_path / "a.jsonl", answers(150, 16))
    Trees(candidates=file).run(tmp_path / "whole")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), file, str(tmp_path / "out")]
    shards = tmp_path / ".out.partial" / WORK
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as run:
        while run.poll() is None and not list(shards.glob("*.parquet")):
            time.sleep(0.01)
        run.kill()
    assert run.returncode == -signal.SIGKILL
    assert not workers(tmp_path)
    subprocess.run(command, check=True, capture_output=True)
    assert content(tmp_path / "out")[:3] == content(tmp_path / "whole")[:3]


def workers(folder: Path) -> list[str]:
    """Processes that still run in a folder a moment after the end of what was started there."""
    for _ in range(50):
        found = [pid for pid in os.listdir("/proc") if pid.isdigit() and runs_in(pid, folder)]
        if not found:
            return []
        time.sleep(0.05)
    return found


def runs_in(pid: str, folder: Path) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(folder.resolve())
    except OSError:
        return False
