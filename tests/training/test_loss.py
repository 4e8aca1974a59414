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
        assert pair_loss(c, r, w, m, centering).item() == pytest.approx(expected, abs=tolerance)


def test_label_smoothing_by_hand():
    # d = log 3 less the margin of 0: sigmoid(d) = 3/4, so l(d) = log 4/3 and l(-d) = log 4
    one, chosen = torch.ones(1, dtype=torch.float64), torch.tensor([math.log(3)], dtype=torch.float64)
    loss = pair_loss(chosen, 0 * one, 2 * one, 0 * one, smoothing=0.1)
    assert loss.item() == pytest.approx(2 * (0.9 * math.log(4 / 3) + 0.1 * math.log(4)))
    # a margin is within d: here d = log 3 - log 9 = -log 3
    loss = pair_loss(chosen, 0 * one, one, math.log(9) * one, smoothing=0.1)
    assert loss.item() == pytest.approx(0.9 * math.log(4) + 0.1 * math.log(4 / 3))
    # least at sigmoid(d) = 1 - e: d = log 9
    far = torch.tensor([math.log(9)], dtype=torch.float64, requires_grad=True)
    pair_loss(far, 0 * one, one, 0 * one, smoothing=0.1).backward()
    assert far.grad is not None
    assert far.grad.item() == pytest.approx(0, abs=1e-12)


def test_a_plateau_is_a_fifth_of_the_way_from_chance_to_the_least_loss():
    assert plateau_loss() == pytest.approx(0.5545, abs=1e-4)
    # at e = 1/4 the least loss is log 4 - 3/4 log 3 = 0.5623
    assert plateau_loss(0.25) == pytest.approx(0.8 * 0.6931 + 0.2 * 0.5623, abs=1e-4)
    assert plateau_loss(0.5) == pytest.approx(math.log(2))


def test_the_loss_stays_finite_where_rewards_are_far_apart():
    one, far = torch.ones(1), torch.tensor([1e4], requires_grad=True)
    loss = pair_loss(-far, far, one, 0 * one)
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert far.grad is not None
    assert far.grad.item() == pytest.approx(2.0)


def test_metrics_by_level_and_source_and_a_tie_is_wrong():
    rewards = np.array([[2.0, 1.0], [1.0, 1.0], [0.0, 1.0], [5.0, -5.0]], dtype=np.float32)
    ids = np.array([[0, 0], [0, 1], [2, 1], [2, 1]])
    terms = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.0], [0.5, 0.0]], dtype=np.float32)
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
    metrics = pair_metrics(np.array([[1.0, 0.0]]), np.array([[0, 0]]), np.zeros((1, 2)), ["math"])
    assert metrics == {"accuracy": 1.0, "accuracy_process": 1.0, "accuracy_source_math": 1.0}
