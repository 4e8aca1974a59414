"""`openprm sample --branch`: rows of a tree, tokens counted once, nothing lost by a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openprm.decoding.branching import branched
from openprm.engines.step_generator import StepGenerator
from openprm.engines.transformers_generator import TransformersGenerator
from openprm.presets.toy_stages import ToyPrompts
from openprm.runs.folder import read_rows
from openprm.schema import BranchedCandidate
from openprm.scoring.steps import split
from openprm.stages import sample as stage
from openprm.stages.reward import RewardResponses
from openprm.stages.trees import Trees

from ..folders import Killed, contents
from .test_sample import SERVERS


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompts") / "prompts"
    ToyPrompts(n=5, split="train").run(folder)
    return folder


def sample(prompts: Path, policy: Path, out: Path, **options: Any) -> Any:
    values: dict[str, Any] = {"n": 12, "temperature": 1.2, "max_new_tokens": 40, "seed": 5, "prompts_per_shard": 2}
    values |= {"branch": "3,2", "separator": " "}
    return stage.SampleResponses(prompts=str(prompts), model=str(policy), **{**values, **options}).run(out)


def test_rows_of_a_tree(tmp_path: Path, prompts: Path, policy: Path):
    manifest = sample(prompts, policy, tmp_path / "out")
    rows = list(read_rows(tmp_path / "out", BranchedCandidate))
    counts = manifest["counts"]
    assert (manifest["parameters"]["branch"], manifest["parameters"]["separator"]) == ("3,2", " ")
    assert counts["tokens"] == sum(row["new_tokens"] for row in rows) < sum(row["n_tokens"] for row in rows)
    assert counts["ended_early"] == sum(len(row["branch"]) < 3 for row in rows)
    for prompt in read_rows(prompts):
        own = [row for row in rows if row["prompt_id"] == prompt["prompt_id"]]
        assert [row["sample_index"] for row in own] == list(range(len(own)))
        paths = [tuple(row["branch"]) for row in own]
        assert paths == sorted(set(paths))
        # each way on is there, or ended before
        ends = set(paths)
        assert all(
            (i,) in ends or all((i, j) in ends or {(i, j, 0), (i, j, 1)} <= ends for j in range(2)) for i in range(3)
        )
        for depth in (1, 2):
            starts: dict[Any, set[str]] = {}
            for row in own:
                if len(row["branch"]) > depth:
                    start = "".join(split(row["response"], " ")[:depth])
                    starts.setdefault(tuple(row["branch"][:depth]), set()).add(start)
            assert starts
            assert all(len(some) == 1 for some in starts.values())
        # a prompt's tree is the one that it has alone
        generator = TransformersGenerator.load(str(policy))
        made = stage.SampleResponses(prompts=str(prompts), model=str(policy), n=12, temperature=1.2, max_new_tokens=40)
        steps = StepGenerator(generator, " ", made._sampling)
        (alone,) = branched([prompt["question"]], [own[0]["generator"]["seed"]], (3, 2, 2), steps)
        assert [one.partial.text for one in alone] == [row["response"] for row in own]  # type: ignore[union-attr]


def test_trees_merge_what_was_shared(tmp_path: Path, prompts: Path, policy: Path):
    """By equal texts alone: a first step has as many responses behind it as were sampled through it."""
    sample(prompts, policy, tmp_path / "out", max_new_tokens=12)
    rows = list(read_rows(tmp_path / "out"))
    RewardResponses(candidates=str(tmp_path / "out"), by="answer").run(tmp_path / "rewarded")
    Trees(candidates=str(tmp_path / "rewarded"), separator=" ", threshold=1.0, strict=True).run(tmp_path / "trees")
    for tree in read_rows(tmp_path / "trees"):
        own = [row for row in rows if row["prompt_id"] == tree["prompt_id"]]
        first = [node for node in tree["nodes"] if node["depth"] == 1]
        assert len(first) <= 3
        assert sum(node["n_leaves"] for node in first) == len(own)


def test_a_killed_run_goes_on(tmp_path: Path, prompts: Path, policy: Path, monkeypatch: pytest.MonkeyPatch):
    sample(prompts, policy, tmp_path / "whole")
    calls: list[int] = []

    def counted(questions: Any, *rest: Any) -> Any:
        calls.append(len(questions))
        if len(calls) == 2:
            raise Killed
        return branched(questions, *rest)

    monkeypatch.setattr(stage, "branched", counted)
    with pytest.raises(Killed):
        sample(prompts, policy, tmp_path / "killed")
    sample(prompts, policy, tmp_path / "killed")
    assert calls == [2, 2, 2, 1]  # the second shard again, and the third
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_what_does_not_fit_together_is_said_before_anything_is_loaded():
    for options, problem in [
        ({"branch": "5"}, "a product that divides N"),
        ({"branch": "0,2"}, "numbers from 1"),
        ({"branch": "2,x"}, "numbers from 1"),
        ({"branch": None}, "--separator says where"),
        ({"stop": ["x"]}, "leave the stop texts out"),
        ({"separator": "lines"}, "did you mean line"),
        ({"separator": "re:("}, "not a regular expression"),
        ({"servers": [*SERVERS]}, "take the engine vllm or transformers"),
    ]:
        with pytest.raises(ValueError, match=problem):
            stage.SampleResponses(
                prompts="prompts", model="none", n=12, **{"branch": "3,2", "separator": " ", **options}
            )
