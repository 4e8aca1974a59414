"""Evaluations with a real vLLM (`make test-engines`): the numbers are those of transformers."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from openprm.engines.specs import EngineSpec, ProbeSpec, RewardSpec
from openprm.engines.vllm_engine import VllmEngine
from openprm.engines.vllm_prober import VllmProber
from openprm.engines.vllm_rewards import VllmRewardEngine
from openprm.runs.folder import read_rows
from openprm.schema import BenchmarkReward
from openprm.stages.evaluate import Evaluate
from tests.answers import write_jsonl

with_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-engines")

ROWS = [
    {"prompt": "What is 2 + 3?", "chosen": "Two and three.\nIt is 5.", "rejected": "Two or three.\nIt is 6."},
    {"prompt": "What is 4?", "chosen": "Four.", "rejected": "Add 2 and 3.\nThen halve.\nIt is 4."},
]


@with_vllm
@pytest.mark.slow
def test_evaluations_by_vllm_are_those_of_transformers(
    reward_model: Path,
    policy: Path,
    vllm_rewards: VllmRewardEngine,
    vllm_prober: VllmProber,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the engines that its specs made for other tests, too: a start takes long."""
    make, running = EngineSpec.make, {RewardSpec: (reward_model, vllm_rewards), ProbeSpec: (policy, vllm_prober)}

    def shared(spec: EngineSpec[Any]) -> Any:
        model, engine = running[type(spec)]
        assert spec.model == str(model)
        return engine if spec.engine == "vllm" else make(spec)

    monkeypatch.setattr(EngineSpec, "make", shared)
    monkeypatch.setattr(VllmEngine, "close", lambda engine: None)
    write_jsonl(tmp_path / "pairs.jsonl", ROWS)
    readout = "{kind: question, prompt: '{question} {response} Right?', positive: '1', negative: '2'}"
    (tmp_path / "asked.yaml").write_text(f"model: {policy}\nreadout: {readout}\nseparator: line\n", "utf-8")
    (tmp_path / "likely.yaml").write_text(f"model: {policy}\nreadout: {{kind: likelihood}}\n", "utf-8")
    models = {
        "plain": str(reward_model),
        "asked": str(tmp_path / "asked.yaml"),
        "likely": str(tmp_path / "likely.yaml"),
    }
    found, units = {}, {}
    for engine, options in (("transformers", {}), ("vllm", {"enforce_eager": True})):
        out = tmp_path / engine
        Evaluate(models=models, on={str(tmp_path / "pairs.jsonl"): ""}, engine=engine, engine_options=options).run(out)
        results = json.loads((out / "results.json").read_text("utf-8"))
        units[engine] = {name: results["models"][name]["unit"] for name in models}
        found[engine] = [
            [row["step_rewards"] for row in read_rows(out / "rewards" / model / "pairs", BenchmarkReward)]
            for model in models
        ]
    assert units["vllm"] == {"plain": "strength", "asked": "log-odds", "likely": "log-ratio"}
    assert units["vllm"] == units["transformers"]
    assert [len(one) for one in found["vllm"]] == [4, 4, 4]
    for one, other in zip(found["vllm"], found["transformers"], strict=True):
        for rewards, expected in zip(one, other, strict=True):
            assert rewards == pytest.approx(expected, abs=1e-3)
