"""What one run of the template works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sktransfer.encoders import EncoderHandle, Tokenizer
from sktransfer.inputs import LexicalVectorizer
from sktransfer.nn import TransferModel
from sktransfer.tasks import LinearWeights, Task
from sktransfer.training import TrainingPlan


@dataclass(frozen=True)
class TextRows:
    """Checked rows: texts with targets and weights, none of them zero."""

    texts: list[str]
    y: NDArray[Any]
    weights: NDArray[np.float64]

    def take(self, positions: NDArray[np.intp]) -> TextRows:
        """Rows at `positions`."""
        texts = [self.texts[i] for i in positions]
        return TextRows(texts, self.y[positions], self.weights[positions])


@dataclass(frozen=True)
class LexicalChannel:
    """A linear model on TF-IDF columns beside the encoder."""

    vectorizer: LexicalVectorizer
    weights: LinearWeights

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Scores (n_rows, n_outputs) of `texts`."""
        return self.weights.scores(self.vectorizer.transform(texts))


@dataclass(frozen=True)
class Session:
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
    source: EncoderHandle | None
    device: torch.device
    dtype: torch.dtype
    rng: np.random.Generator


def distinct(texts: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Position of the first copy of each distinct text, and for each text which one it is."""
    number: dict[str, int] = {}
    inverse = np.fromiter(
        (number.setdefault(text, len(number)) for text in texts), np.intp, len(texts)
    )
    first = np.full(len(number), len(texts), dtype=np.intp)
    np.minimum.at(first, inverse, np.arange(len(texts)))
    return first, inverse
