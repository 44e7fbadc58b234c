"""One right choice among those of a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from sktransfer.inputs import EncodedRows
from sktransfer.tasks._protocol import LinearWeights


class ChoiceTask:
    """One score for each choice; the softmax over the choices of a row is their probability.

    The conditional logit model of discrete choice: D. McFadden, "Conditional logit analysis of
    qualitative choice behavior", in Frontiers in Econometrics, 1974.

    Parameters
    ----------
    n_choices : int
        Most choices of a row.
    """

    n_outputs = 1
    refit_c = 1.0

    def __init__(self, n_choices: int) -> None:
        self.classes = np.arange(n_choices)

    def encode(self, y: NDArray[np.int64], rows: EncodedRows) -> Tensor:
        """Flags (n_rows, most choices there are): 1 right, 0 wrong, -1 absent.

        The choices of a row come in order and without gaps.
        """
        assert rows.units is not None
        counts = rows.n_units
        flags = np.full((len(rows), counts.max()), -1)
        is_right = rows.units.source[:, 0] == np.repeat(y, counts)
        flags[np.arange(flags.shape[1]) < counts[:, None]] = is_right
        return torch.from_numpy(flags)

    def loss(self, scores: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each row over its choices."""
        log_shares = torch.log_softmax(_by_row(scores, targets), dim=1)
        return -log_shares.gather(1, targets.argmax(dim=1, keepdim=True)).squeeze(1)

    def solve(
        self, features: Any, targets: Tensor, weights: NDArray[np.float64], *, C: float
    ) -> LinearWeights:
        """Conditional logit, without intercept: what all choices share moves no probability.

        Parameters
        ----------
        features : array or sparse matrix of shape (n_units, n_features)
            Fixed features of the choices, in the order of the rows.
        targets : Tensor of shape (n_rows, most choices)
            What `encode` gave.
        weights : ndarray of shape (n_rows,)
            Weight of each row: two rows equal one of twice the weight.
        C : float
            Inverse of the regularisation strength.

        Returns
        -------
        LinearWeights
            One output, its intercept zero.
        """
        flags = targets.numpy()
        counts = (flags >= 0).sum(axis=1)
        starts = np.append(0, np.cumsum(counts)[:-1])
        is_right = flags[flags >= 0]
        unit_weights = np.repeat(weights, counts)
        total = weights.sum()

        def objective(coef: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            scores = features @ coef
            scores -= np.repeat(np.maximum.reduceat(scores, starts), counts)
            sums = np.repeat(np.add.reduceat(np.exp(scores), starts), counts)
            log_shares = scores - np.log(sums)
            loss = -(unit_weights * is_right) @ log_shares + coef @ coef / (2 * C)
            gradient = features.T @ (unit_weights * (np.exp(log_shares) - is_right)) + coef / C
            # The mean, so that the tolerance does not depend on the number of rows.
            return loss / total, gradient / total

        found = minimize(
            objective,
            np.zeros(features.shape[1]),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-6},
        )
        return LinearWeights(found.x[None].astype(np.float32), np.zeros(1, dtype=np.float32))

    def score(self, scores: NDArray[np.float32], targets: Tensor) -> float:
        """Accuracy."""
        chosen = _by_row(torch.from_numpy(scores), targets).argmax(dim=1)
        return float((chosen == targets.argmax(dim=1)).double().mean())

    def blend(
        self, scores: NDArray[np.float32], lexical: NDArray[np.float32], weight: float
    ) -> NDArray[np.float32]:
        """Sum: the scores are logarithms of odds, and words add evidence."""
        return scores + np.float32(weight) * lexical


def _by_row(scores: Tensor, targets: Tensor) -> Tensor:
    """Scores (n_rows, most choices), minus infinity where there is no choice."""
    table = scores.new_full(targets.shape, -torch.inf)
    table[targets >= 0] = scores[:, 0]
    return table
