"""Questions, samples and rewards by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openprm.runs.folder import read_rows


def ask(n: int = 5) -> None:
    lines = [{"question": f"The dial is at {i}. First up 2.", "reference": str(i + 2)} for i in range(n)]
    Path("q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


SAMPLE = ("--n", "2", "--max-new-tokens", "8", "--prompts-per-shard", "2")


def test_questions_to_samples_to_rewards(run, policy):
    ask()
    assert run("prompts", "q.jsonl", "-o", "p")[0] == 0
    code, out, _ = run("sample", "p", "--model", str(policy), "-o", "s", *SAMPLE, "--shard", "1/2")
    assert code == 0
    assert "prompts 3/3 · responses 6" in out  # the first and the third of the three shards
    assert "not running; the same command resumes it" in out
    code, out, err = run("status", "s")
    assert (code, err) == (0, "")
    assert "prompts 3/3 · responses 6" in out
    assert run("sample", "p", "--model", str(policy), "-o", "s", *SAMPLE)[0] == 0
    assert "s is finished: sample, 10 rows" in run("status", "s")[1]
    code, out, err = run("reward", "s", "--by", "answer", "-o", "c", "--num-proc", "1")
    assert (code, "rewarded" in out) == (0, True), err
    assert run("reward", "c", "--by", r"re:\d", "--name", "digit", "-o", "both")[0] == 0
    rewards = [{reward["name"] for reward in row["rewards"]} for row in read_rows("both")]
    assert rewards == [{"golden", "digit"}] * 10
    assert run("trees", "both", "--reward-name", "digit", "-o", "t")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shard", "3/2"), "not one of 1/2 to 2/2"),
        (("--n", "2", "--temperature", "0"), "greedy"),
        (("--engine", "server"), "needs the addresses of servers"),
        (("--server", "http://user:secret@host/v1"), "environment"),
        (("--stop", ""), "stop string is empty"),
    ],
)
def test_what_cannot_be_sampled(fails, run, policy, arguments, message):
    ask()
    run("prompts", "q.jsonl", "-o", "p")
    line = fails("sample", "p", "--model", str(policy), "-o", "t", *arguments)
    assert message in line
    assert "secret" not in line
