import math

import numpy as np
import pytest
import torch

from openprm.training.loss import pair_loss, pair_metrics, plateau_loss


def log_sigmoid(value: float) -> float:
    return -math.log1p(math.exp(-value))


def test_the_loss_is_the_closed_formula():
    chosen, rejected = [1.5, -0.25, 3.0], [0.5, 0.75, -2.0]
    weights, margins, centering = [1.0, 0.5, 2.0], [0.0, 0.4, 1.2], 0.01
    expected = sum(
        w * (-log_sigmoid(c - r - m) + centering * (c + r) ** 2)
        for c, r, w, m in zip(chosen, rejected, weights, margins, strict=True)
    )
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        c, r, w, m = (torch.tensor(values, dtype=dtype) for values in (chosen, rejected, weights, margins))
        assert pair_loss(c, r, w, m, torch.ones_like(c), centering=centering).item() == pytest.approx(
            expected, abs=tolerance
        )


def test_label_smoothing_by_hand():
    # d = log 3 less the margin of 0: sigmoid(d) = 3/4, so l(d) = log 4/3 and l(-d) = log 4
    one, chosen = torch.ones(1, dtype=torch.float64), torch.tensor([math.log(3)], dtype=torch.float64)
    loss = pair_loss(chosen, 0 * one, 2 * one, 0 * one, 0.9 * one)
    assert loss.item() == pytest.approx(2 * (0.9 * math.log(4 / 3) + 0.1 * math.log(4)))
    # a margin is within d: here d = log 3 - log 9 = -log 3
    loss = pair_loss(chosen, 0 * one, one, math.log(9) * one, 0.9 * one)
    assert loss.item() == pytest.approx(0.9 * math.log(4) + 0.1 * math.log(4 / 3))
    # least at sigmoid(d) = 1 - e: d = log 9
    far = torch.tensor([math.log(9)], dtype=torch.float64, requires_grad=True)
    pair_loss(far, 0 * one, one, 0 * one, 0.9 * one).backward()
    assert far.grad is not None
    assert far.grad.item() == pytest.approx(0, abs=1e-12)


def test_a_point_is_a_pair_with_nothing():
    """Its loss is the cross-entropy of its label, or the squared error of its probability; a pair beside it stays."""
    rewards = torch.tensor([math.log(3), 2.0, -1.0], dtype=torch.float64)  # sigmoid(log 3) = 3/4
    rejected = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    targets = torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64)
    points = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    weights = torch.ones(3, dtype=torch.float64)
    pair = -log_sigmoid(1.0)
    cross = [-0.5 * math.log(3 / 4) - 0.5 * math.log(1 / 4), -log_sigmoid(1.0)]
    loss = pair_loss(rewards, rejected, weights, 0 * weights, targets, points)
    assert loss.item() == pytest.approx(pair + sum(cross))
    square = [(3 / 4 - 0.5) ** 2, (1 / (1 + math.e)) ** 2]
    loss = pair_loss(rewards, rejected, weights, 0 * weights, targets, points, squared=True, centering=0.5)
    assert loss.item() == pytest.approx(pair + sum(square) + 0.5 * 3.0**2), "only the pair is centered"


def test_metrics_of_points():
    rewards = np.array([[2.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    terms = np.array([[1.0, 0.0, 0.75, 1.0], [1.0, 0.0, 0.25, 1.0], [1.0, 0.0, 0.5, 1.0]])
    metrics = pair_metrics(rewards, np.array([[3, 0]] * 3), terms, ["math"])
    assert metrics["accuracy_point"] == pytest.approx(2 / 3), "an even target is none above a half"


def test_a_plateau_of_points_is_near_the_loss_of_their_mean():
    targets, points = np.array([1.0, 1.0, 1.0, 0.0]), np.ones(4)
    chance = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert plateau_loss(targets, points) == pytest.approx(0.8 * chance)
    assert plateau_loss(targets, points, squared=True) == pytest.approx(0.8 * 0.75 * 0.25)
    soft = np.array([0.75, 0.75, 0.75, 0.75])
    assert plateau_loss(soft, points) == pytest.approx(chance), "there is nothing to learn but the mean"


def test_a_plateau_is_a_fifth_of_the_way_from_chance_to_the_least_loss():
    assert plateau_loss(np.ones(3)) == pytest.approx(0.5545, abs=1e-4)
    # at e = 1/4 the least loss is log 4 - 3/4 log 3 = 0.5623
    assert plateau_loss(np.full(3, 0.75)) == pytest.approx(0.8 * 0.6931 + 0.2 * 0.5623, abs=1e-4)
    assert plateau_loss(np.full(3, 0.5)) == pytest.approx(math.log(2))


def test_the_loss_stays_finite_where_rewards_are_far_apart():
    one, far = torch.ones(1), torch.tensor([1e4], requires_grad=True)
    loss = pair_loss(-far, far, one, 0 * one, one)
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert far.grad is not None
    assert far.grad.item() == pytest.approx(2.0)


def test_metrics_by_level_and_source_and_a_tie_is_wrong():
    rewards = np.array([[2.0, 1.0], [1.0, 1.0], [0.0, 1.0], [5.0, -5.0]], dtype=np.float32)
    ids = np.array([[0, 0], [0, 1], [2, 1], [2, 1]])
    terms = np.array([[weight, 0.0, 1.0, 0.0] for weight in (1.0, 1.0, 0.5, 0.5)], dtype=np.float32)
    metrics = pair_metrics(rewards, ids, terms, ["math", "open", "absent"])
    loss = -(log_sigmoid(1) + log_sigmoid(0) + 0.5 * log_sigmoid(-1) + 0.5 * log_sigmoid(10)) / 3
    assert metrics == {
        "loss": pytest.approx(loss),
        "accuracy": 0.5,
        "accuracy_outcome": 0.5,
        "accuracy_process": 0.5,
        "accuracy_source_math": 1.0,
        "accuracy_source_open": pytest.approx(1 / 3),
    }


def test_metrics_of_pairs_without_weight_have_no_loss():
    metrics = pair_metrics(np.array([[1.0, 0.0]]), np.array([[0, 0]]), np.zeros((1, 4)), ["math"])
    assert metrics == {"accuracy": 1.0, "accuracy_process": 1.0, "accuracy_source_math": 1.0}
