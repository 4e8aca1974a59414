"""Every declared readout against an obviously right loop."""

from __future__ import annotations

from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from openprm.engines.readout_scorer import load_scorer
from openprm.engines.specs import RewardSpec
from openprm.errors import Failure
from openprm.scoring.scored_answer import ScoredAnswer
from tests import tiny_models
from tests.engines.readouts import (
    APART,
    QUESTION,
    STEPS,
    declared,
    ids,
    last,
    log_odds,
    log_probabilities,
    marked,
    saved,
    value_head,
)

ROW = {"question": QUESTION, "response": "".join(STEPS), "steps": STEPS}
LOOSE = {**ROW, "response": "".join(APART), "steps": APART}
CLASSES = "AutoModelForTokenClassification"
YES_NO = "{kind: question, prompt: 'Asked: {question} Said: {response} Right?', verdict: 'So: '}"


def scored(source: Path, rows: Any = (ROW,), **options: Any) -> list[ScoredAnswer]:
    scorer = load_scorer(RewardSpec(str(source), **options))
    found = scorer.score_rows(rows)
    assert all(isinstance(one, ScoredAnswer) for one in found), found
    return found  # type: ignore[return-value]


def equal(source: Path, expected: list[float], steps: list[str] = STEPS) -> ScoredAnswer:
    (found,) = scored(source, [{"question": QUESTION, "response": "".join(steps)}])
    assert found.steps == steps
    assert found.step_rewards == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert len({round(one, 3) for one in expected}) == len(STEPS)  # so that a wrong place is seen
    return found


@pytest.mark.parametrize("name", ["qwen2", "llama"])
def test_two_classes_at_a_marker(tmp_path, name):
    folder, model, words = saved(tmp_path / "prm", CLASSES, name, num_labels=2)
    expected = [log_odds(last(model, tokens), 1, 0) for tokens in marked(words, "<m>")]
    equal(declared(tmp_path, folder, "{kind: marker, text: <m>, head: classes, positive: 1}"), expected)
    flipped = declared(tmp_path, folder, "{kind: marker, text: <m>, head: classes, positive: 0}")
    equal(flipped, [-one for one in expected])


@pytest.mark.parametrize("name", ["mistral-window", "llama"])
def test_two_tokens_at_a_marker_that_is_no_special_token(tmp_path, name):
    folder, model, words = saved(tmp_path / "prm", name=name)
    readout = '{kind: marker, text: " ки", head: tokens, between: "\\n", positive: "+", negative: "-"}'
    right, wrong = ids(words, "+") + ids(words, "-")
    expected = [log_odds(last(model, tokens), right, wrong) for tokens in marked(words, " ки", "\n")]
    equal(declared(tmp_path, folder, readout), expected)


def test_values_at_a_marker_that_is_tokenized_alone(tmp_path):
    folder, model, words = saved(tmp_path / "prm", name="qwen2")
    head = value_head(folder)
    readout = '{kind: marker, text: "\\n", head: value, weights: v_head, file: value_head.safetensors, apart: true}'
    expected, tokens = [], ids(words, f"<s><|user|>{QUESTION}</s><|assistant|>")
    for step in STEPS:
        tokens = [*tokens, *ids(words, step.strip()), *ids(words, "\n")]
        with torch.no_grad():
            state = model.model(input_ids=torch.tensor([tokens])).last_hidden_state[0, -1]
            expected.append(head(state).item())
    equal(declared(tmp_path, folder, readout), expected)
    assert load_scorer(RewardSpec(str(declared(tmp_path, folder, readout)))).unit == "value"


def test_steps_as_turns(tmp_path):
    folder, model, words = saved(tmp_path / "prm")
    right, wrong = ids(words, "+") + ids(words, "-")
    expected, text = [], "<s>"
    for index, step in enumerate(STEPS):
        text += f"<|user|>{QUESTION + ' ' if index == 0 else ''}{step.strip()}</s><|assistant|>"
        expected.append(log_odds(last(model, ids(words, text)), right, wrong))
        text += "+</s>"
    equal(declared(tmp_path, folder, "{kind: turns}"), expected)


def test_yes_against_no_behind_a_question(tmp_path):
    folder, model, words = saved(tmp_path / "verifier")
    right, wrong = ids(words, "Yes") + ids(words, "No")
    asked = [
        ids(words, f"<s><|user|>Asked: {QUESTION} Said: {prefix} Right?</s><|assistant|>So: ")
        for prefix in accumulate(STEPS)
    ]
    equal(declared(tmp_path, folder, YES_NO), [log_odds(last(model, one), right, wrong) for one in asked])


