"""Logistic regression on fixed features, on the CPU or on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

_MAX_ITER = 1000
# Smaller problems are solved faster on the CPU than they are launched on a GPU.
_FEW_PRODUCTS = 4_000_000


def logistic_regression(
    features: Any,
    codes: NDArray[np.int64],
    weights: NDArray[np.float64],
    *,
    C: float,
    tol: float,
    device: torch.device | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Multinomial logistic regression, or that of the second class against the first.

    Parameters
    ----------
    features : array or sparse matrix of shape (n_rows, n_features)
    codes : ndarray of int, shape (n_rows,)
        Classes, at least two, numbered in any way.
    weights : ndarray of shape (n_rows,)
        Weight of each row.
    C : float
        Inverse of the regularization strength.
    tol : float
        Largest component of the gradient at the solution.
    device : torch.device, default=None
        A GPU that solves what is dense; None is the CPU.

    Returns
    -------
    coef : ndarray of shape (n_classes, n_features), or (1, n_features) for two classes
    intercept : ndarray of shape (n_classes,) or (1,)

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.tasks import logistic_regression
    >>> features = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> codes = np.array([0, 0, 1, 1])
    >>> coef, intercept = logistic_regression(features, codes, np.ones(4), C=1.0, tol=1e-6)
    >>> coef.round(2), intercept.round(2)
    (array([[0.96]]), array([-1.44]))
    """
    n_products = features.shape[0] * features.shape[1] * len(np.unique(codes))
    if device is not None and isinstance(features, np.ndarray) and n_products > _FEW_PRODUCTS:
        moved = torch.from_numpy(features).to(device, torch.float64)
        return _solved_on_device(moved, codes, weights, C, tol)
    # On sparse columns ten times as fast as L-BFGS, and nearer to the minimum at the same tol.
    solver = LogisticRegression(C=C, max_iter=_MAX_ITER, tol=tol, solver="newton-cg")
    solver.fit(features, codes, sample_weight=weights)
    return solver.coef_, solver.intercept_


def _solved_on_device(
    features: Tensor,
    codes: NDArray[np.int64],
    weights: NDArray[np.float64],
    C: float,
    tol: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The minimum that scikit-learn's solver finds, of the same objective."""
    present, numbers = np.unique(codes, return_inverse=True)
    n_outputs = 1 if len(present) == 2 else len(present)
    device, n_columns = features.device, features.shape[1] + 1
    targets = torch.from_numpy(numbers).to(device)
    wanted = targets[:, None].double() if n_outputs == 1 else functional.one_hot(targets).double()
    shares = torch.from_numpy(weights / weights.sum()).to(device)[:, None]
    penalty = 1 / (C * float(weights.sum()))

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        # Classes run fastest, as in scikit-learn.
        solution = torch.from_numpy(flat).to(device).view(n_columns, n_outputs)
        coef, intercept = solution[:-1], solution[-1]
        raw = torch.addmm(intercept, features, coef)
        if n_outputs == 1:
            losses, expected = functional.softplus(raw) - wanted * raw, torch.sigmoid(raw)
        else:
            losses = raw.logsumexp(1, keepdim=True) - (wanted * raw).sum(1, keepdim=True)
            expected = raw.softmax(1)
        errors = shares * (expected - wanted)
        value = (shares * losses).sum() + penalty / 2 * (coef**2).sum()
        slope = torch.cat([features.T @ errors + penalty * coef, errors.sum(0, keepdim=True)])
        both = torch.cat([value.view(1), slope.view(-1)]).cpu().numpy()
        return float(both[0]), both[1:]

    found = minimize(
        objective,
        np.zeros(n_columns * n_outputs),
        method="L-BFGS-B",
        jac=True,
        options={
            "maxiter": _MAX_ITER,
            "maxls": 50,
            "gtol": tol / 10,  # L-BFGS stops further from the minimum than Newton's method
            "ftol": np.finfo(float).eps,
        },
    )
    solution = found.x.reshape(n_columns, n_outputs)
    return solution[:-1].T, solution[-1]
