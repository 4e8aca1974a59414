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
from tests.local_hub import Hub
from tests.miniature import finished_run  # noqa: F401 (a fixture)
from tests.stranger import Stranger, hub_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, finished_run: Path) -> Iterator[Hub]:  # noqa: F811
    with hub_of(finished_run, tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def stranger(hub: Hub, tmp_path: Path) -> Stranger:
    return Stranger(hub, tmp_path / "empty", tmp_path / "home")


def example(run: Path) -> dict[str, Any]:
    row = next(iter(read_rows(run / "candidates")))
    return {"question": row["question"], "response": row["response"]}


DATASETS = """
import json
from datasets import get_dataset_config_names, load_dataset

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
print(json.dumps(found))
"""


def test_every_config_and_split_loads_streams_and_has_its_tag(stranger: Stranger, finished_run: Path):  # noqa: F811
    found = json.loads(stranger.python(DATASETS, package=False))
    for name in ("candidates", "trees", "pairs"):
        config = "all" if name == "pairs" else "default"
        for split, folder in (("train", name), ("test", f"{name}-test")):
            assert found[f"{name} {config} {split}"] == read_manifest(finished_run / folder)["rows"]
    for split in ("train", "test"):
        parts = [found[f"pairs {level} {split}"] for level in ("process", "outcome")]
        assert sum(parts) == found[f"pairs all {split}"]


REWARDS = """
import json
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

one = json.loads({one!r})
chat = [*one["question"], {{"role": "assistant", "content": one["response"]}}]
found = {{}}
{ways}
tokenizer = AutoTokenizer.from_pretrained("openprm/openprm")
model = AutoModelForSequenceClassification.from_pretrained("openprm/openprm")
text = tokenizer.apply_chat_template(chat, tokenize=False)
inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
with torch.no_grad():
    found["AutoModelForSequenceClassification"] = model(**inputs).logits.item()
classify = pipeline("text-classification", model="openprm/openprm")
found["text-classification"] = classify(text, add_special_tokens=False)[0]["score"]
print(json.dumps(found))
"""
WITHOUT_PACKAGE = """
scorer = pipeline("openprm-scoring", model="openprm/openprm", trust_remote_code=True)
found["pipeline"] = scorer(one)["rewards"][-1]
found["pipeline, a chat"] = scorer(chat)["rewards"][-1]
found["pipeline, batched"] = scorer([one, one, one], batch_size=2)[2]["rewards"][-1]
"""
WITH_PACKAGE = """
import openprm

found["default model"] = pipeline("openprm-scoring")(one)["rewards"][-1]
found["load_scorer"] = openprm.load_scorer("openprm/openprm")(one)["rewards"][-1]
found["load_scorer, a tag"] = openprm.load_scorer("openprm/openprm", revision="v1.0")(one)["rewards"][-1]
found["with its own code"] = pipeline("openprm-scoring", model="openprm/openprm", trust_remote_code=True)(one)[
    "rewards"
][-1]
"""


@pytest.mark.parametrize("package", [False, True], ids=["without the package", "with the package"])
def test_every_way_to_load_the_model_gives_the_same_reward(
    stranger: Stranger,
    finished_run: Path,  # noqa: F811
    package: bool,
):
    one = example(finished_run)
    program = REWARDS.format(one=json.dumps(one), ways=WITH_PACKAGE if package else WITHOUT_PACKAGE)
    found = json.loads(stranger.python(program, package=package).splitlines()[-1])
    trained = load_scorer(str(finished_run / "openprm-0"))(one)["rewards"][-1]
    assert len(found) >= 5
    assert found == {way: pytest.approx(trained, abs=1e-3) for way in found}


def test_trl_trains_on_from_it(stranger: Stranger):
    """It takes the checkpoint by name, and a view of the pairs in its own format."""
    program = """
from datasets import Dataset, load_dataset
from trl import RewardConfig, RewardTrainer
from openprm.trees.pairs import to_trl

rows = Dataset.from_list([to_trl(pair) for pair in load_dataset("openprm/pairs", "outcome", split="train")])
arguments = RewardConfig(output_dir="out", max_steps=1, per_device_train_batch_size=2, report_to=[], use_cpu=True)
trainer = RewardTrainer("openprm/openprm", arguments, train_dataset=rows)
print(type(trainer.model).__name__, trainer.train().training_loss > 0)
"""
    assert stranger.python(program).splitlines()[-1] == "LlamaForSequenceClassification True"


def cards(run: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text("utf-8") for path in (run / "hub" / "openprm").glob("*/README.md")}


def blocks(card: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", card, re.S | re.M)


def published(run: Path, name: str) -> dict[str, str]:
    """The hashes of a dataset's splits."""
    parts = json.loads((run / "hub" / "openprm" / name / "manifest.json").read_text("utf-8"))["parts"]
    return {f"{name}-{split}": part["row_hash"] for split, part in parts.items()}


def rebuilt(folder: Path, name: str) -> dict[str, str]:
    """The hashes of what a card's commands made; of candidates but for the rewards that they were given once more."""
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


def test_a_tag_names_what_trees_and_pairs_are_made_of(stranger: Stranger, finished_run: Path):  # noqa: F811
    for name, before in (("trees", "candidates"), ("pairs", "trees")):
        block = blocks(cards(finished_run)[name], "console")[-1]
        stranger.shell(block.replace(f"openprm/{before} ", f"openprm/{before}@v1.0 "))
        assert rebuilt(stranger.folder, name) == published(finished_run, name)
        inputs = read_manifest(stranger.folder / "rebuilt" / f"{name}-test")["inputs"]
        assert inputs[before]["name"] == f"openprm/{before}@v1.0"


@pytest.mark.parametrize("name", ["candidates", "trees", "pairs", "openprm", "policy"])
def test_every_snippet_of_a_card_runs_as_pasted(stranger: Stranger, hub: Hub, finished_run: Path, name: str):  # noqa: F811
    card = cards(finished_run)[name]
    ran = 0
    for block in blocks(card, "python"):
        if "import vllm" not in block and "from vllm" not in block:  # see tests/engines/test_published.py
            stranger.python(block)
            ran += 1
    for block in blocks(card, "console"):
        stranger.shell(block)
        ran += 1
    assert ran
    if name in ("candidates", "trees", "pairs"):
        assert rebuilt(stranger.folder, name) == published(finished_run, name)
    assert set(re.findall(r"^```(\w*)$", card, re.M)) <= {"python", "console", "bibtex", ""}
