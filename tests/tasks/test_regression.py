"""Real targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from sktransfer.tasks import LOSSES, RegressionTask

Y = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])
ONES = np.ones(len(Y))


def features(n_features: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(Y), n_features))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("y", [Y, Y[:, None], np.stack([Y, -10 * Y], axis=1)])
def test_decode_undoes_encode(loss, y):
    task = RegressionTask(y, ONES, loss=loss)
    decoded = task.decode(task.encode(y).numpy())
    assert decoded.shape == y.shape
    assert_allclose(decoded, y, rtol=1e-5)


def test_squared_error_has_unit_variance():
    targets = RegressionTask(Y, ONES, loss="squared_error").encode(Y)
    assert_allclose(targets.mean(), 0, atol=1e-6)
    assert_allclose(targets.std(correction=0), 1, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_of_two_is_the_row_twice(loss):
    weights = ONES.copy()
    weights[2] = 2
    weighted = RegressionTask(Y, weights, loss=loss)
    twice = RegressionTask(np.append(Y, Y[2]), np.ones(len(Y) + 1), loss=loss)
    assert_allclose(weighted.center, twice.center)
    assert_allclose(weighted.scale, twice.scale)


@pytest.mark.parametrize("loss", ["huber", "absolute_error"])
def test_an_outlier_does_not_move_a_robust_scale(loss):
    clean, spoilt = np.arange(50.0), np.arange(50.0)
    spoilt[-1] = 1e6
    tasks = [RegressionTask(y, np.ones(50), loss=loss) for y in (clean, spoilt)]
    assert_allclose(tasks[0].center, tasks[1].center)
    assert_allclose(tasks[0].scale, tasks[1].scale)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_constant_target_has_a_scale(loss):
    y = np.full(5, 7.0)
    task = RegressionTask(y, np.ones(5), loss=loss)
    assert_allclose(task.scale, 1)
    assert_allclose(task.decode(np.zeros((2, 1), np.float32)), 7.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_target_of_mostly_one_value_has_a_scale(loss):
    y = np.array([0.0] * 20 + [1.0, 5.0])
    assert RegressionTask(y, np.ones(22), loss=loss).scale.min() > 0


def test_targets_of_other_outputs_are_refused():
    task = RegressionTask(np.stack([Y, Y], axis=1), ONES, loss="huber")
    task.check(np.ones((3, 2)))
    for y in (np.ones(3), np.ones((3, 1)), np.ones((3, 3))):
        with pytest.raises(ValueError, match=r"^y_val has [13] numbers per row, but y has 2"):
            task.check(y, name="y_val")


@pytest.mark.parametrize("loss", LOSSES)
def test_targets_that_the_network_cannot_hold_are_refused(loss):
    task = RegressionTask(np.stack([Y, 1e-9 * Y], axis=1), ONES, loss=loss)
    task.check(np.array([[1e15, 0.0]]))
    for value in (1e12, -1e140):
        with pytest.raises(ValueError, match=r"^y has .* in row 1, .*times as far"):
            task.check(np.array([[1.0, 0.0], [1.0, value]]))


def test_losses():
    scores, targets = torch.tensor([[0.0], [0.0]]), torch.tensor([[0.5], [3.0]])
    expected = {
        "squared_error": [0.25, 9.0],
        "huber": [0.125, 2.5],
        "absolute_error": [0.5, 3.0],
    }
    for loss in LOSSES:
        found = RegressionTask(Y, ONES, loss=loss).loss(scores, scores, targets)
        assert_allclose(found, expected[loss])


def test_solution_is_ridge():
    X, task = features(), RegressionTask(Y, ONES, loss="squared_error")
    targets = task.encode(Y)
    solution = task.solve(X, targets, ONES, C=0.5)
    ridge = Ridge(alpha=2.0).fit(X, targets[:, 0].numpy())
    assert_allclose(solution.coef[0], ridge.coef_, rtol=1e-4)
    assert_allclose(solution.intercept[0], ridge.intercept_, atol=1e-6)


@pytest.mark.parametrize("loss", ["huber", "absolute_error"])
def test_a_robust_solution_follows_the_many(loss):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(200, 2))
    y = X @ [1.0, -2.0] + 0.05 * generator.normal(size=200)
    spoilt = y.copy()
    spoilt[:20] += 100
    errors = {}
    for name in ("squared_error", loss):
        task = RegressionTask(spoilt, np.ones(200), loss=name)
        solution = task.solve(X, task.encode(spoilt), np.ones(200), C=1e4)
        errors[name] = np.abs(task.decode(solution.scores(X))[20:] - y[20:]).mean()
    assert errors[loss] < 0.5 < errors["squared_error"]


def test_score_is_r2_and_blend_an_average():
    task = RegressionTask(Y, ONES, loss="squared_error")
    targets = task.encode(Y)
    assert task.score(targets.numpy(), targets) == 1.0
    assert_allclose(task.score(np.zeros((8, 1)), targets), 0, atol=1e-6)
    assert_allclose(task.blend(np.ones((2, 1)), np.zeros((2, 1)), 0.25), 0.75)
