"""One or several real numbers per row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from torch import Tensor
from torch.nn import functional

from sktransfer.inputs import EncodedRows
from sktransfer.tasks.protocol import LinearWeights

LOSSES = ("squared_error", "huber", "absolute_error")
# Residuals, in units of the target's scale, beyond which Huber's loss is linear.
_HUBER_DELTA = 1.0
_REWEIGHTINGS = 20
_LEAST_RESIDUAL = 1e-2
# The square of a larger standardized target is infinite in the float32 of the network.
_MOST_STANDARDIZED = 1e18


class RegressionTask:
    """Real targets, standardized.

    Parameters
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Targets that set center and scale: mean and standard deviation for the squared error,
        median and quartiles for the robust losses, which one outlier must not move.
    weights : ndarray of shape (n_rows,)
        Weight of each row: two rows equal one of twice the weight.
    loss : {"squared_error", "huber", "absolute_error"}
        Loss of the standardized targets.
    """

    refit_c = 1.0

    def __init__(self, y: NDArray[np.float64], weights: NDArray[np.float64], *, loss: str) -> None:
        self.loss_name = loss
        self.is_flat = y.ndim == 1
        columns = y.reshape(len(y), -1)
        if loss == "squared_error":
            self.center = np.average(columns, axis=0, weights=weights)
            self.scale = np.sqrt(np.average((columns - self.center) ** 2, axis=0, weights=weights))
        else:
            low, self.center, high = (
                np.array([_quantile(column, weights, share) for column in columns.T])
                for share in (0.25, 0.5, 0.75)
            )
            self.scale = (high - low) / 1.349  # a normal distribution's standard deviation
        spread = np.ptp(columns, axis=0)
        self.scale = np.where(self.scale > 1e-12 * np.abs(self.center), self.scale, spread)
        self.scale = np.where(self.scale > 0, self.scale, 1.0)

    @property
    def n_outputs(self) -> int:
        """Number of targets per row."""
        return len(self.center)

    def check(self, y: NDArray[np.float64], *, name: str = "y") -> None:
        """Raise a `ValueError` for another number of outputs, or a row far beyond the others."""
        columns = y.reshape(len(y), -1)
        if columns.shape[1] != self.n_outputs:
            raise ValueError(
                f"{name} has {columns.shape[1]} numbers per row, but y has {self.n_outputs}."
            )
        with np.errstate(over="ignore"):  # an infinite distance is too far as well
            distance = np.abs(columns - self.center) / self.scale
        if distance.max() > _MOST_STANDARDIZED:
            row, column = np.unravel_index(int(distance.argmax()), columns.shape)
            raise ValueError(
                f"{name} has {columns[row, column]:g} in row {row}, {distance[row, column]:.0e} "
                "times as far from the other targets as they spread: correct the row, or bring "
                "the targets onto a scale such as their logarithm's."
            )

    def encode(self, y: NDArray[np.float64], rows: EncodedRows | None = None) -> Tensor:
        """Standardized targets (n_rows, n_outputs)."""
        standardized = (y.reshape(len(y), -1) - self.center) / self.scale
        return torch.from_numpy(standardized.astype(np.float32))

    def decode(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores in the unit of the targets."""
        y = scores.astype(np.float64) * self.scale + self.center
        return y[:, 0] if self.is_flat else y

    def loss(self, scores: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        """Loss of each row, the mean of its outputs."""
        if self.loss_name == "squared_error":
            losses = functional.mse_loss(scores, targets, reduction="none")
        elif self.loss_name == "huber":
            losses = functional.huber_loss(scores, targets, reduction="none", delta=_HUBER_DELTA)
        else:
            losses = functional.l1_loss(scores, targets, reduction="none")
        return losses.mean(dim=1)

    def solve(
        self,
        features: Any,
        targets: Tensor,
        weights: NDArray[np.float64],
        *,
        C: float,
        device: torch.device | None = None,
    ) -> LinearWeights:
        """Ridge regression; for the robust losses with rows reweighted by their residuals.

        Iteratively reweighted least squares (Holland and Welsch, 1977) minimizes Huber's loss
        or the absolute error, as the weight of a row falls with the inverse of its residual.
        """
        y = targets.double().numpy()
        if self.loss_name == "squared_error":
            return _ridge(features, y, weights, C)
        outputs = [self._solve_robustly(features, column, weights, C) for column in y.T]
        return LinearWeights(
            np.concatenate([output.coef for output in outputs]),
            np.concatenate([output.intercept for output in outputs]),
        )

    def _solve_robustly(
        self, features: Any, y: NDArray[np.float64], weights: NDArray[np.float64], C: float
    ) -> LinearWeights:
        least = _HUBER_DELTA if self.loss_name == "huber" else _LEAST_RESIDUAL
        factors = np.ones(len(y))
        for _ in range(_REWEIGHTINGS):
            solution = _ridge(features, y[:, None], weights * factors, C)
            residuals = np.abs(solution.scores(features)[:, 0] - y)
            factors = _HUBER_DELTA / np.maximum(residuals, least)
        return solution

    def score(self, scores: NDArray[np.float32], targets: Tensor) -> float:
        """Coefficient of determination, the mean of the outputs."""
        return float(r2_score(targets.numpy(), scores))

    def blend(
        self, scores: NDArray[np.float32], lexical: NDArray[np.float32], weight: float
    ) -> NDArray[np.float32]:
        """Weighted mean."""
        share = np.float32(weight)
        return np.asarray((1 - share) * scores + share * lexical)


def _ridge(
    features: Any, y: NDArray[np.float64], weights: NDArray[np.float64], C: float
) -> LinearWeights:
    solver = Ridge(alpha=1 / C, tol=1e-6)
    solver.fit(features, y, sample_weight=weights)
    coef = np.asarray(solver.coef_, dtype=np.float32).reshape(y.shape[1], -1)
    return LinearWeights(coef, np.atleast_1d(solver.intercept_).astype(np.float32))


def _quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    """Weighted quantile: the first value at which the weights below reach `share`."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) >= share * weights.sum()
    return float(values[order][int(np.argmax(reached))])
