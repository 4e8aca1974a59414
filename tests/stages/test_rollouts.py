"""Labels by rollouts, with a small policy of the toy domain."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from openprm.errors import InputError
from openprm.presets import toy_domain
from openprm.rewards.base import RewardBatch
from openprm.rewards.reward_model import ModelRewarder
from openprm.runs.folder import read_manifest, read_rows
from openprm.schema import RolloutLabels
from openprm.stages.rollouts import Rollouts

from ..folders import Killed
from ..models.test_reward_checkpoint import reward_model


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sloppy solutions, four to a dial; some begin alike."""
    rng, file = random.Random(0), tmp_path_factory.mktemp("samples") / "samples.jsonl"
    rows = [
        {"question": dial.question, "response": toy_domain.solution(dial, rng), "reference": dial.reference}
        for dial in toy_domain.dials(3, 0, "test")
        for _ in range(4)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


@pytest.fixture
def label(samples: Path, policy: Path) -> Callable[..., Any]:
    def call(out: Path, **options: Any) -> list[Any]:
        options = {"k": 3, "temperature": 1.15, "max_new_tokens": 48, "by": "answer", **options}
        Rollouts(candidates=str(samples), model=str(policy), **options).run(out)
        return list(read_rows(out, RolloutLabels))

    return call


def test_scan_values_all_steps(tmp_path: Path, label: Callable[..., Any], samples: Path):
    rows = label(tmp_path / "labels")
    given = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    assert ["".join(row["steps"]) for row in rows] == [row["response"] for row in given]
    seen: dict[tuple[str, str], float] = {}
    for row in rows:
        assert row["kind"] == "value"
        assert row["first_error"] is None
        for depth, (value, n) in enumerate(zip(row["labels"], row["support"], strict=True), 1):
            if depth == len(row["steps"]):
                right = "".join(row["steps"]).split()[-1] == row["reference"]
                assert (value, n) == (float(right), 1)
            elif value is not None:
                assert value * n == pytest.approx(round(value * n))
                beginning = row["prompt_id"], "".join(row["steps"][:depth])
                assert seen.setdefault(beginning, value) == value
    counts = read_manifest(tmp_path / "labels")["counts"]
    beginnings = {(r["prompt_id"], "".join(r["steps"][:d])) for r in rows for d in range(1, len(r["steps"]))}
    assert counts["beginnings"] == len(beginnings)
    assert counts["completions"] + counts["cut"] == 3 * len(beginnings)
    assert counts["tokenized_apart"] == 0
    assert counts["new_tokens"] > counts["completions"]


def test_neither_shards_nor_a_killed_run_change_labels(tmp_path: Path, label: Any, monkeypatch: pytest.MonkeyPatch):
    rows = label(tmp_path / "whole")
    made = 0
    compute = Rollouts._value

    def dying(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        if made == 3:
            raise Killed
        return compute(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Rollouts, "_value", dying)
        with pytest.raises(Killed):
            label(tmp_path / "killed", responses_per_shard=3)
    again = label(tmp_path / "killed", responses_per_shard=3)
    assert [row["labels"] for row in again] == [row["labels"] for row in rows]


def test_binary_search_looks_at_fewer_beginnings(tmp_path: Path, label: Any):
    rows, scanned = label(tmp_path / "binary", mode="binary", corrections=True), label(tmp_path / "scan")
    values = {(row["prompt_id"], row["sample_index"]): row["labels"] for row in scanned}
    assert sum(row["beginnings"] for row in rows) < sum(row["beginnings"] for row in scanned)
    for row in rows:
        assert row["kind"] == "correct"
        for hard, value in zip(row["labels"], values[row["prompt_id"], row["sample_index"]], strict=True):
            assert hard is None or hard == (value > 0)
        error = row["first_error"]
        if error is not None and error >= 0:
            assert row["labels"][error] == 0
            assert error == 0 or row["labels"][error - 1] == 1
        assert row["correction"] is None or error >= 0


def test_only_so_many_responses_to_each_prompt(tmp_path: Path, label: Any):
    assert {row["sample_index"] for row in label(tmp_path / "labels", per_prompt=2)} <= {0, 1}


def test_completions_that_are_cut(tmp_path: Path, label: Any):
    """Left out, or rewarded as they are: that of no answer is 0."""
    for keep_cut in (False, True):
        rows = label(tmp_path / str(keep_cut), max_new_tokens=9, keep_cut=keep_cut)
        counts = read_manifest(tmp_path / str(keep_cut))["counts"]
        assert counts["completions"] + counts["cut"] == 3 * counts["beginnings"]
        assert (counts["cut"] == 0) == keep_cut
        assert (None in [label for row in rows for label in row["labels"]]) != keep_cut


def test_outcomes_by_a_reward_model(tmp_path: Path, label: Any, policy: Path):
    """A response ends right where its reward is above a number, here the median."""
    orm = reward_model(tmp_path / "orm", AutoTokenizer.from_pretrained(policy), max_position_embeddings=256)
    whole = label(tmp_path / "by-rule", k=1)
    candidates: Any = [{"question": row["question"], "response": "".join(row["steps"])} for row in whole]
    ((_, results),) = ModelRewarder(orm).rewards([RewardBatch(0, candidates)])
    rewards = [result.reward["value"] for result in results if result.reward]
    above = sorted(rewards)[len(rewards) // 2 - 1]
    rows = label(tmp_path / "labels", by="model", outcome_model=str(orm), right_above=above)
    assert [row["labels"][-1] for row in rows] == [float(reward > above) for reward in rewards]
    assert {label * 3 % 1 for row in rows for label in row["labels"][:-1]} == {0}
    assert len({label for row in rows for label in row["labels"][:-1]}) > 1
    assert read_manifest(tmp_path / "labels")["parameters"]["reward"]["kind"] == "model"


def test_what_cannot_be(tmp_path: Path, label: Any):
    for options, problem in [
        ({"mode": "scann"}, "did you mean"),
        ({"threshold": 1.0}, "give one below 1"),
        ({"servers": ["http://x"]}, "cannot continue"),
        ({"by": "judge"}, "by a rule, such as answer, or by a model"),
        ({"by": "model"}, "go together"),
        ({"right_above": 0.5}, "go together"),
    ]:
        with pytest.raises(InputError, match=problem):
            label(tmp_path / "none", **options)
