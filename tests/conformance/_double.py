"""Estimators with scikit-learn's kind of X: its whole test suite speaks numbers, not texts."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d, validate_data

from sktransfer import (
    TransferChoiceClassifier,
    TransferTextClassifier,
    TransferTextVectorizer,
)
from tests.conftest import WORDS


class NumericRows:
    """Reads each row of numbers as words, and leaves the rest to its parent.

    Only the form of X differs: its shape, its tags, and the column names that go with it.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = False
        tags.input_tags.allow_nan = False
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        return tags

    def _check_rows(self, X: Any, *, reset: bool) -> list[Any]:
        X = validate_data(self, X, reset=reset, dtype=np.float64)
        return [self._spell(row) for row in X]

    def _spell(self, row: np.ndarray) -> Any:
        """One word a feature: a letter for the feature and the number of its bin."""
        bins = np.floor(np.clip(row, -50, 50) * 2).astype(int) + 100
        letters = string.ascii_lowercase
        return " ".join(
            f"{letters[feature // 26]}{letters[feature % 26]}{number}"
            for feature, number in enumerate(bins)
        )

    def _remember_columns(self, X: Any, n_columns: int) -> None:
        """`validate_data` has done it."""


class NumericRowsClassifier(NumericRows, TransferTextClassifier):
    """Classes of rows of numbers."""


class NumericRowsVectorizer(NumericRows, TransferTextVectorizer):
    """Features of rows of numbers."""


class NumericChoicesClassifier(NumericRows, TransferChoiceClassifier):
    """Classes of rows of numbers, each class a choice that spells the row in words of its own."""

    def _check_training_rows(self, X, y, sample_weight, *, reset):
        if y is not None:
            y = column_or_1d(y, warn=True)
            assert_all_finite(y, input_name="y")
            check_classification_targets(y)
            self._labels, y = np.unique(y, return_inverse=True)
        return super()._check_training_rows(X, y, sample_weight, reset=reset)

    def _spell(self, row):
        bins = np.floor(np.clip(row, -5, 5)).astype(int) + 5
        return "", *(
            " ".join(
                WORDS[(11 * (choice + len(self._labels) * feature) + number) % len(WORDS)]
                for feature, number in enumerate(bins)
            )
            for choice in range(len(self._labels))
        )

    def _task_attributes(self, task):
        return {"classes_": self._labels}
