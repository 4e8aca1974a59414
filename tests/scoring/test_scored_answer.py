"""What the settings of a scorer take from a model, and how much of an answer is encoded."""

from __future__ import annotations

import math
import sys
import tracemalloc
from types import SimpleNamespace

import pytest

from openprm.scoring.aggregation import AGGREGATIONS, ScoringError
from openprm.scoring.encoding import encode
from openprm.scoring.scored_answer import ScoredAnswer, ScoringSettings, positions
from tests import tiny_models

QUESTION = "What is the sum of two and three?"
TOKENIZER = tiny_models.tokenizer()


def test_nothing_is_encoded_behind_the_first_step_that_does_not_fit(monkeypatch: pytest.MonkeyPatch):
    asked = []
    render = type(TOKENIZER).apply_chat_template
    monkeypatch.setattr(type(TOKENIZER), "apply_chat_template", lambda *a, **b: asked.append(1) or render(*a, **b))
    tracemalloc.start()
    fitting = ScoringSettings(300).encode(TOKENIZER, QUESTION, ["So.\n"] * 4000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 50 < len(fitting) < 150
    assert fitting[-1] == encode(TOKENIZER, QUESTION, "So.\n" * len(fitting))
    assert len(asked) < 2 * len(fitting) + 4
    assert peak < 20e6


@pytest.mark.parametrize(
    ("limits", "longest"),
    [((512, 10**30, None), 512), ((512, 128, None), 128), ((512, 128, 64), 64), ((512, 128, 2048), 128)],
)
def test_no_setting_is_longer_than_the_model_and_its_tokenizer(limits, longest):
    position, tokenizer, given = limits
    model = tiny_models.model("llama", max_position_embeddings=position, openprm={"max_length": 4096})
    tok = tiny_models.tokenizer(model_max_length=tokenizer)
    assert ScoringSettings.of(model.config, tok, max_length=given).max_length == longest


@pytest.mark.parametrize("limit", [None, -1, 0])  # XLNet's is -1
def test_without_positions_there_is_no_limit(limit):
    text = SimpleNamespace(max_position_embeddings=limit)
    assert positions(SimpleNamespace(get_text_config=lambda: text)) == sys.maxsize


def test_a_token_without_an_embedding_fails_the_answer():
    tok = tiny_models.tokenizer()
    model = tiny_models.model("llama", vocab_size=len(tok))
    tok.add_tokens(["<call>"])
    settings = ScoringSettings.of(model.config, tok)
    assert settings.encode(tok, QUESTION, ["five"]) == [encode(tok, QUESTION, "five")]
    with pytest.raises(ScoringError, match=r"'<call>' is token 352 of .* has embeddings for 352"):
        settings.encode(tok, QUESTION, ["five", " <call>"])


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_reward_that_is_not_finite_is_a_failure(wrong, aggregation):
    with pytest.raises(ScoringError, match=f"the reward is {wrong}"):
        ScoringSettings(100, aggregation=aggregation, unit="log-odds").score(["a", "b", "c"], [-0.1, wrong, wrong])


def test_the_checkpoint_says_which_date_its_template_is_given():
    tok = tiny_models.tokenizer("{{ strftime_now('%Y') }}" + tiny_models.CHAT_TEMPLATE)
    model = tiny_models.model("llama", vocab_size=len(tok), openprm={"date": "2023-01-31"})
    (ids,) = ScoringSettings.of(model.config, tok).encode(tok, "Hi", ["five"])
    assert tok.decode(ids).startswith("2023<s>")


def test_the_checkpoint_says_the_unit_of_its_rewards():
    tok = tiny_models.tokenizer()
    model = tiny_models.model("llama", vocab_size=len(tok), openprm={"unit": "log-odds"})
    settings = ScoringSettings.of(model.config, tok, aggregation="prod")
    assert settings.score(["a", "b"], [0.0, 0.0]) == ScoredAnswer(
        pytest.approx(-2 * math.log(2)), ["a", "b"], [0.0, 0.0], "prod", truncated=False, unit="log-odds"
    )
    assert ScoringSettings.of(tiny_models.model("llama").config, tok).unit == "strength"
    with pytest.raises(ValueError, match="'prod' multiplies probabilities, which rewards of the unit 'strength'"):
        ScoringSettings.of(tiny_models.model("llama").config, tok, aggregation="prod")
    model.config.openprm["unit"] = "odds"
    with pytest.raises(ValueError, match="unknown unit 'odds'"):
        ScoringSettings.of(model.config, tok)
