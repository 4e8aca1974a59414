"""The stage that trains: what it writes, and that a killed run ends as an uninterrupted one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, pipeline

from openprm.data.holdout import read_trained_on
from openprm.errors import InputError
from openprm.runs.dataset import finish_dataset
from openprm.runs.folder import read_manifest, write_shard
from openprm.runs.manifest import files_hash, run_stage
from openprm.schema import LEVELS, Pair
from openprm.scoring.pipeline import load_scorer
from openprm.stages.train import Train
from openprm.training.trainer import OpenPRMTrainer
from tests.folders import Killed, contents, dataset, nothing_local
from tests.small_training import pair, pairs, tree_pairs

OPTIONS: dict[str, Any] = {
    "max_steps": 6,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "pairs_together": 3,
    "save_minutes": 0.0,  # after every step
    "trainer_options": {"use_cpu": True},
}


def train_model(
    pairs: Any, base: Path, out: Path, options: dict[str, Any], eval_pairs: Path | None = None, **more: Any
) -> dict[str, Any]:
    named, held = {name: str(path) for name, path in pairs.items()}, str(eval_pairs) if eval_pairs else None
    return Train(pairs=named, base=str(base), eval_pairs=held, **options, **more).run(out)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base: Path) -> tuple[Path, Path, dict[str, Any]]:
    """Pairs, the model trained on them without a pause, and its manifest."""
    folder = tmp_path_factory.mktemp("trained")
    found = dataset(folder / "pairs", Pair, [*tree_pairs(21), pair(31, rejected=" seven" * 300)])
    held = dataset(folder / "held", Pair, pairs(9, start=100))
    manifest = train_model(
        {"pairs": found}, base, folder / "model", {**OPTIONS, "max_length": 200}, eval_pairs=str(held)
    )
    return found, folder / "model", manifest


def test_questions_that_are_trained_on_are_not_held_out(tmp_path: Path, base: Path):
    near = [pair(1), pair(2, question=[{"role": "user", "content": pair(0)["question"][0]["content"].upper() + "?"}])]
    found, held = (dataset(tmp_path / str(i), Pair, some) for i, some in enumerate((pairs(1), near)))
    with pytest.raises(InputError, match=r"1 questions are trained on .*'; hold out"):
        train_model({"pairs": found}, base, tmp_path / "out", OPTIONS, eval_pairs=held)


def test_training_writes_a_plain_checkpoint(trained: tuple[Path, Path, dict[str, Any]]):
    _, folder, _ = trained
    assert sorted(path.name for path in folder.iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "curve.csv",
        "curve.png",
        "left_out.jsonl",
        "log.jsonl",
        "manifest.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "trained_on.txt",
    ]
    assert len(read_trained_on(folder)) == 8
    question, answer = [{"role": "user", "content": "What is two and three?"}], "The sum.\nThe answer is five."
    scorer = load_scorer(str(folder))
    rendered = scorer.tokenizer.apply_chat_template(
        [*question, {"role": "assistant", "content": answer}], tokenize=False
    )
    classify: Any = pipeline("text-classification", model=str(folder))
    plain = classify(rendered, add_special_tokens=False)[0]["score"]
    output = scorer({"question": question, "response": answer})
    assert len(output["step_rewards"]) == 2
    assert plain == pytest.approx(output["step_rewards"][-1], abs=1e-4)
    ids = scorer.tokenizer(rendered, add_special_tokens=False, return_tensors="pt")["input_ids"]
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        assert model(ids).logits.item() == pytest.approx(plain, abs=1e-4)
    assert nothing_local(folder, folder.parent)


def test_the_manifest_tells_what_was_trained_on(trained: tuple[Path, Path, dict[str, Any]]):
    _, folder, manifest = trained
    assert manifest["files_hash"] == files_hash(folder)
    assert manifest["counts"]["levels"] == {"outcome": 7, "process": 15}
    assert manifest["counts"]["pairs"]["train"]["usable"] == 21
    assert manifest["counts"]["pairs"]["train"]["left_out"] == {"overlong": {"open": {"process": 1}}}
    left_out = [json.loads(line) for line in (folder / "left_out.jsonl").read_text().splitlines()]
    assert [(row["split"], row["prompt_id"]) for row in left_out] == [("train", "p31")]
    assert {"loss", "final_loss", "eval_loss", "eval_accuracy", "eval_accuracy_process", "eval_accuracy_outcome"} <= {
        *manifest["metrics"]
    }
    assert not [name for name in manifest["metrics"] if "second" in name or "time" in name]
    assert {name: part["name"] for name, part in manifest["inputs"].items()} == {
        "pairs": "pairs",
        "base": "base",
        "eval_pairs": "held",
    }


def again(trained: tuple[Path, Path, dict[str, Any]], base: Path, out: Path) -> dict[str, Any]:
    found, folder, _ = trained
    options = {**OPTIONS, "max_length": 200}
    return train_model({"pairs": found}, base, out, options, eval_pairs=folder.parent / "held")


def test_killed_training_ends_bit_for_bit_as_an_uninterrupted_one(
    tmp_path: Path, trained: tuple[Path, Path, dict[str, Any]], base: Path, monkeypatch: pytest.MonkeyPatch
):
    step, train = OpenPRMTrainer.training_step, OpenPRMTrainer.train
    taken: list[Any] = []
    resumed: list[str] = []

    def training_step(self: Any, *args: Any) -> Any:
        taken.append(step(self, *args))
        if len(taken) == 6:
            raise Killed
        return taken[-1]

    def record(self: Any, resume_from_checkpoint: Any = None, **options: Any) -> Any:
        resumed.append(Path(resume_from_checkpoint).name)
        return train(self, resume_from_checkpoint=resume_from_checkpoint, **options)

    with monkeypatch.context() as patch:
        patch.setattr(OpenPRMTrainer, "training_step", training_step)
        with pytest.raises(Killed):
            again(trained, base, tmp_path / "model")
    checkpoints = tmp_path / ".model.partial" / ".work" / "checkpoints"
    assert {path.name for path in checkpoints.glob("checkpoint-*")} == {"checkpoint-4", "checkpoint-5"}
    monkeypatch.setattr(OpenPRMTrainer, "train", record)
    manifest = again(trained, base, tmp_path / "model")
    assert resumed == ["checkpoint-5"]
    assert manifest == trained[2]  # the loss too, though part of it was measured before the kill
    assert contents(tmp_path / "model") == contents(trained[1])


def test_training_killed_after_its_last_step_still_ends(
    tmp_path: Path, trained: tuple[Path, Path, dict[str, Any]], base: Path, monkeypatch: pytest.MonkeyPatch
):
    save = OpenPRMTrainer.save_model

    def fail_at_the_end(self: Any, output_dir: str | None = None, **options: Any) -> None:
        if "checkpoint-" not in str(output_dir):
            raise Killed
        save(self, output_dir, **options)

    with monkeypatch.context() as patch:
        patch.setattr(OpenPRMTrainer, "save_model", fail_at_the_end)
        with pytest.raises(Killed):
            again(trained, base, tmp_path / "model")
    assert again(trained, base, tmp_path / "model") == trained[2]
    assert contents(tmp_path / "model") == contents(trained[1])


@pytest.mark.slow
def test_several_processes_train_together(tmp_path: Path, trained: tuple[Path, Path, dict[str, Any]], base: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "import atexit, json, os, sys, torch\n"
        "from pathlib import Path\n"
        "torch.set_num_threads(1)\n"
        "def list_threads():\n"  # the first handler is called last
        "    names = [path.read_text() for path in Path('/proc/self/task').glob('*/comm')]\n"
        "    Path(f'{out}-threads-{os.environ[\"RANK\"]}').write_text(''.join(names))\n"
        "atexit.register(list_threads)\n"
        "from openprm.stages.train import Train\n"
        "pairs, held, base, out, options = sys.argv[1:]\n"
        "for _ in range(2):\n"  # the second is skipped
        "    stage = Train(pairs={'pairs': pairs}, base=base, eval_pairs=held, **eval(options))\n"
        "    found = stage.run(out)\n"
        "    with open(f'{out}-{os.environ[\"RANK\"]}.jsonl', 'a') as file:\n"
        "        file.write(json.dumps(found) + '\\n')\n"
    )
    arguments = [str(path) for path in (trained[0], trained[1].parent / "held", base, tmp_path / "model")]
    options = {**OPTIONS, "max_length": 200, "tokens_per_device": 100}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launch, str(script), *arguments, repr(options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=90, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = read_manifest(tmp_path / "model")
    for rank in range(2):
        lines = (tmp_path / f"model-{rank}.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == [manifest] * 2
        # a process that Python ends while the group's threads are at work is aborted now and then
        assert "gloo" not in (tmp_path / f"model-threads-{rank}").read_text()
    assert {path.name for path in (tmp_path / "model").iterdir()} == {path.name for path in trained[1].iterdir()}
    assert manifest["metrics"] == pytest.approx(trained[2]["metrics"], abs=1e-4)
    together, alone = (load_file(folder / "model.safetensors") for folder in (tmp_path / "model", trained[1]))
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, rtol=0, atol=1e-4)


def test_levels_choose_the_pairs(tmp_path: Path, trained: tuple[Path, Path, dict[str, Any]], base: Path):
    options = {**OPTIONS, "max_steps": 1}
    manifest = train_model({"pairs": trained[0]}, base, tmp_path / "orm", options, levels=["outcome"], holdout=0)
    # nothing teaches it what the steps before the last are worth
    assert json.loads((tmp_path / "orm" / "config.json").read_text())["openprm"]["aggregation"] == "last"
    assert json.loads((trained[1] / "config.json").read_text())["openprm"]["aggregation"] == "min"
    assert manifest["counts"]["levels"] == {"outcome": 7}
    only = dataset(tmp_path / "outcome", Pair, [row for row in pairs(9) if row["level"] == "outcome"])
    with pytest.raises(InputError, match=r"no pairs of level process in .*outcome"):
        train_model({"pairs": only}, base, tmp_path / "none", options, levels=["process"])
    with pytest.raises(InputError, match="there is no level 'mixd'; did you mean 'mixed'"):
        train_model({"pairs": only}, base, tmp_path / "none", options, levels=["outcome", "mixd"])
    assert not (tmp_path / "none").exists()


def test_several_folders_are_trained_on_together_and_a_run_on_the_plateau_says_so(
    tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture
):
    folders = {str(start): dataset(tmp_path / str(start), Pair, pairs(3, start)) for start in (0, 50)}
    options = {**OPTIONS, "max_steps": 1, "learning_rate": 1e-9}
    manifest = train_model(folders, base, tmp_path / "model", options, separator="line", holdout=0)
    assert manifest["counts"]["pairs"]["train"]["usable"] == 6
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["openprm"]["separator"] == "line"
    assert manifest["plateau"]
    assert "the model has learned little or nothing" in caplog.text


def test_the_separator_is_that_of_the_trees_behind_the_pairs(tmp_path: Path, base: Path):
    folders = {
        name: run_on(tmp_path / name, {"separators": separators})
        for name, separators in {"a": ["line"], "b": ["line"], "mixed": ["line", "sentence"], "none": []}.items()
    }

    def recorded(names: list[str], **options: Any) -> str:
        out = tmp_path / "-".join([*names, *options])
        train_model({name: folders[name] for name in names}, base, out, {**OPTIONS, "max_steps": 1}, **options)
        return json.loads((out / "config.json").read_text())["openprm"]["separator"]

    assert recorded(["a", "b", "none"]) == "line"
    assert recorded(["a"], separator="sentence") == "sentence"
    assert recorded(["a", "mixed"]) == ".\n"


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("separator", "lines", "did you mean line"),
        ("aggregation", "average", "unknown aggregation 'average'"),
        ("aggregation", "prod", "'prod' multiplies probabilities"),
    ],
)
def test_what_cannot_be_recorded_is_said_before_anything_is_loaded(option: str, value: str, problem: str):
    with pytest.raises(ValueError, match=problem):
        Train(pairs={"pairs": "none"}, base="none", **{option: value})


def run_on(out: Path, counts: dict[str, Any]) -> Path:
    def work(folder: Path) -> dict[str, Any]:
        return finish_dataset(folder, Pair, "pairs", write_shard(folder, 0, pairs(8), Pair), counts)

    run_stage(out, "pairs", {}, {}, work)
    return out


def test_a_tenth_of_the_prompts_is_held_out_where_no_pairs_are(tmp_path: Path, base: Path):
    rows = [
        pair(index, question=[{"role": "user", "content": f"What is {index // 2}?"}], level=LEVELS[index % 2])
        for index in range(40)
    ]
    found = dataset(tmp_path / "pairs", Pair, rows)
    counts = {}
    for levels in (["process"], [*LEVELS]):
        manifest = train_model(
            {"pairs": found}, base, tmp_path / levels[-1], {**OPTIONS, "max_steps": 1}, levels=levels
        )
        counts[levels[-1]] = manifest["counts"]["pairs"]
        assert "eval_accuracy_process" in manifest["metrics"]
    assert counts["process"]["train"]["usable"] == 18  # of 20 questions 2 are held out, with both of their pairs
    assert (counts["outcome"]["train"]["usable"], counts["outcome"]["eval"]["usable"]) == (36, 4)
    assert counts["process"]["eval"] == counts["outcome"]["eval"]


def test_bfloat16_needs_no_further_option_where_there_is_no_gpu(tmp_path: Path, base: Path):
    found = dataset(tmp_path / "pairs", Pair, pairs(8))
    options = {name: value for name, value in OPTIONS.items() if name != "use_cpu"}
    assert train_model({"pairs": found}, base, tmp_path / "model", options, bf16=True)["metrics"]["loss"] > 0
