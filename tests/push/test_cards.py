"""Cards: YAML that the Hub's own library reads, words that no manifest contradicts, snippets that are code."""

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
from openprm.push.card_check import check_card
from openprm.push.cards import dataset_card, demo_card, eval_results, metric_card, model_card, policy_card
from openprm.push.inputs import Input
from openprm.push.rerun_command import dataset_command, escape, training_command
from openprm.push.tables import compared, size_category

from openprm.cli import app
from tests.push.publications import CONFIG, EXAMPLE, PAIRS, TRAINING, TREES, configs, evaluation, publication, stage

DATASETS = ("candidates", "trees", "pairs")


def every_card() -> dict[str, str]:
    return {
        **{kind: dataset_card(f"somebody/{kind}", publication(kind), configs(kind)) for kind in DATASETS},
        "model": model_card("somebody/prm", publication("model"), EXAMPLE, CONFIG),
        "policy": policy_card("somebody/base", publication("policy")),
        "metric": metric_card("somebody/best_of_n", "best_of_n", publication("metric", origins=[])),
        "demo": demo_card("somebody/demo", publication("demo", origins=[]), "somebody/prm", "6.31.0"),
    }


@pytest.fixture(scope="module")
def cards() -> dict[str, str]:
    return every_card()


def blocks(card: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```", card, re.MULTILINE | re.DOTALL)


def body(card: str) -> str:
    return card.split("---\n", 2)[2]


@pytest.mark.parametrize("kind", DATASETS)
def test_a_datasets_header(cards: dict[str, str], kind: str) -> None:
    data = DatasetCard(cards[kind]).data.to_dict()
    assert data["license"] == "cc-by-nc-sa-4.0"
    assert data["source_datasets"] == ["derek-thomas/ScienceQA"]  # the model is none
    assert "openprm" in data["tags"]
    assert "language" not in data
    expected = ["default"] if kind != "pairs" else ["all", "process", "outcome"]
    assert [config["config_name"] for config in data["configs"]] == expected
    assert (
        data["size_categories"] == {"candidates": ["10K<n<100K"], "trees": ["1K<n<10K"], "pairs": ["1K<n<10K"]}[kind]
    )


def test_a_models_header(cards: dict[str, str]) -> None:
    data = ModelCard(cards["model"]).data
    assert data.base_model == "somebody/base-7B"
    assert data.to_dict()["base_model_relation"] == "finetune"
    assert data.datasets == ["somebody/pairs"]
    assert (data.pipeline_tag, data.library_name) == ("text-classification", "transformers")
    (result,) = data.eval_results
    assert (result.dataset_type, result.dataset_split) == ("somebody/candidates", "test")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.868578)
    assert result.metric_name == "best of 16 by min; 95 % interval over prompts: 0.827 to 0.910"


def test_a_model_that_nobody_measured() -> None:
    unmeasured = publication("model")
    del unmeasured["evaluation"]
    card = model_card("somebody/prm", unmeasured, EXAMPLE, CONFIG)
    data = ModelCard(card).data.to_dict()
    assert "model-index" not in data
    assert "model_name" not in data
    assert "## Results" not in card
    assert "statistics.png" not in card
    assert eval_results(unmeasured) is None


BASE = {"base": {"name": "somebody/base-7B", "part": "model"}}


def test_inputs_on_the_hub_are_named_by_their_ids() -> None:
    made = publication("model", repositories={"model": {"pairs1": {"name": "somebody/pairs", "part": "train"}}})
    made["parts"]["model"]["inputs"] = {
        "pairs": {"name": "other/pairs@v1:process", "hash": "a"},
        "pairs1": {"name": "mine", "hash": "b"},
        "base": {"name": "org/start@abc", "hash": "abc"},
    }
    card = model_card("somebody/prm", made, EXAMPLE, CONFIG)
    data = ModelCard(card).data
    assert data.datasets == ["other/pairs", "somebody/pairs"]
    assert data.base_model == "org/start"
    assert "on `other/pairs@v1:process` and split `train` of `somebody/pairs`, levels" in card
    assert parsed(command(card))["pairs"] == ["other/pairs@v1:process", "somebody/pairs"]


def test_pairs_that_are_not_published() -> None:
    made = publication("model", repositories={"model": BASE})  # a control's pairs, for instance
    card = model_card("somebody/prm", made, EXAMPLE, CONFIG)
    assert "datasets" not in ModelCard(card).data.to_dict()
    assert "on `pairs` (not published), levels" in card
    assert "openprm train" not in card.split("## Use")[0]
    assert "train_model" not in card


@pytest.mark.parametrize("second", [None, "test"])
def test_all_pairs_are_told_and_a_command_is_whole_or_not_there(second: str | None) -> None:
    """One of two is not published, or only as another split than the one that a training reads."""
    made = publication("model")
    made["parts"]["model"]["inputs"]["pairs1"] = {"name": "more", "hash": "b"}
    if second:
        made["repositories"]["model"]["pairs1"] = {"name": "somebody/pairs", "part": second}
    card = model_card("somebody/prm", made, EXAMPLE, CONFIG)
    told = f"split `{second}` of `somebody/pairs`" if second else "`more` (not published)"
    assert f"on split `train` of `somebody/pairs` and {told}, levels" in card
    assert ModelCard(card).data.datasets == ["somebody/pairs"]
    assert "openprm train" not in card.split("## Use")[0]
    made["parts"]["model"]["parameters"]["options"] = {"max_steps": 150}
    assert "train_model" not in model_card("somebody/prm", made, EXAMPLE, CONFIG)


def test_a_base_that_is_nowhere() -> None:
    pairs = {"pairs": {"name": "somebody/pairs", "part": "train"}}
    origins = [{"name": "base", "kind": "model", "license": "mit"}]
    made = publication("model", origins=origins, repositories={"model": pairs})
    card = model_card("somebody/prm", made, EXAMPLE, CONFIG)
    assert "base_model" not in ModelCard(card).data.to_dict()
    assert "Trained from `base` (not published) on split `train` of `somebody/pairs`" in card
    assert "train_model" not in card
    assert "openprm train" not in card.split("## Use")[0]


def test_pairs_to_evaluate_on_are_not_called_held_out() -> None:
    made = publication("model")
    assert "`eval`" not in model_card("somebody/prm", made, EXAMPLE, CONFIG)
    made["parts"]["model"]["inputs"]["eval_pairs"] = {"name": "pairs-test", "hash": "c"}
    card = model_card("somebody/prm", made, EXAMPLE, CONFIG)
    assert "(`eval`: on `pairs-test` (not published))" in card
    assert "held-out" not in card
    assert "openprm train somebody/pairs --base" in card  # they change nothing in the model


@pytest.mark.parametrize("split", ["train", "test"])
def test_results_are_of_the_split_that_was_measured(split: str) -> None:
    made = publication("model")
    made["evaluation"]["dataset"] = {"name": "somebody/candidates", "part": split}
    card = model_card("somebody/prm", made, EXAMPLE, CONFIG)
    assert f"each of 317 prompts of split `{split}` of `somebody/candidates`, with" in card
    assert ModelCard(card).data.eval_results[0].dataset_split == split


def test_results_on_candidates_that_are_not_published() -> None:
    made = publication("model")
    made["evaluation"]["dataset"] = None
    card = model_card("somebody/prm", made, EXAMPLE, CONFIG)
    assert "prompts of `candidates-test` (not published), with" in card
    assert "measures its published results again" not in card
    assert "model-index" not in ModelCard(card).data.to_dict()
    assert "somebody/candidates" not in card
    assert eval_results(made) is None
    assert check_card(card, made) == []


@pytest.mark.parametrize(("kind", "role"), [("trees", "candidates"), ("pairs", "trees")])
def test_datasets_made_of_what_is_not_published(kind: str, role: str) -> None:
    made = publication(kind, repositories={})
    for part in made["parts"].values():
        part["inputs"][role]["name"] = "imp.jsonl"
    card = dataset_card(f"somebody/{kind}", made, configs(kind))
    assert f" `imp.jsonl` (not published){',' if kind == 'pairs' else ' were split'}" in card
    assert f"somebody/{role}" not in card
    assert f"openprm {kind} " not in card.split("## Use")[0]
    assert check_card(card, made) == []
    for part in made["parts"].values():
        part["inputs"][role]["name"] = "org/data@v1"
    card = dataset_card(f"somebody/{kind}", made, configs(kind))
    assert "`org/data@v1`" in card
    assert "not published" not in card


def test_a_split_made_of_another_split() -> None:
    parts = {"control": stage("pairs", {**PAIRS, "shuffle_rewards": 7}, {"levels": {"process": 1}}, 1, trees="t")}
    where = {"control": {"trees": {"name": "somebody/trees", "part": "train"}}}
    made = publication("pairs", parts=parts, repositories=where)
    card = dataset_card("somebody/pairs", made, configs("pairs"))
    assert "- `control`: from split `train` of `somebody/trees`," in card
    found = parsed(command(card))
    assert (found["folder"], found["split"], found["shuffle_rewards"]) == ("somebody/trees", "train", 7)


def test_a_preference_dataset_is_named() -> None:
    parts = {"train": stage("pairs", {"columns": {}}, {"levels": {"outcome": 1}}, 1, preferences="org/chosen")}
    card = dataset_card("somebody/pairs", publication("pairs", parts=parts), configs("pairs"))
    assert "- `train`: outcome pairs from a preference dataset, `org/chosen`." in card


def command(card: str) -> str:
    """The last that a card gives."""
    return [code for language, code in blocks(card) if language == "console"][-1]


def test_a_model_that_was_only_converted() -> None:
    made = publication("model")
    converted = stage("conversion", {"architecture": "LlamaForSequenceClassification"}, {"parameters": 99}, 0)
    made["parts"]["model"] = {**converted, "inputs": {"model": {"name": "org/reward@abc", "hash": "abc"}}}
    card = model_card("somebody/prm", made, EXAMPLE, CONFIG)
    data = ModelCard(card).data.to_dict()
    assert data["base_model"] == "org/reward"
    assert not {"base_model_relation", "datasets"} & data.keys()
    assert "By the stage `conversion` from `org/reward`, without training." in card
    assert "weak supervision" not in card
    assert "train_model" not in card


def test_a_license_of_ones_own_has_a_name() -> None:
    made = publication("trees", license="my-own")
    data = DatasetCard(dataset_card("somebody/trees", made, configs("trees"))).data.to_dict()
    assert (data["license"], data["license_name"]) == ("other", "my-own")


def test_a_spaces_header(cards: dict[str, str]) -> None:
    demo = SpaceCard(cards["demo"]).data
    assert (demo.sdk, demo.sdk_version, demo.app_file) == ("gradio", "6.31.0", "app.py")
    assert (demo.models, demo.license) == (["somebody/prm"], "cc-by-nc-sa-4.0")
    metric = SpaceCard(cards["metric"]).data
    assert metric.title == "best_of_n"
    assert "evaluate" in metric.tags


def test_eval_results() -> None:
    text = eval_results(publication("model"))
    assert text is not None
    (entry,) = parse_eval_result_entries(yaml.safe_load(text))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("somebody/candidates", "best_of_16_min", 0.868578)
    assert entry.notes == "95 % interval over prompts: 0.827 to 0.910"


def test_what_the_sources_ask_is_said(cards: dict[str, str]) -> None:
    for kind in (*DATASETS, "model"):
        assert "For non-commercial use only, because of scienceqa (cc-by-nc-sa-4.0)." in cards[kind]
        assert "**Built with Llama**" in cards[kind]
        assert "Lu et al., 2022" in cards[kind]
        assert "| scienceqa | data | `CC-BY-NC-SA-4.0` | `derek-thomas/ScienceQA` at `f18b0a7" in cards[kind]


def test_parameters_and_counts_stand_side_by_side(cards: dict[str, str]) -> None:
    assert "| parameter | train | test |" in cards["trees"]
    assert "| separator | `.\\n` | `.\\n` |" in cards["trees"]
    assert "| distinct numbers | yes | yes |" in cards["trees"]
    assert "| merged share by depth: 1 | 0.8873 | 0.8873 |" in cards["trees"]
    assert "columns: question" not in cards["trees"]
    assert "| levels: process | 7,085 | 1,061 |" in cards["pairs"]
    assert "| `process` | test | 1,061 |" in cards["pairs"]


def test_results_are_the_evaluations(cards: dict[str, str]) -> None:
    found = re.findall(r"^\| (.+?) \| (\S+) \| (\S+) to (\S+) \| (\S+) \|", cards["model"], re.MULTILINE)
    assert found == [
        (row["method"], *(f"{row[name]:.3f}" for name in ("accuracy", "low", "high")), f"{row['difference']:+.3f}")
        for row in evaluation()["metrics"]
    ]


def test_a_control_says_so() -> None:
    parameters = {**PAIRS, "shuffle_rewards": 7}
    parts = {"train": stage("pairs", parameters, {"levels": {"process": 1}}, 1, trees="t")}
    card = dataset_card("somebody/pairs", publication("pairs", parts=parts), configs("pairs"))
    assert "**This is a control**" in card


def test_snippets_are_code(cards: dict[str, str]) -> None:
    for card in cards.values():
        found = blocks(card)
        assert found
        for language, code in found:
            if language == "python":
                ast.parse(code)
            else:
                assert language in ("console", "bibtex")


def test_the_example_is_told_exactly(cards: dict[str, str]) -> None:
    for code in (code for language, code in blocks(cards["model"]) if language == "python" and "chat = " in code):
        chat = next(
            node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assign) and _name(node) == "chat"
        )
        assert ast.literal_eval(chat.value) == [
            {"role": "user", "content": EXAMPLE["question"]},
            {"role": "assistant", "content": EXAMPLE["response"]},
        ]


