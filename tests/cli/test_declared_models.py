"""Declared readouts through the command line: what works, and what each mistake says in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_models
from tests.answers import write_jsonl
from tests.engines.readouts import APART, QUESTION, saved

PAIR = {"prompt": QUESTION, "chosen": "".join(APART), "rejected": "Add 2, 2.\nIt is 4."}
BENCHMARK = "title: Mine\nkind: pairs\ncolumns: {question: prompt, chosen: chosen, rejected: rejected}"
MARKER = "kind: marker, text: <m>"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of models that are read in other ways than at ends, and a benchmark."""
    root = tmp_path_factory.mktemp("models")
    saved(root / "lm")
    saved(root / "other", seed=1)
    saved(root / "prm", "AutoModelForTokenClassification", num_labels=2)
    saved(root / "two", "AutoModelForSequenceClassification", num_labels=2)
    saved(root / "base", "AutoModel")
    tiny_models.saved(root / "foreign", tiny_models.model(kind="AutoModelForCausalLM"), tiny_models.tokenizer())
    write_jsonl(root / "pairs.jsonl", [PAIR, {**PAIR, "prompt": "What is 2 + 3?"}])
    (root / "mine.yaml").write_text(BENCHMARK, "utf-8")
    return root


@pytest.fixture
def here(models: Path, tmp_path: Path) -> Path:
    """The folder that commands run in, with all of it."""
    for path in models.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def declare(here: Path, text: str, name: str = "m.yaml") -> None:
    (here / name).write_text(text, "utf-8")


EVALUATE = ("--on", "mine.yaml=pairs.jsonl", "-o", "x")


def test_models_are_compared_whatever_their_readout(here: Path, run: Callable[..., Any]):
    declare(here, f"model: prm\nreadout: {{{MARKER}, head: classes, positive: 1}}", "prm.yaml")
    declare(here, "model: lm\nreadout: {kind: ratio, beta: 0.1, reference: other}", "ratio.yaml")
    code, _, err = run("evaluate", "prm=prm.yaml", "ratio=ratio.yaml", *EVALUATE)
    assert code == 0, err
    results = json.loads(Path("x/results.json").read_text("utf-8"))
    units = {name: one["unit"] for name, one in results["models"].items()}
    assert units == {"prm": "log-odds", "ratio": "log-ratio"}
    manifest = json.loads(Path("x/manifest.json").read_text("utf-8"))
    assert manifest["parameters"]["named_models"]["ratio"].keys() == {"model", "reference"}
    assert run("evaluate", "prm=prm.yaml", "ratio=ratio.yaml", *EVALUATE)[0] == 0  # finished


def test_another_reference_is_another_evaluation(here: Path, run: Callable[..., Any]):
    for name in ("other", "lm"):
        (here / "reference").unlink(missing_ok=True)
        (here / "reference").symlink_to(here / name)
        declare(here, "model: lm\nreadout: {kind: ratio, beta: 0.1, reference: reference}")
        code, _, err = run("evaluate", "m.yaml", *EVALUATE)
    assert code == 1
    assert "x was made with named_models" in err
    assert "choose another --out, or replace it by --force" in err


def test_responses_are_scored_by_a_declared_model(here: Path, run: Callable[..., Any]):
    declare(here, "model: lm\nreadout: {kind: likelihood}\nseparator: line")
    write_jsonl(here / "a.jsonl", [{"question": QUESTION, "response": "".join(APART)}])
    code, _, err = run("score", "a.jsonl", "--model", "m.yaml", "-o", "x")
    assert code == 0, err


REFUSED = {
    "two labels": (
        "model: two",
        "is a classifier with 2 labels, and a reward model has one; give a reward model, or",
    ),
    "no head": ("model: base", "has no sequence-classification head"),
    "kind": (f"model: prm\nreadout: {{{MARKER.replace('marker', 'marked')}}}", "'marked'; did you mean 'marker'?"),
    "key": (f"model: prm\nreadout: {{{MARKER}, heads: classes}}", "no key 'heads'; did you mean 'head'?"),
    "marker of two tokens": (
        "model: prm\nreadout: {kind: marker, text: '<m><m>', head: classes, positive: 1}",
        "the marker of the readout, '<m><m>', has to be one token of the model's tokenizer, and is <m>, <m>",
    ),
    "verdict of two tokens": (
        "model: lm\nreadout: {kind: question, prompt: '{question} {response}', positive: ' Yes'}",
        "`positive` of the readout, ' Yes', has to be one token of the model's tokenizer, and is Ġ, Yes; 'Yes' is one",
    ),
    "vocabulary": (
        "model: lm\nreadout: {kind: ratio, beta: 0.1, reference: foreign}",
        "the reference model foreign has another vocabulary than lm",
    ),
    "reference": (
        "model: lm\nreadout: {kind: ratio, beta: 0.1, reference: nowhere}",
        "nowhere: there is no such file or folder",
    ),
    "value head": (
        f"model: lm\nreadout: {{{MARKER}, head: value, weights: v_head, file: v_head.safetensors}}",
        "should lie in v_head.safetensors, and there is no such file",
    ),
    "weights": (f"model: lm\nreadout: {{{MARKER}, head: classes, positive: 1}}", "no tensor's name begins so"),
    "outputs": (f"model: prm\nreadout: {{{MARKER}, head: value}}", "has 2 outputs; a value head has one"),
    "class": (f"model: prm\nreadout: {{{MARKER}, head: classes, positive: 2, negative: 0}}", "has 2 outputs"),
    "language head": ("model: base\nreadout: {kind: likelihood}", "lacks weights (lm_head.weight)"),
    "aggregation": ("model: lm\nreadout: {kind: likelihood}\naggregation: minn", "unknown aggregation 'minn'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_each_mistake_is_said_in_one_line(here: Path, run: Callable[..., Any], case: str):
    declared, said = REFUSED[case]
    declare(here, declared)
    code, _, err = run("evaluate", "m.yaml", *EVALUATE)
    last = [line for line in err.splitlines() if line][-1]
    assert (code, last.startswith("openprm: "), "Traceback" in err) == (1, True, False), err
    assert said in last


@pytest.mark.parametrize(
    "command",
    ["search lm a.jsonl --prm m.yaml -o x", "reward a.jsonl --by model --model m.yaml -o x"],
)
def test_what_reads_ends_only_refuses_other_readouts(here: Path, run: Callable[..., Any], command: str):
    declare(here, "model: lm\nreadout: {kind: likelihood}")
    write_jsonl(here / "a.jsonl", [{"question": QUESTION, "response": "".join(APART)}])
    code, _, err = run(*command.split())
    said = "openprm: m.yaml declares how it is read, which `openprm evaluate` and `openprm score` know"
    assert (code, err.splitlines()[-1].startswith(said)) == (1, True), err


def test_a_checkpoint_that_records_its_readout_needs_no_file(here: Path, run: Callable[..., Any]):
    folder = here / "recorded"
    shutil.copytree(here / "prm", folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["openprm"] = {"readout": {"kind": "marker", "text": "<m>", "head": "classes", "positive": 1}}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    code, _, err = run("evaluate", "recorded", *EVALUATE)
    assert code == 0, err
    assert json.loads(Path("x/results.json").read_text("utf-8"))["models"]["recorded"]["unit"] == "log-odds"
