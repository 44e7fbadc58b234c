"""One right choice among those of a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.inputs import EncodedRows
from sktransfer.tasks.protocol import LinearWeights
from sktransfer.tasks.ragged import scores_by_row, solve_row_loss


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

    def check(self, y: NDArray[np.int64], *, name: str = "y") -> None:
        """Any number is a target: whether its choice is there is a matter of the row."""

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
        log_shares = scores_by_row(scores, targets).squeeze(2).log_softmax(dim=1)
        return -log_shares.gather(1, targets.argmax(dim=1, keepdim=True)).squeeze(1)

    def solve(
        self,
        features: Any,
        targets: Tensor,
        weights: NDArray[np.float64],
        *,
        C: float,
        device: torch.device | None = None,
    ) -> LinearWeights:
        """Conditional logit, without intercept: what all choices share moves no probability.

        Parameters
        ----------
        features : ndarray of shape (n_units, n_features)
            Fixed features of the choices, in the order of the rows.
        targets : Tensor of shape (n_rows, most choices)
            What `encode` gave.
        weights : ndarray of shape (n_rows,)
            Weight of each row: two rows equal one of twice the weight.
        C : float
            Inverse of the regularization strength.

        Returns
        -------
        LinearWeights
            One output, its intercept zero.
        """
        return solve_row_loss(self.loss, features, targets, weights, n_outputs=self.n_outputs, C=C)

    def score(self, scores: NDArray[np.float32], targets: Tensor) -> float:
        """Accuracy."""
        chosen = scores_by_row(torch.from_numpy(scores), targets).squeeze(2).argmax(dim=1)
        return float((chosen == targets.argmax(dim=1)).double().mean())
