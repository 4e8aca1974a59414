"""All probes on a real model, by the stage."""

import json

import pytest

from openprm.evaluation.probes import PROBES
from openprm.stages.evaluate import Evaluate
from tests import tiny_models
from tests.evaluation.probes.measuring import item, seen

WORDS = "the sum of two and three is five so answer seven first add numbers then divide by".split()
PROBED = ("length", "prefixes", "distribution", "attacks", "mathematics")


def answer(n: int) -> str:
    said = " ".join(WORDS[n * k % len(WORDS)] for k in range(1, 4 + n % 9))
    return f"{said.capitalize()}. So {n} + 2 = {n + 2}. Then {said}."


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    model = tiny_models.model(vocab_size=400, max_position_embeddings=2048)
    tiny_models.saved(folder / "model", model, tiny_models.tokenizer())
    rows = [{"prompt": f"What is {n} + 2?", "chosen": answer(n), "rejected": answer(n + 31)} for n in range(30)]
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "mine.yaml").write_text("{kind: pairs, title: Mine}")
    on = {str(folder / "mine.yaml"): str(folder / "mine.jsonl")}
    Evaluate(models={"tiny": str(folder / "model")}, on=on, probes=list(PROBED)).run(str(folder / "out"))
    text = (folder / "out" / "results.json").read_text()
    (found,) = json.loads(text, parse_constant=pytest.fail)["benchmarks"].values()
    return found


def number(results, model, part, metric, subset=""):
    (row,) = [
        row
        for row in results["metrics"]
        if (row["model"], row["part"], row["metric"], row["subset"]) == (model, part, metric, subset)
    ]
    return row["value"], row["items"]


def test_at_all_of_the_answer_the_accuracy_is_the_benchmarks_own_by_the_last_reward(results):
    (last,) = [
        row["value"] for row in results["aggregations"] if (row["model"], row["aggregation"]) == ("tiny", "last")
    ]
    assert number(results, "tiny", "prefixes", "accuracy at 100 %") == (last, 30)
    assert 0 < last < 1


def test_an_empty_answer_is_not_rewarded_and_other_texts_are(results):
    assert number(results, "tiny", "attacks", "not rewarded", "empty answer") == (1.0, 30)
    assert number(results, "tiny", "attacks", "not rewarded", "colon") == (0.0, 30)
    assert number(results, "tiny", "attacks", "not rewarded", "control tokens") == (0.0, 30)


def test_every_probe_says_something_of_model_and_baselines(results):
    assert PROBES.keys() >= set(PROBED)
    for model in ("tiny", "random score", "length"):
        assert {row["part"] for row in results["metrics"] if row["model"] == model} == {"", *PROBED}
    assert number(results, "length", "length", "correlation") == (pytest.approx(1), 30)
    assert number(results, "tiny", "mathematics", "accuracy of only mathematics")[1] == 30


@pytest.mark.parametrize("probe", PROBED)
def test_of_single_answers_nothing_is_said(probe):
    """Such as the steps of PRM800K and ProcessBench."""
    views = seen(probe, [item("First. So 2 + 2 = 4.", labels=[1, 0])], len)
    assert not PROBES[probe].statistics(views)
    assert not PROBES[probe].readings(views)
