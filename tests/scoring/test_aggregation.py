import pytest
from hypothesis import given
from hypothesis import strategies as st

from openprm.scoring.aggregation import AGGREGATIONS, DYNAMIC_COEFFICIENT, aggregate

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
    for aggregation in AGGREGATIONS:
        assert aggregate([reward], aggregation) == pytest.approx(reward)


def test_no_steps_and_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no step"):
        aggregate([])
    with pytest.raises(ValueError, match="choose one of"):
        aggregate([1.0], "median")
