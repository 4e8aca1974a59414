"""Rows that transformers continues together: as they are continued alone, in few calls."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from openprm.engines.base import ContinuationRequest, Sampling
from openprm.engines.transformers_generator import TransformersGenerator
from tests import tiny_models

from .test_transformers_generator import greedy, make_tokenizer

HI = "Hi there."


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_rows_of_several_lengths_go_on_to_the_end_of_the_context(
    family: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
):
    """As they do alone, in few passes, and never beyond a position that the model has (GPT-2 has no others)."""
    generator = TransformersGenerator(language_model(family, len(tokenizer)), tokenizer)
    generator.max_length = generator.max_length or 256
    generator.end_ids = [3]  # hardly ever written
    rows = [ContinuationRequest([5 + length % 7] * length, 256 - length, 0) for length in range(200, 232)]
    apart = [generator.continue_tokens([row], greedy(256))[0] for row in rows]
    assert sum(len(row.tokens) + len(new) == 256 for row, new in zip(rows, apart, strict=True)) > 16  # type: ignore[arg-type]
    write = generator.lm.generate

    def checked(**kwargs: Any) -> Any:
        assert kwargs["input_ids"].shape[1] + kwargs["generation_config"].max_new_tokens <= 256
        return write(**kwargs)

    monkeypatch.setattr(generator.lm, "generate", checked)
    read = watched(generator, monkeypatch)
    assert generator.continue_tokens(rows, greedy(256)) == apart
    assert len(read) < sum(map(len, apart)) / 6


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral-window", "bloom"])
def test_the_same_prefixes_are_read_once_and_nothing_else_changes(
    family: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
):
    """Where every token's keys and values are kept; a window forgets some, so there each row is read."""
    generator = TransformersGenerator(language_model(family, len(tokenizer)), tokenizer)
    rows = [
        ContinuationRequest(tokenizer(text)["input_ids"], 12, seed)
        for seed, text in enumerate(("Hi there.", "Count to ten!", "Hi there.", "No, no"))
    ]
    apart = [generator.continue_tokens([row], greedy(12))[0] for row in rows]
    read = watched(generator, monkeypatch)
    assert generator.continue_tokens(rows, greedy(12)) == apart
    longest = len("Count to ten!")
    assert read[0] == (4 * longest if family == "mistral-window" else 3 * (longest - 1))
    assert max(read[1:]) <= len(rows)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral-window", "bloom"])
def test_a_row_draws_the_same_whatever_stands_beside_it(family: str, tokenizer: Any):
    """In any order and number together, with rows that end and leave on the way."""
    generator = TransformersGenerator(language_model(family, len(tokenizer)), tokenizer)
    generator.end_ids = [*range(2, 40)]  # written often
    texts = ["Hi there.", "Count to ten, and then back again!", "No"]
    rows = [ContinuationRequest(tokenizer(texts[i % 3])["input_ids"], 30 + 3 * (i % 5), i) for i in range(24)]
    sampling = Sampling(temperature=0.9, top_p=0.95)
    expected = generator.continue_tokens(rows, sampling)
    lengths = [len(new) for new in expected]
    assert min(lengths) < 5
    assert max(lengths) > 15
    assert len(set(map(tuple, expected[::3]))) == 8  # of one text, with seeds of their own
    for size in (1, 5, 64):
        generator.batch_size = size
        assert generator.continue_tokens(rows[::-1], sampling)[::-1] == expected


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "bloom"])
def test_what_follows_a_prompt_is_read_behind_it(family: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch):
    """The prompt once for a question, what follows once for equal ones, as if each were read whole."""
    generator = TransformersGenerator(language_model(family, len(tokenizer)), tokenizer)
    rows = [
        ContinuationRequest(tokenizer(prompt + rest)["input_ids"], 12, seed, prompt=len(prompt))
        for seed, (prompt, rest) in enumerate(
            [
                ("Hi there.", ""),
                ("Hi there.", " One."),
                ("Hi there.", " One."),
                ("Hi there.", " Two!"),
                ("No", " One."),
            ]
        )
    ]
    sampling = Sampling(temperature=0.9)
    whole = [replace(row, prompt=0) for row in rows]
    apart = [generator.continue_tokens([row], sampling)[0] for row in whole]
    read = watched(generator, monkeypatch)
    assert generator.continue_tokens(rows, sampling) == apart
    if family == "gemma2":  # a window forgets
        assert read[0] == 5 * 14
    else:  # three prompts, as a bare one is read without its last token; what follows in four rows; a token of all
        assert read[:3] == [3 * 9, 4 * 4, 5]


def test_ended_rows_leave(tokenizer: Any, monkeypatch: pytest.MonkeyPatch):
    generator = TransformersGenerator(language_model("llama", len(tokenizer)), tokenizer)
    rows = [ContinuationRequest([65, 66, 67], 2 if i else 40, i) for i in range(16)]
    read = watched(generator, monkeypatch)
    longest, *_ = generator.continue_tokens(rows, Sampling(temperature=1.0))
    assert len(longest) > 5
    # whether it keeps its keys, the text but its last token, two tokens of all, the rest of one
    assert read == [1, 2, 16, 16, *[1] * (len(longest) - 2)]


def watched(generator: TransformersGenerator, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tokens that each pass of the model reads from now on, padding included."""
    read: list[int] = []
    forward = generator.lm.forward

    @functools.wraps(forward)  # transformers asks for its signature
    def counted(*args: Any, **kwargs: Any) -> Any:
        read.append(kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    monkeypatch.setattr(generator.lm, "forward", counted)
    return read


def language_model(family: str, vocabulary: int) -> Any:
    name, own = {**tiny_models.PACKABLE, **tiny_models.NOT_PACKABLE}[family]
    settings = {**tiny_models.SIZES, **own, "vocab_size": vocabulary, "initializer_range": 0.3, "eos_token_id": 2}
    settings = {key: value for key, value in settings.items() if value is not None}
    config = getattr(transformers, name)(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config)
