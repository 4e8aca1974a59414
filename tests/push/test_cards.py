"""Cards: YAML that the Hub's own library reads, words that agree with the manifest, snippets that are code."""

from __future__ import annotations

import ast
import re
import shlex
from typing import Any

import jinja2
import pytest
import typer.main
import yaml
from huggingface_hub import DatasetCard, ModelCard, SpaceCard, parse_eval_result_entries
from openprm.push.cards import compared, documents, size_category

from openprm.cli import app
from tests.push.publications import EXAMPLE, PAIRS, SCORING, evaluation, publication, stage

DATASETS = ("candidates", "trees", "labels", "pairs")
KINDS = (*DATASETS, "model", "policy", "demo")


def rendered(made: dict[str, Any]) -> str:
    return documents(made)["README.md"]


def results(made: dict[str, Any]) -> str | None:
    return documents(made).get(".eval_results/best_of_n.yaml")


@pytest.fixture(scope="module")
def cards() -> dict[str, str]:
    return {kind: rendered(publication(kind)) for kind in KINDS}


def blocks(card: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```", card, re.MULTILINE | re.DOTALL)


def command(card: str) -> str:
    """The last that a card gives."""
    last = [code for language, code in blocks(card) if language == "console"][-1]
    return re.split(r"^(?=openprm )", last, flags=re.MULTILINE)[-1]


def parsed(line: str) -> dict[str, Any]:
    """What our own command line makes of a line."""
    words = shlex.split(line.replace("\\\n", " "))
    assert words[0] == "openprm"
    group: Any = typer.main.get_command(app)
    return group.commands[words[1]].make_context(words[1], words[2:]).params


@pytest.mark.parametrize("kind", DATASETS)
def test_a_datasets_header(cards: dict[str, str], kind: str) -> None:
    data = DatasetCard(cards[kind]).data.to_dict()
    assert data["license"] == "cc-by-nc-sa-4.0"
    assert data["source_datasets"] == ["derek-thomas/ScienceQA"]  # the model is none
    assert "openprm" in data["tags"]
    assert "language" not in data
    expected = ["default"] if kind != "pairs" else ["all", "process", "outcome"]
    assert [config["config_name"] for config in data["configs"]] == expected
    assert data["size_categories"] == ["10K<n<100K" if kind in ("candidates", "labels") else "1K<n<10K"]


def test_headers_of_a_model_and_a_space(cards: dict[str, str]) -> None:
    data = ModelCard(cards["model"]).data
    assert data.base_model == "somebody/base-7B"
    assert data.to_dict()["base_model_relation"] == "finetune"
    assert data.datasets == ["somebody/pairs"]
    assert (data.pipeline_tag, data.library_name) == ("text-classification", "transformers")
    demo = SpaceCard(cards["demo"]).data
    assert (demo.sdk, demo.sdk_version, demo.app_file) == ("gradio", "6.31.0", "app.py")
    assert (demo.models, demo.license) == (["somebody/prm"], "cc-by-nc-sa-4.0")


def test_results_of_an_evaluation(cards: dict[str, str]) -> None:
    (entry,) = parse_eval_result_entries(yaml.safe_load(results(publication("model")) or ""))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("somebody/candidates", "best_of_16_min", 0.868578)
    assert entry.notes == "95 % interval over prompts: 0.827 to 0.910"
    assert "each of 317 prompts of split `test` of `somebody/candidates`, with" in cards["model"]
    found = re.findall(r"^\| (.+?) \| (\S+) \| (\S+) to (\S+) \| (\S+) \|", cards["model"], re.MULTILINE)
    assert found == [
        (row["method"], *(f"{row[name]:.3f}" for name in ("accuracy", "low", "high")), f"{row['difference']:+.3f}")
        for row in evaluation()["metrics"]
    ]


def test_a_model_that_was_not_measured() -> None:
    made = publication("model")
    del made["evaluation"]
    card = rendered(made)
    assert "## Results" not in card
    assert "statistics.png" not in card
    assert results(made) is None


def test_results_on_candidates_that_are_not_published() -> None:
    made = publication("model")
    made["evaluation"]["dataset"] = None
    card = rendered(made)
    assert "prompts of `candidates-test` (not published), with" in card
    assert results(made) is None


def test_results_over_several_seeds_are_no_result_of_one_model() -> None:
    made = publication("model")
    made["evaluation"]["kinds"]["prm"]["models"] = ["prm", "prm-1", "prm-2"]
    card = rendered(made)
    assert "`prm`: mean over 3 models of this kind, trained with different seeds" in card
    assert results(made) is None


BASE = {"base": {"repository": "somebody/base-7B", "part": "model"}}


def test_inputs_on_the_hub_are_named_by_their_ids() -> None:
    made = publication("model", repositories={"model": {"pairs1": {"repository": "somebody/pairs", "part": "train"}}})
    made["parts"]["model"]["inputs"] = {
        "pairs": {"name": "other/pairs@v1:process", "hash": "a"},
        "pairs1": {"name": "mine", "hash": "b"},
        "base": {"name": "org/start@abc", "hash": "abc"},
    }
    card = rendered(made)
    data = ModelCard(card).data
    assert data.datasets == ["other/pairs", "somebody/pairs"]
    assert data.base_model == "org/start"
    assert "on `other/pairs@v1:process` and split `train` of `somebody/pairs`, levels" in card
    assert parsed(command(card))["pairs"] == ["other/pairs@v1:process", "somebody/pairs"]


@pytest.mark.parametrize("missing", ["pairs", "base", "second pairs", "split"])
def test_what_is_not_published_is_said_and_a_command_is_whole_or_not_there(missing: str) -> None:
    pairs = {"repository": "somebody/pairs", "part": "train"}
    where = {"pairs": {}, "base": {"pairs": pairs}}.get(missing, {"pairs": pairs})
    made = publication("model", repositories={"model": where if missing == "base" else {**where, **BASE}})
    said = {"pairs": "on `pairs` (not published), levels", "base": "Trained from `base` (not published) on split"}
    if missing == "base":
        made["origins"] = [{"name": "base", "kind": "model", "license": "mit"}]
    if missing in ("second pairs", "split"):
        made["parts"]["model"]["inputs"]["pairs1"] = {"name": "more", "hash": "b"}
        if missing == "split":  # a training reads the split `train`
            made["repositories"]["model"]["pairs1"] = {"repository": "somebody/pairs", "part": "test"}
        told = "split `test` of `somebody/pairs`" if missing == "split" else "`more` (not published)"
        said[missing] = f"on split `train` of `somebody/pairs` and {told}, levels"
    card = rendered(made)
    assert said[missing] in card
    assert ("base_model" in ModelCard(card).data.to_dict()) == (missing != "base")
    assert "openprm train" not in card.split("## Use")[0]


def test_pairs_to_evaluate_on() -> None:
    made = publication("model")
    made["parts"]["model"]["inputs"]["eval_pairs"] = {"name": "pairs-test", "hash": "c"}
    card = rendered(made)
    assert "(`eval`: on `pairs-test` (not published))" in card
    assert "openprm train somebody/pairs --base" in card  # they change nothing in the model


@pytest.mark.parametrize(("kind", "role"), [("trees", "candidates"), ("pairs", "trees")])
def test_datasets_made_of_what_is_not_published(kind: str, role: str) -> None:
    made = publication(kind, repositories={})
    for part in made["parts"].values():
        part["inputs"][role]["name"] = "imp.jsonl"
    card = rendered(made)
    assert f" `imp.jsonl` (not published){',' if kind == 'pairs' else ' were split'}" in card
    assert f"somebody/{role}" not in card
    assert f"openprm {kind} " not in card.split("## Use")[0]
    for part in made["parts"].values():
        part["inputs"][role]["name"] = "org/data@v1"
    card = rendered(made)
    assert "`org/data@v1`" in card
    assert "not published" not in card


def test_a_control_made_of_another_split() -> None:
    parts = {"control": stage("pairs", {**PAIRS, "shuffle_rewards": 7}, {"levels": {}}, 1, trees="t")}
    where = {"control": {"trees": {"repository": "somebody/trees", "part": "train"}}}
    card = rendered(publication("pairs", parts=parts, repositories=where))
    assert "- `control`: from split `train` of `somebody/trees`," in card
    assert "**This is a control**" in card
    found = parsed(command(card))
    assert (found["trees"], found["split"], found["shuffle_rewards"]) == ("somebody/trees", "train", 7)


def test_a_preference_dataset_is_named() -> None:
    parts = {"train": stage("pairs", {"columns": {}}, {"levels": {"outcome": 1}}, 1, preferences="org/chosen")}
    card = rendered(publication("pairs", parts=parts))
    assert "- `train`: outcome pairs from a preference dataset, `org/chosen`." in card


def test_a_model_that_was_only_converted() -> None:
    made = publication("model")
    converted = stage("convert", {"architecture": "LlamaForSequenceClassification"}, {"parameters": 99}, 0)
    made["parts"]["model"] = {**converted, "inputs": {"model": {"name": "org/reward@abc", "hash": "abc"}}}
    card = rendered(made)
    data = ModelCard(card).data.to_dict()
    assert data["base_model"] == "org/reward"
    assert not {"base_model_relation", "datasets"} & data.keys()
    assert "By the stage `convert` from `org/reward`, without training." in card
    assert "weak supervision" not in card


def test_sources_are_listed_with_their_licenses(cards: dict[str, str]) -> None:
    for kind in (*DATASETS, "model"):
        assert "| scienceqa | data | `CC-BY-NC-SA-4.0` | `derek-thomas/ScienceQA` at `f18b0a7" in cards[kind]
        assert "| base | model | `llama3.1` | `somebody/base-7B` |" in cards[kind]
        assert "ask for more than naming their authors" in cards[kind]
        assert "Lu et al., 2022" in cards[kind]
    made = publication("trees", license="my-own", origins=[{"name": "mine", "kind": "data", "license": None}])
    assert "| mine | data | not known | not on the Hub |" in rendered(made)
    data = DatasetCard(rendered(made)).data.to_dict()
    assert (data["license"], data["license_name"]) == ("other", "my-own")
    made["origins"][0]["license"] = "MIT"
    assert "ask for more" not in rendered(made)


def test_parameters_and_counts_of_splits_are_compared(cards: dict[str, str]) -> None:
    assert "| parameter | train | test |" in cards["trees"]
    assert "| separator | `.\\n` | `.\\n` |" in cards["trees"]
    assert "| distinct numbers | yes | yes |" in cards["trees"]
    assert "| merged share by depth: 1 | 0.8873 | 0.8873 |" in cards["trees"]
    assert "| levels: process | 7,085 | 1,061 |" in cards["pairs"]
    assert "| `process` | test | 1,061 |" in cards["pairs"]
    found = compared({"a": {"x": 1, "n": None}, "b": {"x": 2, "y": {"z": []}}})
    assert found == {"x": [1, 2]}
    sizes = [size_category(rows) for rows in (0, 999, 1000, 36_800, 10**6)]
    assert sizes == ["n<1K", "n<1K", "1K<n<10K", "10K<n<100K", "1M<n<10M"]


def test_snippets_are_code_and_links_lead_somewhere(cards: dict[str, str]) -> None:
    for card in cards.values():
        assert blocks(card)
        for language, code in blocks(card):
            if language == "python":
                ast.parse(code)
            else:
                assert language in ("console", "bibtex", "json")
        assert "huggingface.co" not in card
        assert set(re.findall(r"\]\(([^)]*)\)", card)) <= {"statistics.png", "trees.html", "#citation"}
        assert "## Citation" in card


def test_the_example_and_the_suffix_are_exact(cards: dict[str, str]) -> None:
    chats = re.findall(r"^ *chat = (.*)$", cards["model"], re.MULTILINE)
    answer = {"role": "assistant", "content": EXAMPLE["response"]}
    assert [ast.literal_eval(chat) for chat in chats] == [
        [{"role": "user", "content": EXAMPLE["question"]}, answer]
    ] * 3
    card = rendered(publication("model", scoring={**SCORING, "suffix": "<r>"}))
    assert card.count('tokenize=False) + "<r>"\n') == 3


def test_what_a_manifest_lacks_is_an_error() -> None:
    made = publication("trees")
    del made["parts"]["test"]["parameters"]["threshold"]
    with pytest.raises((jinja2.UndefinedError, KeyError), match="threshold"):
        rendered(made)


def test_commands_are_taken_by_the_command_line(cards: dict[str, str]) -> None:
    found = parsed(command(cards["trees"]))
    told = (found["candidates"], found["split"], str(found["out"]))
    assert told == ("somebody/candidates", "test", "rebuilt/trees-test")
    assert found["separators"] == ["math=line"]
    assert found["distinct_numbers"]
    found = parsed(command(cards["model"]))
    assert (found["pairs"], found["base"]) == (["somebody/pairs"], "somebody/base-7B")
    assert (found["learning_rate"], found["seed"], found["separator"]) == (2e-06, 3, ".\\n")


def test_a_model_trained_by_a_version_with_other_parameters_has_a_card() -> None:
    made = publication("model")
    made["parts"]["model"]["parameters"]["save_often"] = 500
    assert "openprm train" not in rendered(made).split("## Use")[0]


JUDGE = {"by": "judge", "name": "judge", "reward": {"judge": "x"}}


@pytest.mark.parametrize(
    "made", [stage("import", {}, {}, 1, candidates="x"), stage("reward", {**JUDGE, "trust_remote_code": True}, {}, 1)]
)
def test_no_command_for_what_cannot_be_made_again(made: dict[str, Any]) -> None:
    card = rendered(publication("candidates", parts={"train": made}))
    assert "By hand, with the recorded parameters" not in card


def test_a_model_of_labelled_steps_says_so():
    part = publication("model")["parts"]["model"]
    part["inputs"] = {"labels/mine": {"name": "labels", "hash": "0" * 64}, "base": part["inputs"]["base"]}
    part["parameters"] |= {"point_loss": "squared-error"}
    made_of = {"labels/mine": {"repository": "somebody/labels", "part": "train"}}
    card = documents(publication("model", parts={"model": part}, repositories={"model": made_of}))["README.md"]
    assert "It was trained on labels of steps" in card
    assert "the log-odds of its label (squared-error)" in card
    assert "Bradley-Terry" not in card
    assert "levels" not in card.split("## How it was made")[1].split("\n\n")[1]
