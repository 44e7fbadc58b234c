"""What one run of the template works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.encoders import Tokenizer
from sktransfer.fitting.tfidf import LexicalColumns
from sktransfer.inputs import EncodedRows, Row
from sktransfer.nn import TransferModel
from sktransfer.tasks import LinearWeights, Task
from sktransfer.training import TrainingPlan


@dataclass(frozen=True)
class TextRows:
    """Checked rows of one text, or of as many texts each, with targets and weights above zero."""

    texts: Sequence[Row]
    y: NDArray[Any]
    weights: NDArray[np.float64]

    def take(self, positions: NDArray[np.intp]) -> TextRows:
        """Rows at `positions`."""
        texts = [self.texts[i] for i in positions.tolist()]
        return TextRows(texts, self.y[positions], self.weights[positions])

    def append(self, texts: Sequence[str], y: NDArray[Any]) -> TextRows:
        """These rows and one for each of `texts`, of the average weight of those with its target.

        The average is over distinct texts, so that two copies of a row still equal one of twice
        the weight.
        """
        weights = []
        for target in y:
            members = np.flatnonzero(self.y == target)
            weights.append(
                self.weights[members].sum() / len({self.texts[i] for i in members.tolist()})
            )
        return TextRows(
            [*self.texts, *texts], np.append(self.y, y), np.append(self.weights, weights)
        )


@dataclass(frozen=True)
class LexicalChannel:
    """A linear model on TF-IDF columns beside the encoder."""

    vectorizer: LexicalColumns
    weights: LinearWeights

    @property
    def n_bytes(self) -> int:
        """Memory that it takes, roughly."""
        return int(self.weights.coef.nbytes + 100 * self.weights.coef.shape[1])

    def scores(self, texts: Sequence[Row]) -> NDArray[np.float32]:
        """Scores (n_rows, n_outputs) of `texts`."""
        return self.weights.scores(self.vectorizer.transform(texts))


@dataclass(frozen=True)
class ScoredRows:
    """Rows of one `predict`, and the scores (n_units, n_outputs) of their units in order."""

    rows: Sequence[Row]
    encoded: EncodedRows
    scores: NDArray[np.float32]

    def by_row(self) -> list[NDArray[np.float32]]:
        """Scores of each row's units."""
        return np.split(self.scores, self.encoded.unit_start[1:-1])


@dataclass(frozen=True)
class FitContext:
    """All that one run of the template works with; the estimator changes only at its end.

    `whole` tells `fit`, which sees all rows there are, from `partial_fit`.
    """

    rows: TextRows
    validation: TextRows | None
    task: Task
    plan: TrainingPlan
    whole: bool
    model: TransferModel
    tokenizer: Tokenizer
    encoder_name: str
    device: torch.device
    dtype: torch.dtype
    rng: np.random.Generator


def merge_copies(
    texts: Sequence[Row], targets: Tensor, weights: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Position of one row of each text and target, and the weight (or weights) of all its copies.

    In the order of the texts, so that neither copies nor the order of the rows can change the
    last digits of a convex solution.
    """
    groups: dict[Any, list[int]] = {}
    for position, (text, target) in enumerate(zip(texts, targets.tolist(), strict=True)):
        key = (text, tuple(target) if isinstance(target, list) else target)
        groups.setdefault(key, []).append(position)
    members = [groups[key] for key in sorted(groups, key=_sortable)]
    first = np.array([positions[0] for positions in members], dtype=np.intp)
    return first, np.array([weights[positions].sum(axis=0) for positions in members])


def _sortable(key: tuple[Row, Any]) -> tuple[Any, Any]:
    row, target = key
    # A missing text cannot be compared with one that is there.
    return row if isinstance(row, str) else tuple(text or "" for text in row), target
