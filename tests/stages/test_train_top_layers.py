"""Training and scoring with the top layers alone: the checkpoint is plain, also after a kill and on two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from openprm.engines.transformers_rewards import TransformersRewardEngine
from openprm.errors import InputError
from openprm.models.reward_checkpoint import load_reward_model
from openprm.runs.folder import read_manifest
from openprm.schema import Pair
from openprm.stages.train import Train
from openprm.training.trainer import OpenPRMTrainer
from tests.folders import Killed, contents, dataset
from tests.small_training import pairs

SEQUENCES = [[[5, 6, 7, 8, 9], [5, 6, 9]], [[5, 6, 7, 12], [7]]]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, base: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("given")
    return {
        "pairs": {"pairs": str(dataset(folder / "pairs", Pair, pairs(24)))},
        "base": str(base),
        "batch_size": 8,
        "max_steps": 4,
        "save_minutes": 0.0,
        "learning_rate": 1e-3,
        "top_layers": 1,
        "trainer_options": {"use_cpu": True},
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, given: dict[str, Any]) -> Path:
    """A model beside the states that it was trained on."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    Train(**given).run(folder)
    return folder


def test_the_checkpoint_is_plain_and_its_lower_layers_are_the_bases(trained: Path, given: dict[str, Any]):
    weights, before = load_file(trained / "model.safetensors"), load_reward_model(given["base"])[0].state_dict()
    changed = {name for name in before if not torch.equal(weights[name], before[name])}
    layers = {name.split(".")[2] for name in changed if ".layers." in name}
    assert layers == {"1"}
    assert {name for name in changed if ".layers." not in name} == {"model.norm.weight", "score.weight"}
    counts = read_manifest(trained)["counts"]
    assert counts["top_layers"] == 1
    pieces = [*(trained.parent / ".states").glob("*/*.states.npy")]
    assert 0 < counts["kept_bytes"] <= sum(path.stat().st_size for path in pieces) < counts["kept_bytes"] + 1000


def test_models_of_one_trunk_are_scored_on_the_same_states(trained: Path, tmp_path: Path, given: dict[str, Any]):
    plain = TransformersRewardEngine(trained).rewards(SEQUENCES)
    states = trained.parent / ".states"
    for _ in range(2):
        found = TransformersRewardEngine(trained, states=str(states)).rewards(SEQUENCES)
        torch.testing.assert_close(torch.tensor(found), torch.tensor(plain), rtol=0, atol=1e-4)
    Train(**{**given, "levels": ["outcome"], "seed": 1}, states=str(states)).run(tmp_path / "orm")
    assert len([*states.iterdir()]) == 1
    pieces = sorted(states.glob("*/*"))
    TransformersRewardEngine(tmp_path / "orm", states=str(states)).rewards(SEQUENCES)
    assert sorted(states.glob("*/*")) == pieces
    Train(**{**given, "top_layers": None}).run(tmp_path / "whole")
    with pytest.raises(InputError, match="whole was not trained by `openprm train --top-layers`, so it shares no"):
        TransformersRewardEngine(tmp_path / "whole", states=str(states))


def test_a_killed_run_ends_bit_for_bit_as_an_uninterrupted_one(
    trained: Path, tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    step = OpenPRMTrainer.training_step

    def training_step(self: Any, *args: Any) -> Any:
        if self.state.global_step == 2:
            raise Killed
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(OpenPRMTrainer, "training_step", training_step)
        with pytest.raises(Killed):
            Train(**given).run(tmp_path / "model")
    Train(**given).run(tmp_path / "model")
    assert contents(tmp_path / "model") == contents(trained)


def test_what_excludes_it_is_said(tmp_path: Path, given: dict[str, Any]):
    with pytest.raises(InputError, match="--lora adapts all layers, and --top-layers trains some whole"):
        Train(**given, lora=2).run(tmp_path / "model")
    with pytest.raises(InputError, match="the top 2 layers cannot be trained alone: the model has 2"):
        Train(**{**given, "top_layers": 2}).run(tmp_path / "model")


@pytest.mark.slow
def test_several_processes_share_the_states(trained: Path, tmp_path: Path, given: dict[str, Any]):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, torch\n"
        "torch.set_num_threads(1)\n"
        "from openprm.stages.train import Train\n"
        "Train(**eval(sys.argv[1])).run(sys.argv[2])\n"
    )
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *launch, repr(given), str(tmp_path / "model")]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=300, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    together, alone = (load_file(folder / "model.safetensors") for folder in (tmp_path / "model", trained))
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, rtol=0, atol=1e-4)
