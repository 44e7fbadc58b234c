"""Any number of labels per row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

from sktransfer.tasks import MultilabelTask

Y = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 1]])
ONES = np.ones(4)


def task(weights: list[list[float]] | None = None) -> MultilabelTask:
    return MultilabelTask(np.ones((2, 3)) if weights is None else np.array(weights))


def test_loss_is_the_weighted_cross_entropy():
    scores = torch.tensor([[0.0, 0.0, 0.0]])
    targets = torch.tensor([[1, 0, 1]])
    assert_allclose(task().loss(scores, scores, targets), 3 * np.log(2), rtol=1e-6)
    weighted = task([[1, 5, 1], [2, 1, 3]]).loss(scores, scores, targets)
    assert_allclose(weighted, (2 + 5 + 3) * np.log(2), rtol=1e-6)


def test_solution_is_a_logistic_regression_a_label():
    X = np.random.default_rng(0).normal(size=(4, 2))
    solution = task().solve(X, task().encode(Y), ONES, C=2.0)
    for label in (0, 1):
        single = LogisticRegression(C=2.0, tol=1e-6).fit(X, Y[:, label])
        assert_allclose(solution.coef[label], single.coef_[0], rtol=1e-2, atol=1e-3)
    # Every row has the last label: likely, whatever the features are.
    assert_array_equal(solution.coef[2], 0)
    assert solution.intercept[2] > 2


def test_decisions():
    scores = np.array([[0.1, -0.1, 3.0]], dtype=np.float32)
    assert_array_equal(task().decode(scores), [[1, 0, 1]])
    assert_allclose(np.exp(task().log_probabilities(scores)), task().probabilities(scores))
    assert task().score(scores, torch.tensor([[1, 0, 1]])) == 1.0
    assert task().score(-scores, torch.tensor([[1, 0, 1]])) == 0.0


@pytest.mark.parametrize("y", [Y[:, :2], Y[:, 0]])
def test_other_labels_are_an_error(y):
    with pytest.raises(ValueError, match=r"^y_val must have .* 3 labels, got [12] column"):
        task().check(y, name="y_val")
