"""The interface of tasks."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.inputs import EncodedRows


class LinearWeights(NamedTuple):
    """Weights of a linear layer: `coef` (n_outputs, n_features), `intercept` (n_outputs,)."""

    coef: NDArray[np.float32]
    intercept: NDArray[np.float32]

    def scores(self, features: Any) -> NDArray[np.float32]:
        """Scores (n_rows, n_outputs) of dense or sparse features."""
        return np.asarray(features @ self.coef.T + self.intercept, dtype=np.float32)

    def scaled(self, factor: float) -> LinearWeights:
        """Weights whose scores are `factor` times these."""
        if factor == 1:
            return self
        return LinearWeights(self.coef * np.float32(factor), self.intercept * np.float32(factor))


class Task(Protocol):
    """Targets, loss and a convex solution for given features."""

    @property
    def n_outputs(self) -> int:
        """Number of scores per row."""
        ...

    @property
    def refit_c(self) -> float:
        """Inverse regularization strength of the linear model on fine-tuned features."""
        ...

    def check(self, y: Any, *, name: str = "y") -> None:
        """Raise a `ValueError` that names the row if checked targets do not fit the task.

        Those are that it was not made for: labels of other classes, another number of outputs.
        """
        ...

    def encode(self, y: Any, rows: EncodedRows) -> Tensor:
        """Targets (n_rows, ...) as the loss takes them.

        Where the parts of a row are scored, (n_rows, most units), with -1 where a row has fewer.
        """
        ...

    def loss(self, scores: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        """Loss of each row of a batch, from scores and features of its units."""
        ...

    def solve(
        self,
        features: Any,
        targets: Tensor,
        weights: NDArray[np.float64],
        *,
        C: float,
        device: torch.device | None = None,
    ) -> LinearWeights:
        """Regularized linear model on fixed `features`, which may be solved on `device`."""
        ...

    def score(self, scores: NDArray[np.float32], targets: Tensor) -> float:
        """Quality of `scores`, the higher the better."""
        ...


@runtime_checkable
class BlendableTask(Task, Protocol):
    """A task whose scores a model on TF-IDF features can be blended with."""

    def blend(
        self, scores: NDArray[np.float32], lexical: NDArray[np.float32], weight: float
    ) -> NDArray[np.float32]:
        """Scores of the network and of a model on TF-IDF columns, together."""
        ...
