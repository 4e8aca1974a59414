"""The presets of systems that label steps, each whole, on the dial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openprm.engines.openai_generator import ServerGenerator
from openprm.presets.preset import load_preset
from openprm.presets.run import run_preset
from openprm.presets.toy_stages import ToyPolicy, ToyPrompts
from openprm.runs.folder import read_manifest, read_rows
from openprm.schema import Pair, StepLabels

from ..answers import write_jsonl


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("dial")
    ToyPolicy(steps=250).run(folder / "policy")
    ToyPrompts(n=12, split="train").run(folder / "prompts")
    ToyPrompts(n=6, split="test").run(folder / "test")
    return {
        "prompts": str(folder / "prompts"),
        "test_prompts": str(folder / "test"),
        "policy": str(folder / "policy"),
        "base": str(folder / "policy"),
        "by": "answer",
        "n": 4,
        "k": 4,
        "temperature": 1.15,
        "max_new_tokens": 48,
        "separator": ".\n",
        "test_n": 4,
        "learning_rate": 1e-3,
        "steps": 3,
        "batch_size": 8,
        "max_length": 128,
        "seeds": 2,
    }


def made(name: str, out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    manifests = run_preset(load_preset(name, settings), out, say=lambda _: None)
    for kind in ("prm", "shuffled"):
        assert manifests["test"]["kinds"][kind]["models"] == [f"{kind}-0", f"{kind}-1"]
    return manifests


@pytest.mark.parametrize(("name", "soft"), [("math-shepherd", False), ("mips", True), ("omega", False)])
def test_labels_by_rollouts(name: str, soft: bool, tmp_path: Path, settings: dict[str, Any]):
    manifests = made(name, tmp_path, settings)
    rows: list[Any] = list(read_rows(tmp_path / "labels", StepLabels))
    assert {row["kind"] for row in rows} == {"value" if soft else "correct"}
    assert manifests["prm-0"]["counts"]["levels"].keys() == {"point"}
    config = json.loads((tmp_path / "prm-0" / "config.json").read_text("utf-8"))
    assert config["openprm"]["unit"] == "log-odds"
    assert manifests["labels"]["counts"]["one"] == manifests["labels-shuffled"]["counts"]["one"]
    n = len(rows)
    assert (manifests["rollouts"]["counts"]["beginnings"] < 2 * n) == (name == "omega")


def test_corrections(tmp_path: Path, settings: dict[str, Any]):
    made("step-dpo", tmp_path, settings)
    pairs: list[Any] = list(read_rows(tmp_path / "labels", Pair))
    assert pairs
    assert all(pair["rejected_context"] is None for pair in pairs)


def test_the_papers_table_8(tmp_path: Path, settings: dict[str, Any]):
    out = tmp_path / "run"
    manifests = run_preset(load_preset("table8", {**settings, "tree_n": 16}), out, say=lambda _: None)
    assert [*manifests["test"]["kinds"]] == ["prm", "shuffled", "tree"]
    assert {pair["level"] for pair in read_rows(out / "labels", Pair)} <= {"process", "mixed", "outcome"}


def test_what_completions_and_a_judge_agree_on(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """The judge finds no error in even, and the first step wrong in odd questions."""

    def answered(self: Any, batches: Any, sampling: Any, report: Any = None) -> Any:
        for batch in batches:
            named = [0 if len(question[0]["content"]) % 2 else -1 for question in batch.questions]
            texts = [f"I looked.\nFirst wrong step: {step}" for step in named]
            yield batch, [_one(text) for text in texts]

    monkeypatch.setattr(ServerGenerator, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(ServerGenerator, "generate", answered)
    monkeypatch.setattr(ServerGenerator, "close", lambda _: None)
    judged = {"judge": "some", "servers": ["http://127.0.0.1:9/v1"]}
    manifests = made("lessons", tmp_path, {**settings, **judged})
    counts = manifests["labels"]["counts"]
    assert 0 < counts["agreed"] < counts["agreed"] + counts["disagreed"]
    hidden = [row for row in read_rows(tmp_path / "labels", StepLabels) if None in row["labels"]]
    assert all(row["first_error"] >= 0 for row in hidden)


def _one(text: str) -> Any:
    from openprm.engines.base import PromptSamples, Sample

    return PromptSamples([Sample(text=text, n_tokens=9, finish_reason="stop")], 0)


def test_human_labels(tmp_path: Path, settings: dict[str, Any]):
    steps = ["One and one.\n", "That is two."]
    rated = [
        {"instruction": f"{n} + 1?", "responses": steps[:1], "next_response": f"{n} is {step}.", "rating": rating}
        for n in range(6)
        for step, rating in (("2", 1), ("3", -1))
    ]
    located = [{"id": f"a-{n}", "problem": f"{n}0 - 1?", "steps": steps, "label": n % 3 - 1} for n in range(12)]
    out = tmp_path / "run"
    given = {
        "train": write_jsonl(tmp_path / "train.jsonl", rated[:8]),
        "test": write_jsonl(tmp_path / "test.jsonl", rated[8:]),
        "first_errors": write_jsonl(tmp_path / "errors.jsonl", located),
    }
    kept = {name: settings[name] for name in ("base", "learning_rate", "steps", "batch_size", "max_length", "seeds")}
    chosen = {"problems": 3, "test_problems": 1, "test_solutions": 2}
    manifests = run_preset(load_preset("prm800k", {**given, **kept, **chosen}), out, say=lambda _: None)
    assert manifests["labels"]["counts"]["labels"] == 6
    assert manifests["prm800k"]["counts"] == {"prm800k": 2}
    assert manifests["processbench"]["counts"] == {"processbench": 2}
    for name, level in (("entropy", {"point": 6}), ("squared", {"point": 6}), ("pairs-only", {"outcome": 3})):
        assert read_manifest(out / f"{name}-0")["counts"]["levels"] == level
    assert (out / "processbench" / "tables.md").exists()
