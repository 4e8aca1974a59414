"""Rows that transformers continues together: as they are continued alone, in few calls."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from openprm.engines.base import ContinuationRequest, Sampling
from openprm.engines.transformers_generator import TransformersGenerator, in_batches
from tests import tiny_models

from .test_transformers_generator import greedy, make_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(1, 60)), max_size=12), st.integers(1, 4))
def test_batches_hold_every_row_once_and_fit(sizes: list[tuple[int, int]], size: int):
    rows = [ContinuationRequest([0] * length, min(budget, 100 - length), 0) for length, budget in sizes]
    batches = in_batches(rows, size, 100)
    assert sorted(index for batch, _ in batches for index in batch) == list(range(len(rows)))
    for batch, growth in batches:
        assert len(batch) <= size
        longest, budget = max(len(rows[i].tokens) for i in batch), max(rows[i].budget for i in batch)
        assert longest + growth <= 100
        assert budget / 2 <= growth <= budget  # what is left halves from call to call


def test_rows_that_fill_the_context_are_generated_together():
    rows = [ContinuationRequest([0] * length, 2048 - length, 0) for length in range(900, 1540)]
    assert [len(batch) for batch, _ in in_batches(rows, 64, 2048)] == [64] * 10


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_rows_of_several_lengths_go_on_to_the_end_of_the_context(
    family: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
):
    """As they do alone, in few calls, and never beyond a position that the model has (GPT-2 has no others)."""
    generator = TransformersGenerator(language_model(family, len(tokenizer)), tokenizer)
    generator.max_length = generator.max_length or 256
    generator.end_ids = [3]  # hardly ever written
    rows = [ContinuationRequest([5 + length % 7] * length, 256 - length, 0) for length in range(200, 232)]
    apart = [generator.continue_tokens([row], greedy(256))[0] for row in rows]
    assert sum(len(row.tokens) + len(new) == 256 for row, new in zip(rows, apart, strict=True)) > 16  # type: ignore[arg-type]
    calls: list[int] = []
    write = generator.lm.generate

    def counted(**kwargs: Any) -> Any:
        ids = kwargs["input_ids"]
        assert ids.shape[1] + kwargs["generation_config"].max_new_tokens <= 256
        calls.append(len(ids))
        return write(**kwargs)

    monkeypatch.setattr(generator.lm, "generate", counted)
    assert generator.continue_tokens(rows, greedy(256)) == apart
    assert len(calls) <= 16 < len(rows)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral-window", "bloom"])
def test_the_same_prefixes_are_read_once_and_nothing_else_changes(
    family: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
):
    """Where every token's keys and values are kept; a window forgets some, so there each row is read."""
    generator = TransformersGenerator(language_model(family, len(tokenizer)), tokenizer)
    rows = [
        ContinuationRequest(tokenizer(text)["input_ids"], 12, 0)
        for text in ("Hi there.", "Count to ten!", "Hi there.", "No, no")
    ]
    apart = [generator.continue_tokens([row], greedy(12))[0] for row in rows]
    read: list[int] = []
    forward = generator.lm.forward

    @functools.wraps(forward)  # transformers asks for its signature
    def counted(*args: Any, **kwargs: Any) -> Any:
        read.append(kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    monkeypatch.setattr(generator.lm, "forward", counted)
    assert generator.continue_tokens(rows, greedy(12)) == apart
    assert (max(read[1:]) <= len(rows)) == (family != "mistral-window")
    monkeypatch.undo()
    sampling = Sampling(temperature=1.0)
    assert generator.continue_tokens(rows, sampling) == generator.continue_tokens(rows, sampling)
    first, _, third, _ = generator.continue_tokens(rows, sampling)
    assert first != third


def language_model(family: str, vocabulary: int) -> Any:
    name, own = {**tiny_models.PACKABLE, **tiny_models.NOT_PACKABLE}[family]
    settings = {**tiny_models.SIZES, **own, "vocab_size": vocabulary, "initializer_range": 0.3, "eos_token_id": 2}
    settings = {key: value for key, value in settings.items() if value is not None}
    config = getattr(transformers, name)(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config)
