"""Rows with their targets, before tokenization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sktransfer.inputs import Row, Tokenizer
from sktransfer.tasks import Task

# A label says more about its class than one row does.
_LABEL_TEXT_COPIES = 2


@dataclass(frozen=True)
class LabeledTexts:
    """Checked rows of text with targets and positive weights."""

    texts: Sequence[Row]
    y: NDArray[Any]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, positions: NDArray[np.intp]) -> LabeledTexts:
        """Rows at `positions`."""
        texts = [self.texts[i] for i in positions.tolist()]
        return LabeledTexts(texts, self.y[positions], self.weights[positions])

    def with_label_texts(self, label_texts: Mapping[Any, str]) -> LabeledTexts:
        """Add rows with the text of each label, of the average weight of the rows of its class.

        The average is over distinct texts, so that two copies of a row still equal one row of
        twice the weight.
        """
        if not label_texts:
            return self
        labels = np.unique(self.y)
        labels = labels[[label in label_texts for label in labels.tolist()]]
        weights = []
        for label in labels:
            members = np.flatnonzero(self.y == label)
            weights.append(
                self.weights[members].sum() / len({self.texts[i] for i in members.tolist()})
            )
        texts = [label_texts[label] for label in labels.tolist()]
        return LabeledTexts(
            [*self.texts, *texts * _LABEL_TEXT_COPIES],
            np.append(self.y, np.tile(labels, _LABEL_TEXT_COPIES)),
            np.append(self.weights, weights * _LABEL_TEXT_COPIES),
        )


class Targets(Protocol):
    """Interpretation of `y`, as a fit uses it."""

    def weights(self, rows: LabeledTexts, task: Task) -> NDArray[np.float64]:
        """Weights of `rows`, multiplied by those of their targets; not all zero."""

    def label_texts_of(self, rows: LabeledTexts, tokenizer: Tokenizer) -> dict[Any, str]:
        """Text of each target of `rows` that says what it means."""

    def with_label_texts(self, task: Task, label_texts: Mapping[Any, str]) -> Task:
        """`task` as it is learned with texts of the targets among the rows."""

    def attributes(self, task: Task, label_texts: Mapping[Any, str]) -> dict[str, Any]:
        """Fitted attributes that describe the targets."""
