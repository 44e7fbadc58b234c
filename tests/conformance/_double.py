"""The classifier with scikit-learn's kind of X: its whole test suite speaks numbers, not texts."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from sktransfer import TransferTextClassifier


class NumericRowsClassifier(TransferTextClassifier):
    """Reads each row of numbers as words, one a feature, and leaves the rest to its parent.

    Only the form of X differs: its shape, its tags, and the column names that go with it.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = False
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        return tags

    def _check_rows(self, X: Any, *, reset: bool) -> list[str]:
        X = validate_data(self, X, reset=reset, dtype=np.float64)
        return [_spell(row) for row in X]

    def _remember_columns(self, X: Any, n_columns: int) -> None:
        """`validate_data` has done it."""


def _spell(row: np.ndarray) -> str:
    """One word a feature: a letter for the feature and the number of its bin."""
    bins = np.floor(np.clip(row, -50, 50) * 2).astype(int) + 100
    letters = string.ascii_lowercase
    return " ".join(
        f"{letters[feature // 26]}{letters[feature % 26]}{number}"
        for feature, number in enumerate(bins)
    )
