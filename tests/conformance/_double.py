"""Estimators with scikit-learn's kind of X: its whole test suite speaks numbers, not texts."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.validation import validate_data

from sktransfer import TransferTextClassifier, TransferTokenClassifier
from sktransfer.inputs import Row


class NumericRows:
    """Reads each row of numbers as words, one a feature, and leaves the rest to its parent.

    Only the form of X differs: its shape, its tags, and the column names that go with it.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = False
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        return tags

    def _check_rows(self, X: Any, *, reset: bool) -> list[Row]:
        X = validate_data(self, X, reset=reset, dtype=np.float64)
        return [self._row(_spell(row)) for row in X]

    def _row(self, words: list[str]) -> Row:
        return " ".join(words)

    def _remember_columns(self, X: Any, n_columns: int) -> None:
        """`validate_data` has done it."""


class NumericRowsClassifier(NumericRows, TransferTextClassifier):
    """The text classifier."""


class NumericRowsTagger(NumericRows, TransferTokenClassifier):
    """The token classifier: a row's target is the tag of all its words, read off the first."""

    def _row(self, words: list[str]) -> Row:
        return tuple(words)

    def _check_targets(self, y: Any) -> np.ndarray:
        targets = column_or_1d(y, warn=True).tolist()
        tags = np.empty(len(targets), dtype=object)
        for row, target in enumerate(targets):
            tags[row] = (target,) * self.n_features_in_
        return tags

    def predict(self, X: Any) -> np.ndarray:
        return np.array([tags[0] for tags in super().predict(X)])

    def predict_proba(self, X: Any) -> np.ndarray:
        return np.array([probabilities[0] for probabilities in super().predict_proba(X)])


def _spell(row: np.ndarray) -> list[str]:
    """One word a feature: a letter for the feature and the number of its bin."""
    bins = np.floor(np.clip(row, -50, 50) * 2).astype(int) + 100
    letters = string.ascii_lowercase
    return [
        f"{letters[feature // 26]}{letters[feature % 26]}{number}"
        for feature, number in enumerate(bins)
    ]