def _name(node: ast.Assign) -> str:
    return node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""


def test_a_suffix_is_part_of_what_is_scored() -> None:
    config = {"openprm": {**CONFIG["openprm"], "suffix": "<r>"}}
    card = model_card("somebody/prm", publication("model"), EXAMPLE, config)
    assert card.count('tokenize=False) + "<r>"\n') == 3


def test_no_host_and_no_broken_link(cards: dict[str, str]) -> None:
    files = {"statistics.png", "trees.html", "#citation"}
    for card in cards.values():
        assert "huggingface.co" not in card
        assert set(re.findall(r"\]\(([^)]*)\)", card)) <= files
        assert "## Citation" in card


def test_what_a_manifest_lacks_is_an_error() -> None:
    made = publication("trees")
    del made["parts"]["test"]["parameters"]["threshold"]
    with pytest.raises((jinja2.UndefinedError, KeyError), match="threshold"):
        dataset_card("somebody/trees", made, configs("trees"))


def test_compared() -> None:
    found = compared({"a": {"x": 1, "columns": {"question": "question"}, "n": None}, "b": {"x": 2, "y": {"z_z": []}}})
    assert found == {"x": [1, 2]}


def test_categories_of_size() -> None:
    assert [size_category(rows) for rows in (0, 999, 1000, 9_999, 36_800, 10**6)] == [
        *("n<1K", "n<1K", "1K<n<10K", "1K<n<10K"),
        *("10K<n<100K", "1M<n<10M"),
    ]


