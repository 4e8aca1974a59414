"""Scores of whole folders: the pipeline's own, in order, and as good after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openprm.errors import InputError
from openprm.models.reward_checkpoint import load_reward_model, save_reward_model
from openprm.runs.folder import read_rows, rows_hash
from openprm.schema import Candidate
from openprm.scoring.pipeline import load_scorer
from openprm.stages import score as scoring_stage
from openprm.stages.score import Score

from ..engines.faulty_server import RewardServer, reliable
from ..folders import candidate, contents, dataset


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    folder = tmp_path_factory.mktemp("model") / "reward"
    save_reward_model(*load_reward_model(base), folder)
    return folder


TEXTS = ["The sum.\nFive.\n", "", "The answer is five.", "x" * 400 + ".\nY", "One.\n" * 200, "Seven.\n\nThen.\nOr six"]


def run_score(candidates: str, model: str | Path, out: Path, **options: Any) -> Any:
    return Score(candidates=candidates, model=str(model), **options).run(out)


def answers(count: int = 3) -> list[dict[str, Any]]:
    return [candidate(f"p{p}", i, text) for p in range(count) for i, text in enumerate(TEXTS)]


def test_scoring_keeps_the_order_and_agrees_with_the_pipeline(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scoring_stage, "RESPONSES_PER_SHARD", 4)
    rows = answers()
    found = dataset(tmp_path / "candidates", Candidate, rows)
    manifest = run_score(str(found), model, tmp_path / "scores", aggregation="last")
    scores = list(read_rows(tmp_path / "scores"))
    usable = [row for row in rows if row["sample_index"] not in (1, 3)]
    assert [(row["prompt_id"], row["sample_index"]) for row in scores] == [
        (row["prompt_id"], row["sample_index"]) for row in usable
    ]
    scorer = load_scorer(str(model))
    for row, score in zip(usable, scores, strict=True):
        expected = scorer(row, aggregation="last")
        assert score["steps"] == expected["steps"]
        assert "".join(score["steps"]) == row["response"]
        assert score["step_rewards"] == pytest.approx(expected["step_rewards"], abs=1e-4)
        assert score["score"] == pytest.approx(expected["score"], abs=1e-4)
        assert (score["truncated"], score["aggregation"]) == (expected["truncated"], "last")
    assert [row["sample_index"] for row in scores if row["truncated"]] == [4, 4, 4]
    assert manifest["counts"]["truncated"] == 3
    assert manifest["row_hash"] == rows_hash(scores)
    listed = [json.loads(line) for line in (tmp_path / "scores" / "rejected.jsonl").read_text().splitlines()]
    assert [row["key"] for row in listed] == [f"prompt 'p{p}', sample {i}" for p in range(3) for i in (1, 3)]
    assert "is empty" in listed[0]["reason"]
    assert "up to step 1" in listed[1]["reason"]
    assert sum(manifest["counts"]["rejected"].values()) == 6
    assert str(tmp_path) not in (tmp_path / "scores" / "manifest.json").read_text()
    assert not list((tmp_path / "scores" / "data").glob(".*"))


def test_strict_scoring_does_not_take_what_a_lenient_run_left(tmp_path: Path, model: Path):
    found = str(dataset(tmp_path / "candidates", Candidate, answers(1)))
    run_score(found, model, tmp_path / "scores")
    with pytest.raises(InputError, match=r"is empty.*--strict"):
        run_score(found, model, tmp_path / "scores", strict=True)


def test_scoring_resumes_when_its_servers_are_back(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring_stage, "RESPONSES_PER_SHARD", 4)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = str(dataset(tmp_path / "candidates", Candidate, answers()))
    with RewardServer(longest=256) as server:
        options = {
            "engine_options": {"retries": 2, "concurrency": 1},
            "servers": [server.url],
            "checkpoint": str(model),
        }
        expected = run_score(found, "reward", tmp_path / "whole", **options)
        asked, server.requests = len(server.requests), []

        def dying(number: int, request: dict[str, Any]) -> str:
            server.down = server.down or number == 7
            return "drop" if server.down else "answer"

        server.behaviour = dying
        with pytest.raises(InputError, match="What is finished is kept"):
            run_score(found, "reward", tmp_path / "killed", **options)
        server.down, server.behaviour = False, reliable
        server.requests = []
        assert run_score(found, "reward", tmp_path / "killed", **options) == expected
        assert 0 < len(server.requests) < asked
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert expected["inputs"]["model"]["name"] == model.name
    assert "127.0.0.1" not in (tmp_path / "whole" / "manifest.json").read_text()
