"""Batches of rows, and the token that is drawn for each."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openprm.engines.base import ContinuationRequest, Sampling
from openprm.engines.transformers_rows import Continuation, Draw, in_batches
from openprm.errors import InputError


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


def draw(scores: list[list[float]], sampling: Sampling, numbers: list[float]) -> list[int]:
    rows = [Continuation(ContinuationRequest([0], 1, seed)) for seed in range(len(scores))]
    drawing = Draw(rows, 1, sampling)
    drawing.numbers = iter([torch.tensor(numbers, dtype=torch.float64)])
    left = drawing(torch.zeros(len(rows), 1, dtype=torch.long), torch.tensor(scores))
    assert left.isfinite().sum(-1).tolist() == [1] * len(rows)
    return left.argmax(-1).tolist()


def test_a_token_is_where_the_number_falls():
    """Of probabilities 0.1, 0.2, 0, 0.3, 0.4; at temperature 0.5 of their squares, which sum to 0.3."""
    scores = [math.log(p) if p else -math.inf for p in (0.1, 0.2, 0.0, 0.3, 0.4)]
    numbers = [1e-12, 0.09, 0.11, 0.29, 0.31, 0.59, 0.61, 1.0]
    assert draw([scores] * 8, Sampling(temperature=1.0), numbers) == [0, 0, 1, 1, 3, 3, 4, 4]
    numbers = [0.032, 0.034, 0.166, 0.167, 0.466, 0.467]  # borders at 1/30, 5/30, 14/30
    assert draw([scores] * 6, Sampling(temperature=0.5), numbers) == [0, 1, 1, 3, 3, 4]
    numbers = [0.42, 0.43]  # 0.3 and 0.4 are the nucleus of 0.6, and 3/7 their border
    assert draw([scores] * 2, Sampling(temperature=1.0, top_p=0.6), numbers) == [3, 4]


def test_numbers_belong_to_the_seed_and_the_place():
    """Whatever rows stand beside it, and wherever it was interrupted."""
    request = ContinuationRequest([0], 9, 5)
    stream = [*map(float, 1 - np.random.default_rng(5).random(9))]
    whole = Draw([Continuation(request)], 9, Sampling())
    assert [number.item() for number in whole.numbers] == stream
    rest = Draw([Continuation(ContinuationRequest([0], 2, 6)), Continuation(request, [1] * 4)], 3, Sampling())
    assert [row[1].item() for row in rest.numbers] == stream[4:7]


def test_draws_follow_the_probabilities():
    """Of 4000 seeds: within five standard deviations."""
    rows = [Continuation(ContinuationRequest([0], 1, seed)) for seed in range(4000)]
    scores = torch.tensor([0.05, 0.25, 0.7]).log().expand(4000, 3)
    drawn = Draw(rows, 1, Sampling(temperature=1.0))(torch.zeros(4000, 1, dtype=torch.long), scores).argmax(-1)
    found = Counter(drawn.tolist())
    for token, p in enumerate((0.05, 0.25, 0.7)):
        assert abs(found[token] - 4000 * p) < 5 * math.sqrt(4000 * p * (1 - p))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_end_it(temperature: float):
    with pytest.raises(InputError, match="not finite"):
        draw([[0.0, 1.0], [0.0, math.nan]], Sampling(n=1, temperature=temperature), [0.5, 0.5])
