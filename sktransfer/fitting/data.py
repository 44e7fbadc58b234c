"""Rows with their targets, before tokenization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sktransfer.inputs import Row, Tokenizer
from sktransfer.tasks import Task


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

    def append(self, texts: Sequence[str], y: NDArray[Any]) -> LabeledTexts:
        """Add a row for each of `texts`, with the average weight of the rows of its target.

        The average is over distinct texts, so that two copies of a row still equal one row of
        twice the weight.
        """
        weights = []
        for target in y:
            members = np.flatnonzero(self.y == target)
            weights.append(
                self.weights[members].sum() / len({self.texts[i] for i in members.tolist()})
            )
        return LabeledTexts(
            [*self.texts, *texts], np.append(self.y, y), np.append(self.weights, weights)
        )


class Targets(Protocol):
    """Interpretation of `y`, as a fit uses it."""

    def weights(self, rows: LabeledTexts, task: Task) -> NDArray[np.float64]:
        """Weights of `rows`, multiplied by those of their targets; not all zero."""

    def extra_rows(self, rows: LabeledTexts, tokenizer: Tokenizer) -> LabeledTexts:
        """Training rows, with rows added for the targets themselves, such as label words."""

    def attributes(self, task: Task) -> dict[str, Any]:
        """Fitted attributes that describe the targets."""