def parsed(line: str) -> dict[str, Any]:
    """What our own command line makes of a line."""
    words = shlex.split(line.replace("\\\n", " "))
    assert words[0] == "openprm"
    group: Any = typer.main.get_command(app)
    return group.commands[words[1]].make_context(words[1], words[2:]).params


CANDIDATES = Input("c", "somebody/candidates", "test")


def test_commands_are_taken_by_the_command_line() -> None:
    trees = parsed(dataset_command("trees", "test", stage("trees", TREES, {}, 1), CANDIDATES) or "")
    assert (trees["file"], trees["split"]) == ("somebody/candidates", "test")
    assert trees["separator"] == [".\\n", "math=line"]
    assert (trees["threshold"], trees["distinct_numbers"]) == (0.88, True)


def test_other_kinds_of_commands() -> None:
    trees = Input("t", "somebody/trees", "train")
    pairs = dataset_command("pairs", "train", stage("pairs", {**PAIRS, "process": False}, {}, 1), trees)
    assert pairs is not None
    found = parsed(pairs)
    assert (found["min_gap"], found["select"], found["process"]) == ("0.5sd", "all", False)
    assert dataset_command("pairs", "train", stage("pairs", PAIRS, {}, 1), Input("t")) is None
    model = {"kind": "model", "model": "org/orm@abc", "revision": "abc", "engine": "vllm", "dtype": "float32"}
    reward = {**model, "trust_remote_code": False, "engine_options": {}}
    rewarded = stage("rewards", {"name": "orm", "reward": reward}, {}, 1)
    line = dataset_command("candidates", "train", rewarded, CANDIDATES)
    assert line is not None
    assert [parsed(line)[name] for name in ("by", "model", "revision")] == ["model", "org/orm", "abc"]
    judge = stage("rewards", {"name": "judge", "reward": {"judge": "x"}}, {}, 1)
    assert dataset_command("candidates", "train", judge, CANDIDATES) is None
    imported = stage("candidates", {}, {}, 1)
    assert dataset_command("candidates", "train", imported, CANDIDATES) is None
    preferences = stage("pairs", {"columns": {}, "split": None}, {}, 1)
    assert dataset_command("pairs", "train", preferences, trees) is None


