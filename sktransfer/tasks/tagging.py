"""One tag for each word."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sktransfer.inputs import EncodedRows
from sktransfer.tasks.classification import ClassificationTask
from sktransfer.tasks.entities import tag_score
from sktransfer.tasks.protocol import LinearWeights


class TaggingTask:
    """One of `classes` for each word of a row, whatever the tags of the others are.

    Parameters
    ----------
    classes : ndarray of shape (n_tags,)
        Sorted distinct tags.
    words_per_row : float
        Mean number of words; the loss of a row is the sum of its words' over that.
    """

    def __init__(self, classes: NDArray[Any], words_per_row: float) -> None:
        self.words = ClassificationTask(classes)
        self.words_per_row = words_per_row

    @property
    def classes(self) -> NDArray[Any]:
        """Sorted distinct tags."""
        return self.words.classes

    @property
    def n_outputs(self) -> int:
        """Number of scores per word, one for each tag."""
        return self.words.n_outputs

    @property
    def refit_c(self) -> float:
        """Inverse regularization strength on fine-tuned features."""
        return self.words.refit_c

    def check(self, y: NDArray[Any], *, name: str = "y") -> None:
        """Raise a `ValueError` that names row and word of a tag that is not among the classes."""
        known = set(self.classes.tolist())
        for row, tags in enumerate(y):
            for place, tag in enumerate(tags):
                if tag not in known:
                    raise ValueError(
                        f"{name} has the tag {tag!r} in row {row}, word {place}, which is not "
                        f"among the tags of fit, {self.classes.tolist()!r}."
                    )

    def encode(self, y: NDArray[Any], rows: EncodedRows | None = None) -> Tensor:
        """Positions of the tags in `classes`, (n_rows, most words), -1 behind the last word."""
        codes = {tag: code for code, tag in enumerate(self.classes.tolist())}
        targets = np.full((len(y), max(map(len, y))), -1, dtype=np.int64)
        for row, tags in enumerate(y):
            targets[row, : len(tags)] = [codes[tag] for tag in tags]
        return torch.from_numpy(targets)

    def decode(self, scores: NDArray[np.float32]) -> list[Any]:
        """Tag of the highest score of each word."""
        tags: list[Any] = self.words.decode(scores).tolist()
        return tags

    def probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of each tag."""
        return self.words.probabilities(scores)

    def loss(self, scores: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each row's words together, so that every word weighs alike."""
        is_word = targets >= 0
        losses = functional.cross_entropy(scores, targets[is_word], reduction="none")
        padded = losses.new_zeros(targets.shape).masked_scatter(is_word, losses)
        return padded.sum(dim=1) / self.words_per_row

    def solve(
        self,
        features: Any,
        targets: Tensor,
        weights: NDArray[np.float64],
        *,
        C: float,
        device: torch.device | None = None,
    ) -> LinearWeights:
        """Logistic regression of the words, each with the weight of its row."""
        is_word = targets >= 0
        word_weights = np.repeat(weights, is_word.sum(dim=1).numpy())
        return self.words.solve(features, targets[is_word], word_weights, C=C, device=device)

    def score(self, scores: NDArray[np.float32], targets: Tensor) -> float:
        """F1 of the entities where the tags are in the BIO scheme, else accuracy of the words."""
        predicted = scores.argmax(axis=1)
        lengths = (targets >= 0).sum(dim=1).numpy()
        splits = np.cumsum(lengths)[:-1]
        true, found = (
            [tags.tolist() for tags in np.split(self.classes[codes], splits)]
            for codes in (targets[targets >= 0].numpy(), predicted)
        )
        return tag_score(true, found, np.ones(len(true)), self.classes.tolist())
