"""The preset `smol`, whole, with random weights of the same architecture, few prompts and few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openprm.presets.preset import load_preset
from openprm.presets.run import run_preset
from openprm.runs.folder import read_manifest, read_rows
from openprm.schema import Candidate

from ..public_data import parquet
from ..tiny_models import model, saved, tokenizer

KINDS = ("orm", "process", "openprm", "branched", "shuffled")
LONG = ("orm-long", "openprm-long")
LEVERS = ("n-8", "n-16", "n-22", "supported", "certain")


def ifeval(folder: Path) -> str:
    """Rows as IFEval's."""
    wordings = {
        "punctuation:no_comma": ("Use no commas.", {}),
        "length_constraints:number_words": ("Use less than 9 words.", {"num_words": 9, "relation": "less than"}),
    }
    rows = [
        {"prompt": f"Say something on {topic}. {text}", "instruction_id_list": [kind], "kwargs": [arguments]}
        for topic in ("sand", "gold", "iron")
        for kind, (text, arguments) in wordings.items()
    ]
    parquet(folder, "train", [{"key": index, **row} for index, row in enumerate(rows)])
    return str(next(folder.glob("*.parquet")))


@pytest.mark.slow
def test_the_whole_preset(tmp_path: Path):
    pytest.importorskip("langdetect")
    names = tokenizer()
    policy = model(
        kind="AutoModelForCausalLM",
        vocab_size=len(names),
        hidden_size=36,
        num_attention_heads=9,
        num_key_value_heads=3,
        num_hidden_layers=3,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    folder = str(saved(tmp_path / "policy", policy, names))
    settings: dict[str, Any] = {"policy": folder, "ifeval": ifeval(tmp_path / "ifeval"), "top_layers": 1}
    settings |= {
        "states": str(tmp_path / "run/.states"),
        "prompts": 20,
        "n": 10,
        "branched_n": 8,
        "branch": "2,2",
        "test_prompts": 6,
        "held_out_prompts": 4,
        "test_n": 4,
        "steps": 4,
        "long_steps": 6,
        "seeds": 2,
    }
    preset = load_preset("smol", settings)
    out = tmp_path / "run"
    manifests = run_preset(preset, out, say=lambda _: None)
    assert read_manifest(out / "candidates")["rows"] == 200
    rewards = {row["rewards"][0]["value"] for row in read_rows(out / "candidates", Candidate)}
    assert len(rewards) > 1, "random texts meet some constraints"
    for test in ("test", "topics", "kinds"):
        measured = manifests[test]
        kinds = [*KINDS, *(LONG if test == "test" else ())]
        assert [*measured["kinds"]] == kinds
        assert all(len(measured["kinds"][kind]["models"]) == 2 for kind in kinds)
        assert measured["counts"]["unscored"] == {f"{kind}-{seed}": 0 for kind in kinds for seed in range(2)}
    levels = {kind: {*manifests[f"{kind}-0"]["counts"]["levels"]} for kind in KINDS}
    assert levels["orm"] == {"outcome"}
    assert "outcome" not in levels["process"]
    assert levels["process"] | levels["orm"] == levels["openprm"]

    levers = manifests["levers"]["kinds"]
    assert len(levers) == len({*LEVERS}) + len(KINDS)
    for lever in LEVERS:
        assert len(levers[lever]["models"]) == 2
    pairs = {name: manifests[f"pairs{name}"]["counts"]["pairs"] for name in ("", "-n-8", "-n-22")}
    assert pairs["-n-8"] < pairs[""] == pairs["-n-22"]

    # the rest again from what was published, without sampling
    published = str(out / "hub" / "openprm")
    again = run_preset(preset, tmp_path / "again", start="trees", until="pairs-topics", published=published, say=print)
    for stage in ("trees", "trees-topics", "pairs", "pairs-topics"):
        assert again[stage]["row_hash"] == manifests[stage]["row_hash"]
