"""What readouts ask of models: texts, tokens and places."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from openprm.engines.base import Probe
from openprm.engines.readout_encoding import Asked, ReadoutEncoder
from openprm.errors import InputError
from openprm.models.readout import Likelihood, Marker, Question, Turns
from openprm.scoring.aggregation import ScoringError
from tests.engines.readouts import QUESTION, STEPS, tokenizer


def shown(words: Any, probe: Probe) -> list[str]:
    """The text that the model has read at each place."""
    return [words.decode(probe.tokens[: place + 1]) for place in probe.places]


def test_texts_are_as_declared():
    words = tokenizer()
    marker = Marker(kind="marker", text=" ки", between="\n", head="tokens", positive="+", negative="-")
    (probe,) = ReadoutEncoder(marker, words)(QUESTION, STEPS).probes
    assert shown(words, probe)[1] == (
        f"<s><|user|>{QUESTION}</s><|assistant|>First, add the numbers. ки\nThen, divide by two. ки"
    )
    (probe,) = ReadoutEncoder(Turns(kind="turns"), words)(QUESTION, STEPS).probes
    assert shown(words, probe)[1] == (
        f"<s><|user|>{QUESTION} First, add the numbers.</s><|assistant|>+</s>"
        "<|user|>Then, divide by two.</s><|assistant|>"
    )
    question = Question(kind="question", prompt="Q {question} A {response}", verdict="So:")
    earlier = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    asked = ReadoutEncoder(question, words)([*earlier, {"role": "user", "content": "{response}"}], STEPS).probes
    assert shown(words, asked[0]) == [
        "<s><|user|>Hi</s><|assistant|>Yes?</s><|user|>Q {response} A First, add the numbers.\n</s><|assistant|>So:"
    ]
    (probe,) = ReadoutEncoder(Likelihood(kind="likelihood"), words)("Hi", ["a.\n", "b"]).probes
    assert shown(words, probe)[0] == "<s><|user|>Hi</s><|assistant|>"
    assert [words.decode(one) for one in probe.wanted] == ["a", ".\n", "b"]


def test_a_marker_is_the_token_that_it_is_behind_text():
    """A tokenizer that puts a space before every text, as Mistral's does, has `ки` after a space as one token."""
    names = ["<unk>", "▁x", "▁+", "▁-", "▁ки", "▁One.", "▁Two.", "▁?", "▁yes"]
    made = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    words = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")
    words.chat_template = "{{ messages[0].content + ' ' + messages[-1].content }}"
    marker = Marker(kind="marker", text=" ки", between=" ", head="tokens", positive="+", negative="-")
    (probe,) = ReadoutEncoder(marker, words)("? ки", ["One.", "Two."]).probes
    assert words.convert_ids_to_tokens(probe.tokens) == ["▁?", "▁ки", "▁One.", "▁ки", "▁Two.", "▁ки"]
    assert (probe.places, probe.wanted) == ([3, 5], [[2, 3], [2, 3]])


def test_a_verdict_that_the_tokenizer_does_not_know_is_refused():
    made = Tokenizer(models.WordLevel({"<unk>": 0, "+": 1}, unk_token="<unk>"))
    words = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")
    with pytest.raises(
        InputError, match=r"`negative` of the readout, '-', has to be one token .* and is <unk>; declare"
    ):
        ReadoutEncoder(Turns(kind="turns"), words)


def test_a_step_without_a_token_of_its_own_is_refused():
    words = tokenizer()
    text = "First, add the numbers."
    first = words.convert_ids_to_tokens(words.encode(text, add_special_tokens=False))[0]
    assert len(first) > 2
    with pytest.raises(ScoringError, match="step 1 has no token of its own"):
        ReadoutEncoder(Likelihood(kind="likelihood"), words)("Hi", [text[:2], text[2:]])


@given(
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=4),
    st.integers(0, 30),
)
def test_what_fits_are_the_first_steps_as_they_were(shape: list[list[int]], longest: int):
    """shape: for each step, how many tokens lie before each of its places."""
    places, at = [], -1
    for step in shape:
        for gap in step:
            at += gap
            places.append(at)
    whole = Asked([Probe(range(at + 3), places, [[place] for place in places])], [len(step) for step in shape])
    fits = whole.fitting(longest)
    steps = [sum(map(sum, shape[:size])) <= longest for size in range(1, len(shape) + 1)]
    assert list(fits.counts) == [len(step) for step, fit in zip(shape, steps, strict=True) if fit]
    kept = sum(fits.counts)
    assert [place for probe in fits.probes for place in probe.places] == places[:kept]
    assert [one for probe in fits.probes for one in probe.wanted] == [[place] for place in places[:kept]]
    assert all(len(probe.tokens) <= longest for probe in fits.probes)
