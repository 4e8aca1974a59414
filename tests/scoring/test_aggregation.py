import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.scoring.aggregation import (
    AGGREGATIONS,
    DYNAMIC_COEFFICIENT,
    aggregate,
    aggregations_of,
    log_sigmoid,
    score_unit,
)
from openprm.scoring.units import UNITS

REWARDS = [1.0, -1.0, 3.0, 0.0]


@pytest.mark.parametrize(
    ("aggregation", "score"),
    [
        ("min", -1.0),
        ("max", 3.0),
        ("mean", 0.75),
        ("last", 0.0),
        ("weighted", (1 * 1 / 4 - 1 * 2 / 4 + 3 * 3 / 4 + 0) / 4),
        ("weighted_normalized", (1 - 2 + 9 + 0) / 10),
        ("dynamic", 0.75 - DYNAMIC_COEFFICIENT * 2.1875),
        ("min_delta", -3.0),
        ("max_delta", 4.0),
    ],
)
def test_aggregations_by_hand(aggregation, score):
    assert aggregate(REWARDS, aggregation) == pytest.approx(score)
    assert aggregate(REWARDS) == -1.0


def test_the_weighted_mean_as_printed_is_not_normalized():
    assert aggregate([-2.0] * 20, "weighted") == pytest.approx(-1.05)
    assert aggregate([-2.0] * 20, "weighted_normalized") == pytest.approx(-2.0)


@given(reward=st.floats(-1e6, 1e6))
def test_one_step_has_its_reward_as_score(reward):
    for aggregation in aggregations_of("strength"):
        assert aggregate([reward], aggregation) == pytest.approx(reward)


def test_no_steps_and_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no step"):
        aggregate([])
    with pytest.raises(ValueError, match="choose one of"):
        aggregate([1.0], "median")


@given(st.lists(st.floats(-30, 30), min_size=1))
def test_prod_is_the_probability_that_all_steps_are_right(rewards):
    expected = math.prod(1 / (1 + math.exp(-reward)) for reward in rewards)
    assert math.exp(aggregate(rewards, "prod")) == pytest.approx(expected)


def test_prod_neither_overflows_nor_vanishes():
    assert aggregate([0.0, 0.0, 0.0], "prod") == pytest.approx(-3 * math.log(2))
    assert aggregate([-1000.0, 1000.0], "prod") == -1000.0
    assert (log_sigmoid(-math.inf), log_sigmoid(math.inf)) == (-math.inf, 0.0)


def test_units_say_which_aggregations_there_are():
    assert aggregations_of("log-odds") == list(AGGREGATIONS)
    for unit in UNITS:
        assert [score_unit(one, unit) for one in ("min", "last")] == [unit] * 2
        if unit != "log-odds":
            assert {*AGGREGATIONS} - {*aggregations_of(unit)} == {"prod"}
            with pytest.raises(ValueError, match=f"which rewards of the unit '{unit}' do not give; choose another"):
                score_unit("prod", unit)
    assert score_unit("prod", "log-odds") == "log-probability"
    with pytest.raises(ValueError, match="unknown unit 'logit' of rewards; it is one of strength, log-odds"):
        score_unit("min", "logit")
    with pytest.raises(ValueError, match="unknown aggregation 'median'"):
        score_unit("median", "strength")