def test_training_is_repeated_by_command_or_from_python() -> None:
    line = training_command("prm", ["somebody/pairs"], "somebody/base-7B", TRAINING)
    assert line is not None
    params = parsed(line)
    assert (params["pairs"], params["base"]) == (["somebody/pairs"], "somebody/base-7B")
    assert (params["learning_rate"], params["epochs"], params["seed"]) == (2e-06, 1.0, 3)
    assert params["separator"] == ".\\n"
    special = {**TRAINING, "options": {"max_steps": 150}}
    assert training_command("prm", ["somebody/pairs"], "somebody/base-7B", special) is None
    made = publication("model")
    made["parts"]["model"]["parameters"] = special
    card = model_card("somebody/prm", made, EXAMPLE, CONFIG)
    (code,) = [code for _, code in blocks(card) if "train_model" in code]
    call = ast.parse(code).body[-1].value  # type: ignore[attr-defined]
    assert [ast.literal_eval(argument) for argument in call.args] == [
        {"pairs": "somebody/pairs"},
        "somebody/base-7B",
        "rebuilt/prm",
        {"max_steps": 150},
    ]
    keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert keywords == {"levels": ["process", "outcome"], "separator": ".\n", "aggregation": None}


def test_separators_on_a_command_line() -> None:
    from openprm.cli.options import unescape

    for separator in (".\n", "\t", "sentence", r"re:\n+"):
        assert unescape(escape(separator)) == separator


def test_long_lines_stay_one_command() -> None:
    line = dataset_command("trees", "train", stage("trees", TREES, {}, 1), CANDIDATES)
    assert line is not None
    assert max(map(len, line.splitlines())) < 120
    assert shlex.split(line.replace("\\\n", " "))[-2:] == ["--out", "rebuilt/trees-train"]