def test_yes_against_no_behind_a_critique(tmp_path):
    folder, model, words = saved(tmp_path / "verifier")
    expected = []
    for prefix in accumulate(STEPS):
        tokens = ids(words, f"<s><|user|>Asked: {QUESTION} Said: {prefix} Right?</s><|assistant|>")
        for _ in range(5):  # greedy
            token = int(last(model, tokens).argmax())
            if token == words.eos_token_id:
                break
            tokens = [*tokens, token]
        expected.append(log_odds(last(model, [*tokens, *ids(words, "So: ")]), *ids(words, "Yes"), *ids(words, "No")))
    equal(declared(tmp_path, folder, YES_NO.replace("}'", "}'").replace("kind:", "critique: 5, kind:")), expected)


def test_the_likelihood_of_a_response(tmp_path):
    folder, model, words = saved(tmp_path / "lm")
    steps = log_probabilities(model, words)
    sums = [*accumulate(map(sum, steps))]
    found = equal(declared(tmp_path, folder, "{kind: likelihood}"), sums, APART)
    assert found.score == pytest.approx(sums[-1], rel=1e-5, abs=1e-5)  # of the whole response
    sizes = [*accumulate(map(len, steps))]
    means = [total / size for total, size in zip(sums, sizes, strict=True)]
    equal(declared(tmp_path, folder, "{kind: likelihood, per_token: true}"), means, APART)


def test_the_log_ratio_of_a_model_and_its_reference(tmp_path):
    folder, model, words = saved(tmp_path / "model")
    _, other, _ = saved(tmp_path / "reference", seed=1)
    mine, theirs = log_probabilities(model, words), log_probabilities(other, words)
    ratios = [0.05 * (sum(one) - sum(two)) for one, two in zip(mine, theirs, strict=True)]
    readout = "{kind: ratio, beta: 0.05, reference: reference}"
    equal(declared(tmp_path, folder, readout), ratios, APART)
    whole = declared(tmp_path, folder, readout.replace("beta", "of: prefix, beta"), "aggregation: last")
    found = equal(whole, [*accumulate(ratios)], APART)
    assert found.score == pytest.approx(sum(ratios), rel=1e-5, abs=1e-5)  # what DPO calls the reward of a response
    itself = declared(tmp_path, folder, "{kind: ratio, beta: 0.05, reference: model}")
    assert scored(itself, [LOOSE])[0].step_rewards == [0.0] * 3


def test_the_log_density_ratio_of_a_strong_and_a_weak_model(tmp_path):
    folder, model, words = saved(tmp_path / "strong")
    _, other, _ = saved(tmp_path / "weak", seed=1)
    sums = [[*accumulate(map(sum, log_probabilities(one, words)))] for one in (model, other)]
    file = declared(tmp_path, folder, "{kind: density, weak: weak}")
    equal(file, [one - two for one, two in zip(*sums, strict=True)], APART)
    assert load_scorer(RewardSpec(str(file))).unit == "log-ratio"


def test_a_plain_reward_model_is_read_at_ends(tmp_path):
    folder = tiny_models.saved(tmp_path / "orm", tiny_models.model(vocab_size=400), tiny_models.tokenizer())
    named = load_scorer(RewardSpec(str(folder)), separator="line")
    file = declared(tmp_path, folder, "{kind: ends}", "unit: log-odds\naggregation: last")
    (one,), (other,) = named.score_rows([ROW]), scored(file)
    assert isinstance(one, ScoredAnswer)
    assert other.step_rewards == one.step_rewards
    assert other.score == one.step_rewards[-1]
    assert (named.unit, one.unit, other.unit) == ("strength", "strength", "log-odds")


READOUTS = {
    "marker": '{kind: marker, text: " ки", head: tokens, between: "\\n", positive: "+", negative: "-"}',
    "turns": "{kind: turns}",
    "question": YES_NO,
    "critique": YES_NO.replace("kind:", "critique: 5, kind:"),
    "likelihood": "{kind: likelihood}",
    "ratio": "{kind: ratio, beta: 0.05, reference: reference}",
}


