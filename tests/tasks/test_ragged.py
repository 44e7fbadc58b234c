"""Rows of unlike numbers of units."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose

from sktransfer.tasks.ragged import scores_by_row, solve_row_loss

TARGETS = torch.tensor([[0, 1, -1], [1, -1, -1], [0, 0, 1]])


def test_scores_stand_in_their_rows():
    scores = torch.arange(12.0).reshape(6, 2)
    table = scores_by_row(scores, TARGETS)
    assert table.shape == (3, 3, 2)
    assert torch.equal(table[0, :2], scores[:2])
    assert torch.equal(table[1, 0], scores[2])
    assert torch.equal(table[2], scores[3:])
    assert torch.isinf(table[0, 2]).all()


def test_the_solution_is_that_of_a_quadratic():
    # A loss with a known minimum: ridge regression of each row's first unit.
    features = np.random.default_rng(0).normal(size=(6, 2))
    wanted = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)

    def loss(scores, inputs, targets):
        return (scores_by_row(scores, targets)[:, 0, 0] - wanted) ** 2

    weights = np.array([1.0, 2.0, 1.0])
    found = solve_row_loss(loss, features, TARGETS, weights, n_outputs=1, C=0.5)
    X = features[[0, 2, 3]]
    gram = 2 * X.T @ (weights[:, None] * X) + np.eye(2) / 0.5
    expected = np.linalg.solve(gram, 2 * X.T @ (weights * wanted.numpy()))
    assert_allclose(found.coef[0], expected, rtol=1e-4)
    assert found.intercept.tolist() == [0.0]
