"""Estimators with scikit-learn's kind of X: its whole test suite speaks numbers, not texts."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import assert_all_finite, validate_data

from sktransfer import TransferAnswerExtractor, TransferTextClassifier


class NumericRows:
    """Reads each row of numbers as words, one a feature, and leaves the rest to the estimator.

    Only the form of X differs: its shape, its tags, and the column names that go with it.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = False
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        return tags

    def _check_rows(self, X: Any, *, reset: bool) -> list[Any]:
        X = validate_data(self, X, reset=reset, dtype=np.float64)
        return [self._spell(row) for row in X]

    def _spell(self, row: np.ndarray) -> Any:
        return spell(row)

    def _remember_columns(self, X: Any, n_columns: int) -> None:
        """`validate_data` has done it."""


class NumericRowsClassifier(NumericRows, TransferTextClassifier):
    """Classes of rows of numbers."""


class NumericAnswerExtractor(NumericRows, TransferAnswerExtractor):
    """Looks in a context for the character that a number stands for.

    Predictions are the scores of where it begins, which tell two models apart when both find it.
    """

    def _spell(self, row: np.ndarray) -> tuple[str, str]:
        return "which letter?", spell(row)

    def _check_targets(self, y: Any) -> np.ndarray:
        type_of_target(y, input_name="y", raise_unknown=True)
        numbers = column_or_1d(y, warn=True)
        assert_all_finite(numbers, input_name="y")
        starts = np.round(numbers).astype(int) % 3
        return super()._check_targets(np.column_stack([starts, starts + 1]))

    def predict(self, X: Any) -> np.ndarray:
        super().predict(X)
        return np.array([scores[1:, 0].max() for scores in self._score_rows(X).by_row()])


def spell(row: np.ndarray) -> str:
    """One word a feature: a letter for the feature and the number of its bin."""
    bins = np.floor(np.clip(row, -50, 50) * 2).astype(int) + 100
    letters = string.ascii_lowercase
    return " ".join(
        f"{letters[feature // 26]}{letters[feature % 26]}{number}"
        for feature, number in enumerate(bins)
    )
