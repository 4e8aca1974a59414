"""The pipeline: its inputs, outputs, defaults, and the copy of its code that travels with a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers.pipelines.pt_utils import KeyDataset

import openprm
from openprm import scoring
from openprm.schema import Scored
from openprm.scoring.aggregation import log_sigmoid
from openprm.scoring.encoding import encode
from openprm.scoring.pipeline import OpenPRMScoringPipeline, load_scorer
from tests import tiny_models

QUESTION = "What is the sum of two and three?"
RESPONSE = "The sum of two and three is five.\nSo the answer is five.\nDone"
STEPS = ["The sum of two and three is five.\n", "So the answer is five.\n", "Done"]
INPUT = {"question": QUESTION, "response": RESPONSE}
INPUTS = [
    INPUT,
    {"question": "Hi", "response": "Hello"},
    {"question": QUESTION, "response": "Five.\nOr six.\n"},
    {"question": [{"role": "system", "content": "Add"}, {"role": "user", "content": "2 + 3"}], "steps": ["5", "!"]},
    {"question": QUESTION, "response": "First, add the numbers.\nThen, divide by two.\n" * 5},
]


def scorer(name: str = "llama", config: dict | None = None, **options) -> OpenPRMScoringPipeline:
    tok = options.pop("tokenizer", None) or tiny_models.tokenizer()
    model = tiny_models.model(name, vocab_size=len(tok), openprm=config)
    return load_scorer(model, tokenizer=tok, device="cpu", **options)


@pytest.fixture(scope="module")
def llama() -> OpenPRMScoringPipeline:
    return scorer()


def close(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one["steps"] == other["steps"]
        assert one["step_rewards"] == pytest.approx(other["step_rewards"], abs=1e-4)
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


@pytest.mark.parametrize("name", ["llama", "mistral-window", "mpt", "bert"])
def test_step_rewards_are_those_of_one_plain_pass_per_rendered_prefix(name):
    score = scorer(name)
    output = score(INPUT)
    with torch.no_grad():
        expected = [
            score.model(torch.tensor([encode(score.tokenizer, QUESTION, "".join(STEPS[: size + 1]))])).logits.item()
            for size in range(3)
        ]
    assert output["step_rewards"] == pytest.approx(expected, abs=1e-4)
    assert output.keys() - {"failure"} <= Scored.__annotations__.keys()  # one name for each thing, in rows too
    score = min(output["step_rewards"])
    assert output == {
        **output,
        "score": score,
        "steps": STEPS,
        "aggregation": "min",
        "truncated": False,
        "unit": "strength",
        "failure": None,
    }
    assert len(output) == 7


def test_every_form_of_input_and_every_container(llama):
    expected = llama(INPUT)
    chat = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": RESPONSE}]
    rows = Dataset.from_list([{**INPUT, "prompt_id": "a"}] * 2)
    rows_of_datasets = {"question": QUESTION, "steps": STEPS}, {"question": chat[:1], "response": RESPONSE}
    for one in (chat, tuple(chat), {"messages": chat, "id": 1}, *rows_of_datasets):
        assert llama(one) == expected
    assert llama(QUESTION, RESPONSE) == llama(chat[:1], RESPONSE) == llama(QUESTION, response=RESPONSE) == expected
    assert llama([]) == []
    assert llama([chat]) == [expected]
    close(llama([chat, INPUT]), [expected] * 2)
    close(llama((INPUT, chat)), [expected] * 2)
    close(llama(one for one in (INPUT, chat)), [expected] * 2)
    close(llama((chat for _ in range(2)), batch_size=2), [expected] * 2)
    close(llama(rows, batch_size=2), [expected] * 2)
    close(llama(KeyDataset([{"row": chat}, {"row": INPUT}], "row")), [expected] * 2)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_rewards_do_not_depend_on_batch_size_order_or_padding(name):
    score = scorer(name)
    expected = score(INPUTS)
    assert len({output["score"] for output in expected}) == len(INPUTS)
    for batch_size in (1, 2, 3, 5, 8):
        close(score(INPUTS, batch_size=batch_size), expected)
    close(score(INPUTS[::-1], batch_size=2)[::-1], expected)
    close(score(INPUTS, batch_size=5, max_tokens=1), expected)
    close(scorer(name, tokenizer=tiny_models.tokenizer(padding_side="left"), batch_size=4)(INPUTS), expected)


def test_options_when_made_and_when_called(llama):
    by_line = llama(INPUT, separator="re:e ", aggregation="last")
    assert "".join(by_line["steps"]) == RESPONSE
    assert len(by_line["steps"]) > 3
    assert by_line["score"] == by_line["step_rewards"][-1]
    made = scorer(separator="re:e ", aggregation="last", batch_size=2)
    close(made([INPUT, INPUT]), [by_line] * 2)
    assert made(INPUT, aggregation="mean")["aggregation"] == "mean"
    assert llama(INPUT)["aggregation"] == "min"
    for wrong in ({"aggregation": "median"}, {"separator": "re:("}):
        with pytest.raises(ValueError, match=r"median|regular expression"):
            llama(INPUT, **wrong)
    with pytest.raises(TypeError):
        llama(INPUT, agregation="min")


def test_the_checkpoint_has_the_defaults_and_its_suffix():
    score = scorer(config={"separator": "five", "aggregation": "max", "suffix": "<|user|>"})
    output = score(INPUT)
    assert output["steps"][0] == "The sum of two and three is five"
    assert (output["aggregation"], output["score"]) == ("max", max(output["step_rewards"]))
    with torch.no_grad():
        last = score.model(torch.tensor([encode(score.tokenizer, QUESTION, RESPONSE, "<|user|>")])).logits.item()
    assert output["step_rewards"][-1] == pytest.approx(last, abs=1e-4)
    assert score(INPUT, separator=".\n", aggregation="min")["steps"] == STEPS


def test_a_row_with_a_response_and_its_steps_is_an_input(llama):
    """As the answers of `openprm generate` are; those of a plain vote have no steps."""
    halves = [RESPONSE[:10], RESPONSE[10:]]
    assert llama({**INPUT, "steps": halves})["steps"] == halves
    assert llama({**INPUT, "steps": []}) == llama(INPUT)


def test_what_does_not_fit_is_marked_not_cut(llama):
    whole = llama(INPUT)
    lengths = [len(encode(llama.tokenizer, QUESTION, "".join(STEPS[: size + 1]))) for size in range(3)]
    assert lengths[2] > max(lengths[:2])  # merges make a longer prefix shorter in tokens at times
    output = llama(INPUT, max_length=max(lengths[:2]))
    assert output["truncated"]
    assert output["steps"] == STEPS
    assert output["step_rewards"] == pytest.approx([*whole["step_rewards"][:2], None], abs=1e-4)
    assert output["score"] == min(output["step_rewards"][:2])
    with pytest.raises(
        ValueError, match=rf"take {lengths[0]} tokens; the reward model reads at most {lengths[0] - 1}"
    ):
        llama(INPUT, max_length=lengths[0] - 1)


def test_one_of_several_answers_that_has_no_score_does_not_end_the_run():
    tok = tiny_models.tokenizer(
        "{% if 'six' in messages[0].content %}{{ raise_exception('No sixes.') }}{% endif %}"
        + tiny_models.CHAT_TEMPLATE
    )
    score = scorer(tokenizer=tok)
    tok.add_tokens(["<call>"])
    texts = [QUESTION, "Five."], ["Hi", " "], ["six", "Five."], ["Hi", "zq " * 400], ["Hi", "<call>"]
    rows = [{"question": question, "response": response} for question, response in texts]
    for options in ({}, {"batch_size": 2}):
        good, *bad = score(rows, **options)
        close([good], [score(rows[0])])
        reasons = "the response is empty", "No sixes", "reads at most 256", "embeddings for 352"
        for row, output, reason in zip(rows[1:], bad, reasons, strict=True):
            assert reason in output["failure"]
            assert (output["score"], {*output["step_rewards"]}) == (None, {None})
            assert "".join(output["steps"]) == row["response"]
    with pytest.raises(ValueError, match="No sixes"):
        score(rows[2])


def test_no_max_length_is_longer_than_the_models():
    long = {"question": QUESTION, "response": "seven.\n" * 200}
    assert scorer("bert")(long, max_length=10**6)["truncated"]


def test_a_reward_that_is_not_finite_is_refused():
    score = scorer()
    score.model.score.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="the reward is nan"):
        score(INPUT)
    (output,) = score([INPUT])
    assert (output["score"], output["step_rewards"]) == (None, [None] * 3)
    assert output["failure"].startswith("the reward is nan")


def test_the_model_and_the_tokenizer_limit_the_length():
    long = {"question": QUESTION, "steps": ["zq"] * 200}
    by_model = scorer()(long)
    assert by_model["truncated"]
    assert sum(reward is not None for reward in by_model["step_rewards"]) < 128  # of 256 positions, 2 a step
    assert scorer(tokenizer=tiny_models.tokenizer(model_max_length=40))(INPUTS[4])["truncated"]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("text", "this one is str"),
        (7, "this one is int"),
        ([7], "this one is int"),
        ({"response": "Five"}, "no 'question'; its keys are \\['response'\\]"),
        ({"question": QUESTION}, "no 'response' and no 'steps'; its keys are \\['question'\\]"),
        ({"question": QUESTION, "response": "5", "steps": ["6"]}, "different answers"),
        ({"question": QUESTION, "response": ""}, "the response is empty"),
        ({"question": QUESTION, "response": " \n"}, "the response is empty"),
        ({"question": QUESTION, "response": ["Five"]}, "'response' is list, .* use 'steps'"),
        ({"question": QUESTION, "steps": "Five"}, "'steps' is not a list of texts; .* use 'response'"),
        ({"question": QUESTION, "steps": []}, "the response is empty"),
        ({"question": QUESTION, "steps": ["Five", ""]}, "step 1 of 'steps' is empty"),
        ({"question": 5, "response": "Five"}, "the question is int"),
        ({"messages": "Five"}, "this one is str"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "ends with a message of the role 'assistant'"),
        ([{"role": "user", "content": "Hi"}], "ends with a message of the role 'assistant'"),
        ([{"role": "user", "content": "Hi"}, {"role": "user", "content": "Hi"}], "role 'assistant'"),
    ],
)
def test_inputs_that_cannot_be_read(llama, wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        llama(wrong)


def test_a_response_beside_its_question_is_a_text(llama):
    for wrong in ("", ["Five"], 5):
        with pytest.raises(ValueError, match="response"):
            llama(QUESTION, wrong)


def test_batches_need_a_padding_token():
    score = scorer(tokenizer=tiny_models.tokenizer(pad_token=None))
    assert score([INPUT])[0]["score"] < 10
    with pytest.raises(ValueError, match="padding token"):
        score([INPUT], batch_size=2)


def test_a_saved_pipeline_gives_the_same_rewards_without_the_package(tmp_path):
    folder = tmp_path / "scorer"
    score = scorer(config={"separator": ".\n", "aggregation": "prod", "unit": "log-odds"})
    expected = score(INPUTS)
    assert expected[0]["score"] == pytest.approx(sum(map(log_sigmoid, expected[0]["step_rewards"])))
    score.save_pretrained(folder)
    room = {path.name for path in Path(scoring.__file__).parent.glob("*.py")} - {"__init__.py"}
    assert {path.name for path in folder.glob("*.py")} == room
    code = """
import json, sys
sys.modules["openprm"] = None  # as if it were not installed: importing it fails
from transformers import pipeline
inputs = json.load(sys.stdin)
score = pipeline("openprm-scoring", model=sys.argv[1], trust_remote_code=True, device="cpu")
print(json.dumps(score(inputs, batch_size=2)))
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    command = [sys.executable, "-P", "-c", code, str(folder)]
    options = {"input": json.dumps(INPUTS), "cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run(command, **options, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {(one["aggregation"], one["unit"]) for one in found} == {("prod", "log-odds")}
    assert [one["score"] for one in found] == [pytest.approx(one["score"], abs=1e-5) for one in expected]
    assert [one["step_rewards"] for one in found] == [pytest.approx(one["step_rewards"], abs=1e-6) for one in expected]
    # With the package no trust is needed: its own code is taken.
    own = openprm.load_scorer(str(folder), device="cpu")
    assert type(own) is OpenPRMScoringPipeline
    close(own(INPUTS), expected)
