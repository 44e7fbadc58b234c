"""Estimators with scikit-learn's kind of X: its whole test suite speaks numbers, not texts."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import assert_all_finite, validate_data

from sktransfer import (
    LanguageModel,
    TransferAnswerExtractor,
    TransferChoiceClassifier,
    TransferTextClassifier,
    TransferTextRegressor,
    TransferTextVectorizer,
    TransferTokenClassifier,
)
from sktransfer.estimators.answer_extractor import AnswerTargets
from sktransfer.estimators.targets import BaseTargets
from sktransfer.estimators.token_classifier import TagTargets
from sktransfer.inputs import Row
from sktransfer.language.corpus import Corpus, check_corpus
from tests.conftest import WORDS


class NumericRows:
    """Reads each row of numbers as words, one a feature, and leaves the rest to its parent.

    Only the form of X differs: its shape, its tags, and the column names that go with it.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = False
        tags.input_tags.allow_nan = False
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        return tags

    def _check_rows(self, X: Any, *, reset: bool, name: str = "X") -> list[Row]:
        X = validate_data(self, X, reset=reset, dtype=np.float64)
        return [self._row(row) for row in X]

    def _row(self, row: np.ndarray) -> Row:
        return " ".join(spell(row))

    def _remember_columns(self, X: Any, n_columns: int) -> None:
        """`validate_data` has done it."""


class NumericRowsClassifier(NumericRows, TransferTextClassifier):
    """Classes of rows of numbers."""


class NumericRowsRegressor(NumericRows, TransferTextRegressor):
    """Numbers of rows of numbers."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # Words say in which bin a number is, which is little to fit noise by.
        tags.regressor_tags.poor_score = True
        return tags


class NumericRowsVectorizer(NumericRows, TransferTextVectorizer):
    """Features of rows of numbers."""


class NumericRowsLanguageModel(NumericRows, LanguageModel):
    """Language model of rows of numbers."""

    def _corpus(self, X: Any, *, name: str = "X", reset: bool = False) -> Corpus:
        return check_corpus(self._check_rows(X, reset=reset), name=name)


@dataclass(frozen=True)
class TagsOfRows(TagTargets):
    """One tag per row, which is that of all its words."""

    estimator: Any = None

    def check(self, y: Any, *, name: str = "y") -> np.ndarray:
        targets = column_or_1d(y, warn=True).tolist()
        tags = np.empty(len(targets), dtype=object)
        for row, target in enumerate(targets):
            tags[row] = (target,) * self.estimator.n_features_in_
        return tags


class AnswersFromNumbers(AnswerTargets):
    """The character that a number stands for."""

    def check(self, y: Any, *, name: str = "y") -> np.ndarray:
        type_of_target(y, input_name="y", raise_unknown=True)
        numbers = column_or_1d(y, warn=True)
        assert_all_finite(numbers, input_name="y")
        starts = np.round(numbers).astype(int) % 3
        return super().check(np.column_stack([starts, starts + 1]))


class NumericRowsTagger(NumericRows, TransferTokenClassifier):
    """The token classifier: a row's target is the tag of all its words, read off the first."""

    def _row(self, row: np.ndarray) -> Row:
        return tuple(spell(row))

    def _targets(self, y: Any) -> BaseTargets:
        return TagsOfRows(super()._targets(y).known, self)

    def predict(self, X: Any) -> np.ndarray:
        return np.array([tags[0] for tags in super().predict(X)])

    def predict_proba(self, X: Any) -> np.ndarray:
        return np.array([probabilities[0] for probabilities in super().predict_proba(X)])


class NumericAnswerExtractor(NumericRows, TransferAnswerExtractor):
    """Looks in a context for the character that a number stands for.

    Predictions are the scores of where it begins, which tell two models apart when both find it.
    """

    def _row(self, row: np.ndarray) -> Row:
        return "which letter?", " ".join(spell(row))

    def _targets(self, y: Any) -> BaseTargets:
        return AnswersFromNumbers()

    def predict(self, X: Any) -> np.ndarray:
        super().predict(X)
        return np.array([scores[1:, 0].max() for scores in self._score_rows(X).by_row()])


class NumericChoicesClassifier(NumericRows, TransferChoiceClassifier):
    """Classes of rows of numbers, each class a choice that spells the row in words of its own."""

    def _check_training_rows(self, X, y, sample_weight, targets, *, reset):
        if y is not None:
            y = column_or_1d(y, warn=True)
            assert_all_finite(y, input_name="y")
            check_classification_targets(y)
            self._labels, y = np.unique(y, return_inverse=True)
        return super()._check_training_rows(X, y, sample_weight, targets, reset=reset)

    def _row(self, row: np.ndarray) -> Row:
        bins = np.floor(np.clip(row, -5, 5)).astype(int) + 5
        return "", *(
            " ".join(
                WORDS[(11 * (choice + len(self._labels) * feature) + number) % len(WORDS)]
                for feature, number in enumerate(bins)
            )
            for choice in range(len(self._labels))
        )

    def _adopt(self, attributes, X, n_columns, interruption=None):
        super()._adopt({**attributes, "classes_": self._labels}, X, n_columns, interruption)


def spell(row: np.ndarray) -> list[str]:
    """One word a feature: a letter for the feature and the number of its bin."""
    bins = np.floor(np.clip(row, -50, 50) * 2).astype(int) + 100
    letters = string.ascii_lowercase
    return [
        f"{letters[feature // 26]}{letters[feature % 26]}{number}"
        for feature, number in enumerate(bins)
    ]
