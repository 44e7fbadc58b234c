"""Binary and multiclass classification."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from torch import Tensor
from torch.nn import functional

from sktransfer.inputs import EncodedRows
from sktransfer.tasks.logistic import logistic_regression
from sktransfer.tasks.protocol import LinearWeights

# Below every score of a class with examples, so that a class announced in `partial_fit` but
# not yet seen is possible and never preferred.
_UNSEEN_MARGIN = 2.0
# Beside a cross-entropy that falls from about 1, errors of cosines are small.
_PAIR_WEIGHT = 2.0
_TEMPERATURE = 0.1
_REFIT_C_PER_CLASS = 0.5


class ClassificationTask:
    """One of `classes` for each row.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted distinct labels.
    contrastive_weight : float
        Weight of the contrastive loss beside the cross-entropy.
    compares_pairs : bool, default=False
        Whether that is `pair_loss`, which suits few rows, rather than `supervised_contrast`.
    """

    def __init__(
        self,
        classes: NDArray[Any],
        *,
        contrastive_weight: float = 0.0,
        compares_pairs: bool = False,
    ) -> None:
        self.classes = classes
        self.contrastive_weight = contrastive_weight
        self.compares_pairs = compares_pairs

    @property
    def n_outputs(self) -> int:
        """Number of scores per row, one for each class."""
        return len(self.classes)

    @property
    def refit_c(self) -> float:
        """Inverse regularization strength on fine-tuned features.

        These separate the training rows, so that a weaker solution than the probe's is the
        calibrated one; scores of many classes lie closer together and need larger weights.
        """
        return _REFIT_C_PER_CLASS * self.n_outputs

    def decode(self, scores: NDArray[np.float32]) -> NDArray[Any]:
        """Class of the highest score."""
        return np.asarray(self.classes[scores.argmax(axis=1)])

    def probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of each class."""
        return np.asarray(softmax(scores, axis=1))

    def log_probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logarithm of the probability of each class."""
        return np.asarray(log_softmax(scores, axis=1))

    def decision(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores; of two classes that of the second over the first."""
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def check(self, y: NDArray[Any], *, name: str = "y") -> None:
        """Raise a `ValueError` that names the row of a label that is not among the classes."""
        if y.ndim > 1:
            raise ValueError(
                f"{name} has {y.shape[1]} columns, but the task has one label per row: pass one "
                f"label per row as {name}, too."
            )
        known = set(self.classes.tolist())
        for row, label in enumerate(y.tolist()):
            if label not in known:
                raise ValueError(
                    f"{name} has the label {label!r} in row {row}, which is not among the classes "
                    f"{self.classes.tolist()!r}."
                )

    def encode(self, y: NDArray[Any], rows: EncodedRows | None = None) -> Tensor:
        """Positions of the labels `y`, which `check` knows, in `classes`."""
        return torch.from_numpy(np.searchsorted(self.classes, y).astype(np.int64))

    def loss(self, scores: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each row, and its contrast with the other rows of the batch."""
        loss = functional.cross_entropy(scores, targets, reduction="none")
        if self.contrastive_weight > 0:
            contrast = pair_loss if self.compares_pairs else supervised_contrast
            loss = loss + self.contrastive_weight * contrast(features, targets)
        return loss

    def solve(
        self,
        features: Any,
        targets: Tensor,
        weights: NDArray[np.float64],
        *,
        C: float,
        device: torch.device | None = None,
    ) -> LinearWeights:
        """Logistic regression, its scores centered over the classes.

        Parameters
        ----------
        features : array or sparse matrix of shape (n_rows, n_features)
            Fixed features.
        targets : Tensor of shape (n_rows,)
            Class codes.
        weights : ndarray of shape (n_rows,)
            Weight of each row: two rows equal one of twice the weight.
        C : float
            Inverse of the regularization strength.
        device : torch.device, default=None
            A GPU to solve on.

        Returns
        -------
        LinearWeights
            Zero for classes without rows, with an intercept below all others.
        """
        codes = targets.numpy()
        present = np.unique(codes)
        coef = np.zeros((self.n_outputs, features.shape[1]), dtype=np.float32)
        intercept = np.zeros(self.n_outputs, dtype=np.float32)
        if len(present) > 1:
            found, offsets = logistic_regression(
                features, codes, weights, C=C, tol=1e-5, device=device
            )
            if len(present) == 2:
                # One score z of two classes is the pair (-z/2, z/2) of a softmax.
                found, offsets = np.vstack([-found, found]) / 2, np.hstack([-offsets, offsets]) / 2
            coef[present], intercept[present] = found, offsets
        absent = np.setdiff1d(np.arange(self.n_outputs), present)
        if len(absent):
            intercept[absent] = intercept[present].min() - _UNSEEN_MARGIN
        return LinearWeights(coef, intercept)

    def score(self, scores: NDArray[np.float32], targets: Tensor) -> float:
        """Accuracy."""
        return float(np.mean(scores.argmax(axis=1) == targets.numpy()))

    def blend(
        self, scores: NDArray[np.float32], lexical: NDArray[np.float32], weight: float
    ) -> NDArray[np.float32]:
        """Sum: the scores are logarithms of odds, and words add evidence."""
        return scores + np.float32(weight) * lexical


def check_classes(labels: NDArray[Any], known: NDArray[Any] | None) -> NDArray[Any]:
    """Classes to learn from `labels`: theirs, or those `known` from the fit before.

    Raises
    ------
    ValueError
        If there is but one, or one that is not known.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"The number of classes has to be greater than one; got {len(classes)} class "
            f"in y: {classes.tolist()!r}."
        )
    if known is None:
        return classes
    unknown = np.setdiff1d(classes, known)
    if len(unknown):
        raise ValueError(
            f"warm_start=True cannot learn the new classes {unknown.tolist()!r}; set "
            "warm_start=False to fit from scratch."
        )
    return known