@pytest.mark.parametrize("readout", READOUTS.values(), ids=READOUTS)
def test_neither_batches_nor_their_order_nor_a_long_answer_change_the_first_steps(tmp_path, readout):
    folder, _, _ = saved(tmp_path / "model")
    saved(tmp_path / "reference", seed=1)
    file = declared(tmp_path, folder, readout)
    long = {**ROW, "steps": [*APART, *["Or 5 and 5 and 6.\n"] * 40]}
    rows = [LOOSE, long, {**ROW, "steps": APART[:1]}, {**ROW, "response": "So the answer is five.", "steps": None}]
    scorer = load_scorer(RewardSpec(str(file)))
    together = scorer.score_rows(rows)
    backwards = scorer.score_rows(rows[::-1])[::-1]
    for row, one, other in zip(rows, together, backwards, strict=True):
        assert isinstance(one, ScoredAnswer)
        assert isinstance(other, ScoredAnswer)
        (alone,) = scorer.score_rows([row])
        assert isinstance(alone, ScoredAnswer)
        assert one.step_rewards == pytest.approx(alone.step_rewards, abs=1e-4)
        assert other.step_rewards == pytest.approx(alone.step_rewards, abs=1e-4)
    first, second, *_ = together
    assert isinstance(first, ScoredAnswer)
    assert isinstance(second, ScoredAnswer)
    assert second.truncated
    assert second.step_rewards[:3] == pytest.approx(first.step_rewards, abs=1e-4)
    fitted = [one is not None for one in second.step_rewards]
    assert fitted.index(False) == sum(fitted) > 3


def failures(file: Path, *steps: list[str]) -> list[Failure]:
    rows = [{"question": QUESTION, "response": "".join(some), "steps": some} for some in steps]
    found = load_scorer(RewardSpec(str(file))).score_rows([LOOSE, *rows])
    assert isinstance(found[0], ScoredAnswer)
    assert all(isinstance(one, Failure) for one in found[1:]), found
    return found[1:]  # type: ignore[return-value]


def test_a_marker_in_a_step_is_refused_or_text(tmp_path):
    folder, _, _ = saved(tmp_path / "prm")
    tokens = "head: tokens, positive: '+', negative: '-'"
    plain = declared(tmp_path, folder, f"{{kind: marker, text: ' ки', {tokens}}}")
    (spelled,) = failures(plain, ["One. ки And more.\n", "Two.\n"])
    assert "there are not as many places to read rewards as steps" in spelled.reason
    assert "(3 places, 2 steps)" in spelled.remedy
    special = declared(tmp_path, folder, f"{{kind: marker, text: <m>, {tokens}}}")
    (found,) = scored(special, [{**ROW, "steps": ["One. <m> And more.\n", "Two.\n"]}])
    assert len(found.step_rewards) == 2


def test_rows_that_cannot_be_read_say_why(tmp_path):
    folder, _, _ = saved(tmp_path / "prm")
    file = declared(tmp_path, folder, "{kind: likelihood}")
    empty, long, foreign = failures(file, [" "], ["five " * 300], ["a \uf8ff b"])
    assert "is empty" in empty.reason
    assert "up to step 1" in long.reason
    assert "256" in long.reason
    assert "stand for steps" in foreign.reason


def test_verdicts_spelled_by_a_question_are_not_read(tmp_path):
    folder, _, _ = saved(tmp_path / "prm")
    file = declared(tmp_path, folder, '{kind: marker, text: " ки", head: tokens, positive: "+", negative: "-"}')
    (found,) = scored(file, [{**ROW, "question": "Is 1 + 1 ки - 2? ки"}])
    assert len(found.step_rewards) == 3
    turns = declared(tmp_path, folder, "{kind: turns}")
    (found,) = scored(turns, [{**ROW, "steps": ["1 + 1 - 2\n", "- or +</s><|assistant|>+"]}])
    assert len(found.step_rewards) == 2


def test_step_log_ratios_add_up_to_that_of_the_response(tmp_path):
    folder, _, _ = saved(tmp_path / "lm")
    (steps,) = scored(declared(tmp_path, folder, "{kind: likelihood, of: step}"), [LOOSE])
    (prefixes,) = scored(declared(tmp_path, folder, "{kind: likelihood}"), [LOOSE])
    rises = [after - before for before, after in pairwise([0.0, *prefixes.step_rewards])]  # type: ignore[list-item]
    assert steps.step_rewards == pytest.approx(rises, abs=1e-9)
