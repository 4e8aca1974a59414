"""A whole run on a Hub, and everything that users do with it, in fresh processes with empty caches.

The clients are the real ones, pointed at `tests.local_hub`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openprm.runs.folder import read_manifest, read_rows, rows_hash
from openprm.scoring.pipeline import load_scorer
from tests.fresh_machine import FreshMachine, hub_of
from tests.local_hub import Hub
from tests.miniature import finished_run  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow

DATASETS = ("candidates", "trees", "pairs")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, finished_run: Path) -> Iterator[Hub]:  # noqa: F811
    with hub_of(finished_run, tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def machine(hub: Hub, tmp_path: Path) -> FreshMachine:
    return FreshMachine(hub, tmp_path / "empty", tmp_path / "home")


WITHOUT_PACKAGE = """
import json
from datasets import get_dataset_config_names, load_dataset
from transformers import pipeline

found = {}
for name in ("candidates", "trees", "pairs"):
    for config in get_dataset_config_names(f"openprm/{name}"):
        whole = load_dataset(f"openprm/{name}", config)
        for split, rows in whole.items():
            streamed = load_dataset(f"openprm/{name}", config, split=split, streaming=True)
            tagged = load_dataset(f"openprm/{name}", config, split=split, revision="v1.0")
            assert list(streamed) == list(rows) == list(tagged), (name, config, split)
            found[f"{name} {config} {split}"] = rows.num_rows
assert load_dataset("openprm/pairs", "process", split="train")[0]["level"] == "process"

one = load_dataset("openprm/candidates", split="train")[0]
chat = [*one["question"], {"role": "assistant", "content": one["response"]}]
scorer = pipeline("openprm-scoring", model="openprm/openprm", trust_remote_code=True)
rewards = [scorer(one), scorer(chat), *scorer([one, one, one], batch_size=2)]
classify = pipeline("text-classification", model="openprm/openprm")
text = classify.tokenizer.apply_chat_template(chat, tokenize=False)
last = [reward["step_rewards"][-1] for reward in rewards] + [classify(text, add_special_tokens=False)[0]["score"]]
print(json.dumps([found, last]))
"""


def test_everything_loads_without_the_package(machine: FreshMachine, finished_run: Path):  # noqa: F811
    """Every config, split and tag, whole and streamed; every way to score gives the reward of the trained model."""
    found, rewards = json.loads(machine.python(WITHOUT_PACKAGE, package=False).splitlines()[-1])
    for name in DATASETS:
        config = "all" if name == "pairs" else "default"
        for split, folder in (("train", name), ("test", f"{name}-test")):
            assert found[f"{name} {config} {split}"] == read_manifest(finished_run / folder)["rows"]
    for split in ("train", "test"):
        parts = [found[f"pairs {level} {split}"] for level in ("process", "outcome")]
        assert sum(parts) == found[f"pairs all {split}"]
    one = next(iter(read_rows(finished_run / "candidates")))
    trained = load_scorer(str(finished_run / "openprm-0"))(one)["step_rewards"][-1]
    assert rewards == pytest.approx([trained] * 6, abs=1e-3)


TRAINING = """
from datasets import Dataset, load_dataset
from trl import RewardConfig, RewardTrainer
from openprm.trees.pairs import to_trl

rows = Dataset.from_list([to_trl(pair) for pair in load_dataset("openprm/pairs", "outcome", split="train")])
arguments = RewardConfig(output_dir="out", max_steps=1, per_device_train_batch_size=2, report_to=[], use_cpu=True)
trainer = RewardTrainer("openprm/openprm", arguments, train_dataset=rows)
assert trainer.train().training_loss > 0

import openprm
from transformers import pipeline

one = load_dataset("openprm/candidates", split="train")[0]
scorers = [pipeline("openprm-scoring"), openprm.load_scorer("openprm/openprm", revision="v1.0")]
assert len({round(scorer(one)["step_rewards"][-1], 3) for scorer in scorers}) == 1
"""


def cards(run: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text("utf-8") for path in (run / "hub" / "openprm").glob("*/README.md")}


def blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", card, re.S | re.M)


def test_every_program_of_a_card_runs_and_trl_trains_the_model(machine: FreshMachine, finished_run: Path):  # noqa: F811
    """All in one process, each with names of its own; what needs vLLM: see tests/engines/test_published.py."""
    programs = [block for card in cards(finished_run).values() for block in blocks(card, "python")]
    programs = [program for program in dict.fromkeys(programs) if "from vllm" not in program]
    assert len(programs) >= 10
    machine.python("".join(f"exec({program!r}, {{'__name__': '__main__'}})\n" for program in [*programs, TRAINING]))


def published(run: Path, name: str) -> dict[str, Any]:
    """The hashes of a dataset's splits."""
    parts = json.loads((run / "hub" / "openprm" / name / "manifest.json").read_text("utf-8"))["parts"]
    return {f"{name}-{split}": part["row_hash"] for split, part in parts.items()}


def rebuilt(folder: Path, name: str) -> dict[str, str]:
    """The hashes of what a card's commands made; of candidates without the rewards that they were given again."""
    found = {}
    for path in sorted((folder / "rebuilt").glob(f"{name}-*")):
        rows = list(read_rows(path))
        if name == "candidates":
            for row in rows:
                rewards = {reward["name"]: reward["value"] for reward in row["rewards"]}
                again = row["rewards"].pop()
                assert again["value"] == rewards[again["name"].removesuffix("-again")]
        found[path.name] = rows_hash(rows)
    return found


COMMANDS = """
import shlex
from openprm.cli import app

for line in {lines!r}:
    assert not app(shlex.split(line)[1:], standalone_mode=False), line
"""


def test_every_command_of_a_card_runs(machine: FreshMachine, finished_run: Path):  # noqa: F811
    """In one process, but for a served demo, which would not end. Those that rebuild a dataset give the rows that were
    published; trees also from a tag."""
    found = [block for card in cards(finished_run).values() for block in blocks(card, "console")]
    lines = "".join(found).replace("\\\n", "").splitlines()
    assert all(line.startswith("openprm ") for line in lines)
    lines = [line for line in lines if not line.startswith("openprm demo ")]
    lines = [
        line.replace("openprm trees openprm/candidates ", "openprm trees openprm/candidates@v1.0 ") for line in lines
    ]
    machine.python(COMMANDS.format(lines=lines))
    for name in DATASETS:
        assert rebuilt(machine.folder, name) == published(finished_run, name)
    inputs = read_manifest(machine.folder / "rebuilt" / "trees-test")["inputs"]
    assert inputs["candidates"]["name"] == "openprm/candidates@v1.0"
