"""Rewards as a stage: candidates keep all they had, failures are listed or retried, and rewards stand in a row."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from openprm.data.candidates import CandidateSource
from openprm.data.columns import Columns
from openprm.errors import Failure, InputError
from openprm.rewards.base import UNPARSABLE, RewardBatch, RewardResult, RuleRewarder
from openprm.rewards.exact_answer import golden_rule
from openprm.rewards.registry import make_rewarder
from openprm.runs.folder import read_rows
from openprm.schema import Candidate, plain_reward
from openprm.stages import reward as reward_stage
from openprm.stages.reward import RewardResponses

from ..folders import candidate, contents, dataset

ANSWERS = ["The answer is 4", "The answer is 5", "Well.", "So 2 and 2 is 4"]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CandidateSource:
    """Three prompts with four candidates each; five a shard."""
    monkeypatch.setattr(reward_stage, "CANDIDATES_PER_SHARD", 5)
    rows = [candidate(f"p{p}", i, text, reference="4") for p in range(3) for i, text in enumerate(ANSWERS)]
    return CandidateSource(str(dataset(tmp_path / "candidates", Candidate, rows)))


class Lengths:
    """Rewards by length, but not those in `down`; what it was asked is in `asked`."""

    name = "length"

    def __init__(self, down: Iterable[str] = ()) -> None:
        self.down = {*down}
        self.asked: list[str] = []
        self.closed = False

    def rewards(self, batches: Iterable[RewardBatch], report: Any) -> Iterator[tuple[RewardBatch, list[RewardResult]]]:
        for batch in batches:
            yield batch, [self.outcome(row) for row in batch.candidates]

    def outcome(self, row: Candidate) -> RewardResult:
        where = f"{row['prompt_id']}/{row['sample_index']}"
        self.asked.append(where)
        if where in self.down:
            return RewardResult(None, failure=Failure("no server answers", "start one", transient=True))
        return RewardResult(plain_reward(self.name, float(len(row["response"]))))

    def describe(self) -> dict[str, Any]:
        return {"kind": "length"}

    def close(self) -> None:
        self.closed = True


def reward(given: CandidateSource, rewarder: Any, out: Path, **options: Any) -> Any:
    """Runs the stage with this rewarder, in place of the one that its parameters say."""
    stage = RewardResponses(candidates=given.path, by="injected", **options)
    vars(stage)["_rewarder"] = rewarder, {}
    return stage.run(out)


def test_rewards_join_what_a_candidate_has(tmp_path: Path, given: CandidateSource):
    manifest = reward(given, golden_rule(), tmp_path / "out")
    before, after = list(read_rows(given.path)), list(read_rows(tmp_path / "out", Candidate))
    for old, new, value in zip(before, after, [1.0, 0.0, 0.0, 1.0] * 3, strict=True):
        marks = [UNPARSABLE] if old["response"] == "Well." else []
        assert new == {**old, "rewards": [plain_reward("golden", value)], "marks": marks}
    assert manifest["counts"] == {
        "rewarded": 12,
        "mean_reward": 0.5,
        "marks": {UNPARSABLE: 3},
        "skipped": 0,
        "rejected": {},
    }


def test_a_name_that_is_taken_is_refused(tmp_path: Path, given: CandidateSource):
    reward(given, golden_rule(), tmp_path / "golden")
    with pytest.raises(InputError, match=r"prompt 'p0', sample 0 has a reward 'golden' already.*--name"):
        reward(CandidateSource(str(tmp_path / "golden")), golden_rule(), tmp_path / "again")


def of_length(row: Candidate) -> float:
    return float(len(row["response"]))


def dies(row: Candidate) -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return of_length(row)


@pytest.mark.slow
def test_where_a_worker_dies_the_run_says_so_and_can_be_resumed(tmp_path: Path, given: CandidateSource):
    with pytest.raises(InputError, match=r"a worker process was killed.*with fewer processes"):
        reward(given, RuleRewarder("length", dies, {}), tmp_path / "out", num_proc=2)
    reward(given, RuleRewarder("length", of_length, {}), tmp_path / "out", num_proc=2)
    assert not active_children()
    reward(given, RuleRewarder("length", of_length, {}), tmp_path / "alone")
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_processes_are_for_rules(tmp_path: Path, given: CandidateSource):
    with pytest.raises(InputError, match="rewards by rule alone"):
        reward(given, Lengths(), tmp_path / "out", num_proc=2)


def test_what_failed_is_retried_alone(tmp_path: Path, given: CandidateSource):
    expected = reward(given, Lengths(), tmp_path / "whole")
    down = Lengths(["p0/1", "p2/3"])
    with pytest.raises(InputError, match=r"2 failed that a retry may fix.*prompt 'p0', sample 1: no server"):
        reward(given, down, tmp_path / "out")
    assert down.closed
    again = Lengths()
    assert reward(given, again, tmp_path / "out") == expected
    assert again.asked == ["p0/1", "p2/3"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_failures_that_are_allowed_keep_their_candidates(tmp_path: Path, given: CandidateSource):
    manifest = reward(given, Lengths(["p1/0"]), tmp_path / "out", allow_failures=True)
    rows = list(read_rows(tmp_path / "out"))
    assert len(rows) == 12
    assert [row["prompt_id"] for row in rows if not row["rewards"]] == ["p1"]
    listed = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert listed == [{"key": "prompt 'p1', sample 0", "reason": "no server answers", "remedy": "start one"}]
    assert manifest["counts"]["rejected"] == {"no server answers": 1}
    assert manifest["counts"]["rewarded"] == 11


def test_rows_of_a_file_that_cannot_be_read_are_listed(tmp_path: Path):
    file = tmp_path / "answers.jsonl"
    rows = [{"question": "2 + 2?", "response": "The answer is 4", "reference": "4"}, {"question": "2 + 2?"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rewarder, _ = make_rewarder("answer")
    given = CandidateSource(str(file), Columns(reward=None))
    manifest = reward(given, rewarder, tmp_path / "out")
    assert manifest["counts"]["rewarded"] == 1
    assert sum(manifest["counts"]["rejected"].values()) == 1
    with pytest.raises(InputError, match=r"answers\.jsonl, row 2: .*--strict"):
        reward(given, rewarder, tmp_path / "strict", strict=True)


def test_no_reward_at_all_is_an_error(tmp_path: Path):
    rows = [candidate("p", 0, "The answer is 4")]
    given = CandidateSource(str(dataset(tmp_path / "candidates", Candidate, rows)))
    with pytest.raises(InputError, match="no candidate could be rewarded; 1 rows were rejected"):
        reward(given, golden_rule(), tmp_path / "out")


def test_a_judge_is_an_origin_of_its_rewards(tmp_path: Path, given: CandidateSource):
    class Judge(Lengths):
        def describe(self) -> dict[str, Any]:
            return {"judge": "org/judge"}

    manifest = reward(given, Judge(), tmp_path / "out")
    assert {"name": "org/judge", "kind": "model", "license": None} in manifest["origins"]


@pytest.mark.parametrize("by", ["math", "choice", "answer", "stated", r"re:is (\d)"])
def test_rewards_by_golden_answers_have_one_name(by: str):
    rewarder, inputs = make_rewarder(by)
    assert (rewarder.name, inputs) == ("golden", {})
    assert make_rewarder(by, name="mine")[0].name == "mine"
