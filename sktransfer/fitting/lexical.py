"""The lexical model: a linear model on TF-IDF features, added to the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import joblib
import numpy as np
from numpy.typing import NDArray

from sktransfer.fitting.tfidf import LexicalColumns
from sktransfer.inputs import Row
from sktransfer.runtime import cache, one_blas_thread
from sktransfer.tasks import LinearWeights, Task
from sktransfer.training import EncodedDataset

_C = 10.0
_MAX_FEATURES = 50_000


@dataclass(frozen=True)
class LexicalChannel:
    """A linear model on TF-IDF features."""

    vectorizer: LexicalColumns
    weights: LinearWeights

    @property
    def n_bytes(self) -> int:
        """Approximate size in memory."""
        return int(self.weights.coef.nbytes + 100 * self.weights.coef.shape[1])

    def scores(self, texts: Sequence[Row]) -> NDArray[np.float32]:
        """Scores (n_rows, n_outputs) of `texts`."""
        return self.weights.scores(self.vectorizer.transform(texts))


def fit_lexical(
    task: Task, data: EncodedDataset, *, temperature: float = 1.0
) -> LexicalChannel | None:
    """Linear model on the TF-IDF of the rows; None if no text has a word.

    Its scores are divided by `temperature`.
    """
    # In a tuple, since a channel that is None is cached, too.
    (found,) = cache.remembered(
        ("lexical", data.content, joblib.hash(task)),
        lambda: (_new_lexical(task, data),),
        lambda found: 0 if found[0] is None else found[0].n_bytes,
    )
    if found is None:
        return None
    return LexicalChannel(found.vectorizer, found.weights.scaled(1 / temperature))


def _new_lexical(task: Task, data: EncodedDataset) -> LexicalChannel | None:
    vectorizer = LexicalColumns(max_features=_MAX_FEATURES)
    members, both = data.merge_copies(np.column_stack([data.sample_weights, data.weights]))
    columns = vectorizer.fit_transform([data.texts[i] for i in members], both[:, 0])
    if not columns.shape[1]:
        return None
    with one_blas_thread():
        weights = task.solve(columns, data.targets[members], both[:, 1], C=_C)
    return LexicalChannel(vectorizer, weights)
