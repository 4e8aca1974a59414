"""Numbers with intervals by resampling prompts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.evaluation.bootstrap import DRAWS, difference, draw_weights, estimate, mean, weighted_sum

VALUES = st.lists(st.floats(-5, 5), min_size=1, max_size=8)


@given(VALUES, st.lists(st.integers(0, 7)))
def test_each_item_once_is_the_mean(values: list[float], missing: list[int]):
    some = [np.nan if i in missing else value for i, value in enumerate(values)]
    of, n = mean(some)
    there = [value for value in some if value == value]
    [found] = of(np.ones((1, len(some))))
    assert n == len(there)
    assert np.isnan(found) if not there else found == pytest.approx(np.mean(there))


@given(VALUES, st.integers(0, 3))
def test_weights_repeat_items(values: list[float], seed: int):
    weights = np.random.default_rng(seed).integers(0, 3, (5, len(values)))
    of, _ = mean(values)
    for found, drawn in zip(of(weights), weights, strict=True):
        repeated = np.repeat(values, drawn)
        assert np.isnan(found) if not len(repeated) else found == pytest.approx(repeated.mean())


@given(st.lists(st.sampled_from("abc"), min_size=1), st.integers(0, 3))
def test_items_of_one_prompt_are_drawn_together(clusters: list[str], seed: int):
    weights = draw_weights(clusters, seed)
    assert weights.shape == (DRAWS + 1, len(clusters))
    assert (weights[0] == 1).all()
    first = {cluster: clusters.index(cluster) for cluster in clusters}
    assert all((weights[:, i] == weights[:, first[cluster]]).all() for i, cluster in enumerate(clusters))
    assert (weights[1:, [*first.values()]].sum(axis=1) == len(first)).all()
    assert (weights == draw_weights(clusters, seed)).all()


def test_no_items():
    weights = draw_weights([])
    assert weights.shape == (DRAWS + 1, 0)
    of, n = mean([])
    assert n == 0
    assert np.isnan(of(weights)).all()
    assert np.isnan([estimate([of(weights)])["value"], estimate([of(weights)])["low"]]).all()


@given(VALUES)
def test_a_model_does_not_differ_from_itself(values: list[float]):
    drawn = mean(values)[0](draw_weights(range(len(values))))
    none = difference([drawn], [drawn])
    assert (none["value"], none["seeds"]) == (0, [])
    assert np.isnan([none["low"], none["high"]]).all()  # no spread, no interval
    found = estimate([drawn])
    if not np.isnan(found["low"]):
        assert min(values) - 1e-9 <= found["low"] <= found["high"] <= max(values) + 1e-9


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(size=400)
    found = estimate([mean(values)[0](draw_weights(range(400)))])
    error = values.std() / 20
    assert found["value"] == pytest.approx(values.mean())
    assert (found["low"], found["high"]) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.3 * error
    )


def test_items_of_one_prompt_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).normal(size=50), 8)
    alone, together = (
        estimate([mean(values)[0](draw_weights(clusters))]) for clusters in (range(400), np.repeat(range(50), 8))
    )
    assert together["high"] - together["low"] > 2 * (alone["high"] - alone["low"])  # sqrt(8) in the limit


def test_paired_differences_are_narrower_than_the_numbers():
    draws = draw_weights(range(200))
    hard = np.random.default_rng(0).normal(size=200)
    more = 0.5 + 0.01 * np.random.default_rng(1).normal(size=200)
    one, other = (mean(values)[0](draws) for values in (hard + more, hard))
    found = difference([one], [other])
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.5, 0.5, 0.5), abs=0.01)


def test_seeds_are_averaged_and_paired():
    found = estimate([np.array([1.0, 2.0, 4.0]), np.array([3.0, 2.0, 2.0])])
    assert found == {"value": 2, "low": pytest.approx(2.025), "high": pytest.approx(2.975), "seeds": [1, 3]}
    assert difference([np.array([1.0, 1.0]), np.array([3.0, 3.0])], [np.array([0.5, 0.5])])["seeds"] == [0.5, 2.5]
    two = [np.array([1.0, 1.0]), np.array([3.0, 3.0])]
    assert difference(two, two[::-1])["seeds"] == [-2, 2]


def test_draws_without_the_items_are_left_out():
    found = estimate([np.array([1.0, np.nan, 0.0, 2.0])])
    assert (found["value"], found["low"], found["high"]) == pytest.approx((1.0, 0.05, 1.95))


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=6))
def test_a_sum_of_numbers(rows: list[tuple[float, float]]):
    draws = draw_weights(range(len(rows)), draws=5)
    one, other = (mean(column)[0] for column in zip(*rows, strict=True))
    assert weighted_sum([(one, 0.25), (other, -2)])(draws) == pytest.approx(0.25 * one(draws) - 2 * other(draws))
