"""Pairs of trees and of preferences: gaps, splits, the control, duplicates."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from openprm.errors import InputError
from openprm.runs.folder import read_rows
from openprm.stages.pairs import Pairs, Preferences, _shuffled
from openprm.stages.trees import Trees

from ..answers import answers, write_jsonl
from .test_trees import rows_of


def test_pairs_of_another_reward_need_no_new_trees(tmp_path, rewarded):
    for name in "ab":
        Trees(candidates=str(rewarded), reward_name=name).run(tmp_path / name)
    turned = Pairs(trees=str(tmp_path / "a"), min_gap="0.1", reward_name="b").run(tmp_path / "turned")
    assert turned["row_hash"] == Pairs(trees=str(tmp_path / "b"), min_gap="0.1").run(tmp_path / "direct")["row_hash"]
    with pytest.raises(ValueError, match="no reward named 'c'"):
        Pairs(trees=str(tmp_path / "a"), min_gap="0.1", reward_name="c").run(tmp_path / "none")


def test_pairs_follow_their_trees(tmp_path, file, trees):
    first = Pairs(trees=str(trees), min_gap="0.1").run(tmp_path / "pairs")
    write_jsonl(Path(file), answers(12, seed=1))
    with pytest.raises(InputError, match="was made with another content of candidates"):
        Trees(candidates=file).run(trees)
    Trees(candidates=file).run(trees, force=True)
    again = Pairs(trees=str(trees), min_gap="0.1").run(tmp_path / "pairs", force=True)
    assert again["row_hash"] != first["row_hash"]


def test_a_gap_in_other_units(tmp_path, trees):
    rewards = [response["reward"] for tree in rows_of(trees) for response in tree["responses"]]
    mean = sum(rewards) / len(rewards)
    sd = (sum((reward - mean) ** 2 for reward in rewards) / len(rewards)) ** 0.5
    manifest = Pairs(trees=str(trees), min_gap="0.5sd").run(tmp_path / "sd")
    assert manifest["counts"]["min_gap_by_source"] == {"a": pytest.approx(0.5 * sd)}
    assert manifest["parameters"]["min_gap"] == "0.5sd"
    assert all(pair["gap"] >= 0.5 * sd - 1e-9 for pair in rows_of(tmp_path / "sd"))
    half = Pairs(trees=str(trees), min_gap="q0.5").run(tmp_path / "half")["rows"]
    everything = Pairs(trees=str(trees), min_gap="q0").run(tmp_path / "all")["rows"]
    assert 0.3 * everything < half < 0.7 * everything


def test_pairs_by_certainty(tmp_path, trees):
    gaps = {}
    for name, parameters in {
        "plain": {},
        "shrunken": {"values": "shrunken"},
        "weighed": {"weigh": "certainty"},
    }.items():
        made = Pairs(trees=str(trees), min_gap="0.1", select="all", **parameters).run(tmp_path / name)
        assert ("prior_by_source" in made["counts"]) == bool(parameters)
        gaps[name] = sum(pair["gap"] for pair in rows_of(tmp_path / name))
    assert made["counts"]["prior_by_source"]["a"] > 0
    assert gaps["shrunken"] < gaps["plain"] == gaps["weighed"]
    assert all(0 <= pair["weight"] < 1 for pair in rows_of(tmp_path / "weighed"))
    assert {pair["weight"] for pair in rows_of(tmp_path / "plain")} == {1.0}


def published(tmp_path: Path, trees: Path) -> Path:
    """A folder of two splits, as a published repository is: `train` of the first trees, `test` of all."""
    [shard] = (trees / "data").glob("*.parquet")
    folder = tmp_path / "published"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "test-00000.parquet").write_bytes(shard.read_bytes())
    pq.write_table(pq.read_table(shard).slice(0, 6), folder / "data" / "train-00000.parquet")
    return folder


@pytest.mark.parametrize("shuffle", [None, 3])
def test_pairs_of_a_split(tmp_path, trees, shuffle):
    folder = published(tmp_path, trees)

    def make(name: str, trees: Path, split: str | None = None) -> dict[str, Any]:
        return Pairs(trees=str(trees), min_gap="0.1", split=split, shuffle_rewards=shuffle).run(tmp_path / name)

    plain, train, named, test = (
        make("all", trees),
        make("a", folder),
        make("b", folder, "train"),
        make("c", folder, "test"),
    )
    assert test["row_hash"] == plain["row_hash"] != train["row_hash"]
    assert test["parameters"] == {**plain["parameters"], "split": "test"}
    assert train["row_hash"] == named["row_hash"]
    with pytest.raises(InputError, match="has no split 'control': its splits are test, train"):
        make("d", folder, "control")


def test_the_control_shuffles_the_same_rewards(tmp_path, trees):
    plain = Pairs(trees=str(trees), min_gap="0.0", outcome="all").run(tmp_path / "plain")
    shuffled = [
        Pairs(trees=str(trees), min_gap="0.0", outcome="all", shuffle_rewards=seed).run(tmp_path / f"seed{seed}")
        for seed in (0, 1)
    ]
    again = Pairs(trees=str(trees), min_gap="0.0", outcome="all", shuffle_rewards=0).run(tmp_path / "again")
    hashes = [manifest["row_hash"] for manifest in (plain, *shuffled)]
    assert len(set(hashes)) == 3
    assert again["row_hash"] == hashes[1]
    dealt = list(_shuffled(read_rows(trees), read_rows(trees), 0))  # type: ignore[arg-type]
    assert {tree["reward_name"] for tree in dealt} == {"reward, shuffled"}

    def multiset(trees: Any) -> Counter[float]:
        return Counter(response["reward"] for tree in trees for response in tree["responses"])

    assert multiset(dealt) == multiset(rows_of(trees))
    for tree, before in zip(dealt, rows_of(trees), strict=True):
        mean = sum(response["reward"] for response in tree["responses"]) / len(tree["responses"])
        assert tree["nodes"][0]["value"] == pytest.approx(mean)
        assert [node["text"] for node in tree["nodes"]] == [node["text"] for node in before["nodes"]]


@pytest.mark.parametrize("select", ["max", "all"])
def test_a_number_of_outcome_pairs_spread_over_prompts(tmp_path, trees, select):
    every = Pairs(trees=str(trees), min_gap="0.1", select=select, outcome="all").run(tmp_path / "all")
    most = every["counts"]["levels"]["outcome"]
    assert most > 24
    for n in (5, 12, 20, most, most + 1):
        stage = Pairs(trees=str(trees), min_gap="0.1", select=select, outcome=str(n))
        counts = stage.run(tmp_path / f"n{n}")["counts"]
        assert counts["levels"] == {**every["counts"]["levels"], "outcome": min(n, most)}
        prompts = Counter(pair["prompt_id"] for pair in rows_of(tmp_path / f"n{n}") if pair["level"] == "outcome")
        assert n > 20 or set(prompts.values()) <= {n // 12, -(-n // 12)}
        if n <= most:
            seed = Pairs(trees=str(trees), min_gap="0.1", select=select, outcome=str(n), seed=1)
            assert seed.run(tmp_path / f"seed{n}")["counts"]["levels"] == counts["levels"]
    with pytest.raises(ValueError, match="outcome is '0'; use none, best, all, or how many pairs"):
        Pairs(trees=str(trees), outcome="0").run(tmp_path / "none")


def test_no_pair(tmp_path, trees):
    with pytest.raises(InputError, match=r"no pair has a gap of 99 or more \(widest gap \d.*\); lower --min-gap"):
        Pairs(trees=str(trees), min_gap="99.0").run(tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()


def test_duplicates_and_contradictions_are_counted(tmp_path):
    rows = [
        {"prompt": prompt, "chosen": chosen, "rejected": rejected}
        for prompt, chosen, rejected in ["qab", "qab", "qcd", "qdc", "qdc", "rab"]
    ]
    manifest = Preferences(preferences=write_jsonl(tmp_path / "p.jsonl", rows)).run(tmp_path / "pairs")
    counts = manifest["counts"]
    assert (counts["pairs"], counts["duplicates"], counts["contradictions"]) == (2, 1, 3)
    assert "mean_gap" not in counts, "the gaps are unknown"
    assert [(row["question"][0]["content"], row["chosen"]) for row in rows_of(tmp_path / "pairs")] == [
        ("q", "a"),
        ("r", "a"),
    ]
    contradictory = write_jsonl(tmp_path / "only.jsonl", rows[2:5])
    with pytest.raises(InputError, match="no pair could be used"):
        Preferences(preferences=contradictory).run(tmp_path / "none")
    assert not (tmp_path / "none").exists()
