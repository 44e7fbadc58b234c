"""Rows with different numbers of units: padded scores and linear models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from sktransfer.tasks.protocol import LinearWeights

_MOST_ITERATIONS = 500


def scores_by_row(scores: Tensor, targets: Tensor) -> Tensor:
    """Scores (n_rows, most_units, n_outputs) of (n_units, n_outputs), else minus infinity.

    Parameters
    ----------
    scores : Tensor of shape (n_units, n_outputs)
        In the order of the rows.
    targets : Tensor of shape (n_rows, most_units)
        Negative where a row has no unit.
    """
    is_unit = (targets >= 0).unsqueeze(2)
    empty = scores.new_full((*targets.shape, scores.shape[1]), -torch.inf)
    return empty.masked_scatter(is_unit, scores)


def solve_row_loss(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    features: NDArray[np.float64],
    targets: Tensor,
    weights: NDArray[np.float64],
    *,
    n_outputs: int,
    C: float,
) -> LinearWeights:
    """Linear scores of least regularized loss, without intercept.

    What is added to all units of a row changes no share of them.

    Parameters
    ----------
    loss : callable
        ``loss(scores, features, targets)`` gives the loss of each row, convex in the scores.
    features : ndarray of shape (n_units, n_features)
        In the order of the rows.
    targets : Tensor of shape (n_rows, most_units)
        Targets of the rows.
    weights : ndarray of shape (n_rows,)
        Weight of each row: two rows equal one of twice the weight.
    n_outputs : int
        Scores a unit.
    C : float
        Inverse of the regularization strength.
    """
    inputs, row_weights = torch.from_numpy(features), torch.from_numpy(weights)
    total_weight = weights.sum()

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        coef = torch.tensor(flat.reshape(n_outputs, -1), requires_grad=True)
        losses = loss(inputs @ coef.T, inputs, targets)
        # The mean, so that the tolerance does not depend on the number of rows.
        total = ((losses * row_weights).sum() + coef.square().sum() / (2 * C)) / total_weight
        (gradient,) = torch.autograd.grad(total, coef)
        return total.item(), gradient.numpy().ravel()

    found = minimize(
        objective,
        np.zeros(n_outputs * features.shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MOST_ITERATIONS, "ftol": 1e-12, "gtol": 1e-6},
    )
    coef = found.x.reshape(n_outputs, -1).astype(np.float32)
    return LinearWeights(coef, np.zeros(n_outputs, dtype=np.float32))