def pair_loss(features: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the cosines of pairs of rows: 1 within a class, 0 between classes.

    Pairs within classes weigh as much together as those between classes (Reimers and Gurevych 2019,
    arXiv:1908.10084; for few labels Tunstall et al. 2022, arXiv:2209.11055).

    Parameters
    ----------
    features : Tensor of shape (n_rows, n_features)
        Rows of a batch.
    targets : Tensor of shape (n_rows,)
        Class codes.

    Returns
    -------
    Tensor of shape (n_rows,)
        Its mean is twice the sum of the mean error within classes and that between them.
    """
    directions = functional.normalize(features, dim=1)
    is_pair = 1 - torch.eye(len(targets), device=targets.device)
    is_alike = (targets[:, None] == targets[None, :]).float()
    errors = (directions @ directions.T - is_alike) ** 2
    within, between = is_alike * is_pair, 1 - is_alike
    weights = within / within.sum().clamp(min=1) + between / between.sum().clamp(min=1)
    return _PAIR_WEIGHT * len(targets) * (errors * weights).sum(dim=1)


def supervised_contrast(features: Tensor, targets: Tensor) -> Tensor:
    """Supervised contrastive loss of each row against the other rows of its batch.

    Every row is an anchor; rows of its class attract it, the others repel it (Khosla et al.
    2020, arXiv:2004.11362, equation 2; beside a cross-entropy: Gunel et al. 2021,
    arXiv:2011.01403).

    Parameters
    ----------
    features : Tensor of shape (n_rows, n_features)
        Compared by their cosine.
    targets : Tensor of shape (n_rows,)
        Class codes.

    Returns
    -------
    Tensor of shape (n_rows,)
        Zero for a row that is alone in its class.
    """
    directions = functional.normalize(features, dim=1)
    itself = torch.eye(len(targets), dtype=torch.bool, device=targets.device)
    similarity = (directions @ directions.T / _TEMPERATURE).masked_fill(itself, -torch.inf)
    log_share = torch.log_softmax(similarity, dim=1).masked_fill(itself, 0.0)
    positive = (targets[:, None] == targets[None, :]) & ~itself
    n_positive = positive.sum(dim=1)
    loss = -(log_share * positive).sum(dim=1) / n_positive.clamp(min=1)
    return torch.where(n_positive > 0, loss, torch.zeros_like(loss))
