"""Any number of labels per row."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, log_expit
from sklearn.metrics import f1_score
from torch import Tensor
from torch.nn import functional

from sktransfer.inputs import EncodedRows
from sktransfer.tasks.logistic import logistic_regression
from sktransfer.tasks.protocol import LinearWeights

# Log-odds of a label that all rows have; of one that none has, its negative.
_CONSTANT_SCORE = 5.0


class MultilabelTask:
    """Each label is there or not, whatever the others are.

    Parameters
    ----------
    value_weights : ndarray of shape (2, n_labels)
        Weight of a label's absence and of its presence.
    """

    refit_c = 1.0

    def __init__(self, value_weights: NDArray[np.float64]) -> None:
        self.value_weights = value_weights
        self.classes = np.tile([0, 1], (value_weights.shape[1], 1))

    @property
    def n_outputs(self) -> int:
        """Number of labels."""
        return len(self.classes)

    def check(self, y: NDArray[np.int64], *, name: str = "y") -> None:
        """Raise a `ValueError` if there is another number of labels."""
        n_columns = y.shape[1] if y.ndim > 1 else 1
        if n_columns != self.n_outputs:
            raise ValueError(
                f"{name} must have a column of 0 and 1 for each of the {self.n_outputs} labels, "
                f"got {n_columns} column{'s' * (n_columns > 1)}."
            )

    def encode(self, y: NDArray[np.int64], rows: EncodedRows | None = None) -> Tensor:
        """Indicators (n_rows, n_labels)."""
        return torch.from_numpy(y.astype(np.int64))

    def decode(self, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        """1 where a label is more probable than not."""
        return (scores > 0).astype(np.int64)

    def probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of each label."""
        return np.asarray(expit(scores))

    def log_probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logarithm of the probability of each label."""
        return np.asarray(log_expit(scores))

    def decision(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logarithm of the odds of each label."""
        return scores

    def loss(self, scores: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy of each row, summed over the labels."""
        losses = functional.binary_cross_entropy_with_logits(
            scores, targets.to(scores.dtype), reduction="none"
        )
        absent, present = _on_device(
            np.asarray(self.value_weights, dtype=np.float64).tobytes(), scores.device, scores.dtype
        )
        return (losses * torch.where(targets > 0, present, absent)).sum(dim=1)

    def solve(
        self,
        features: Any,
        targets: Tensor,
        weights: NDArray[np.float64],
        *,
        C: float,
        device: torch.device | None = None,
    ) -> LinearWeights:
        """Logistic regression of each label."""
        solutions = [
            self._solve_label(
                features,
                values,
                weights * self.value_weights[values, label],
                C=C,
                device=device,
            )
            for label, values in enumerate(targets.numpy().T)
        ]
        return LinearWeights(
            np.stack([coef for coef, _ in solutions]).astype(np.float32),
            np.array([intercept for _, intercept in solutions], dtype=np.float32),
        )

    def _solve_label(
        self,
        features: Any,
        values: NDArray[np.int64],
        weights: NDArray[np.float64],
        *,
        C: float,
        device: torch.device | None,
    ) -> tuple[NDArray[np.float64], float]:
        if values.min() == values.max():
            sign = 1 if values[0] else -1
            return np.zeros(features.shape[1]), sign * _CONSTANT_SCORE
        coef, intercept = logistic_regression(
            features, values, weights, C=C, tol=1e-4, device=device
        )
        return coef[0], float(intercept[0])

    def score(self, scores: NDArray[np.float32], targets: Tensor) -> float:
        """Micro-averaged F1."""
        predicted = self.decode(scores)
        return float(f1_score(targets.numpy(), predicted, average="micro", zero_division=0.0))

    def blend(
        self, scores: NDArray[np.float32], lexical: NDArray[np.float32], weight: float
    ) -> NDArray[np.float32]:
        """Sum: the scores are logarithms of odds, and words add evidence."""
        return scores + np.float32(weight) * lexical


@functools.lru_cache(maxsize=8)
def _on_device(value_weights: bytes, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Weights (2, n_labels) of the values; copied once, and not in each step."""
    return torch.from_numpy(np.frombuffer(value_weights).reshape(2, -1).copy()).to(device, dtype)
