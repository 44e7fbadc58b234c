"""TransferChoiceClassifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags, check_consistent_length, column_or_1d

from sktransfer.estimators.base import BaseTransferEstimator, weights_of
from sktransfer.estimators.docstrings import documented
from sktransfer.estimators.encoding import predicting
from sktransfer.estimators.targets import BaseTargets
from sktransfer.fitting.data import LabeledTexts
from sktransfer.fitting.predictor import ScoredRows
from sktransfer.inputs import ChoiceFormat, Row, RowFormat
from sktransfer.tasks import ChoiceTask, Task


@documented
class TransferChoiceClassifier(ClassifierMixin, BaseTransferEstimator):
    """Multiple choice, fine-tuned from a pretrained language model.

    A row is a context, such as a question or the beginning of a story, and choices, one of which
    is right. Each choice is read together with the context and gets a score; a softmax over the
    choices of a row gives their probabilities [1]_. A conditional logit model on the frozen
    encoder's features [2]_ starts the head, then encoder and head are fine-tuned together.

    Parameters
    ----------
    max_length : int, default=128
        Tokens of a context and a choice together, at most what the encoder can read. Longer ones
        are cut, the longer text first, with a warning.

    Attributes
    ----------
    classes_ : ndarray of shape (n_choices,)
        Numbers of the choices, ``0, 1, ...`` in the order of the columns of X.

    References
    ----------
    .. [1] Radford et al., "Improving Language Understanding by Generative Pre-Training", 2018,
       section 3.3.
    .. [2] D. McFadden, "Conditional logit analysis of qualitative choice behavior", in Frontiers
       in Econometrics, 1974.

    Examples
    --------
    >>> from sktransfer import TransferChoiceClassifier
    >>> X = [
    ...     ["Where do fish live?", "in water", "in trees"],
    ...     ["Where do monkeys live?", "in water", "in trees"],
    ...     ["What do cows eat?", "grass", "stones", "cars"],
    ... ]
    >>> model = TransferChoiceClassifier(max_epochs=0, random_state=0).fit(X, [0, 1, 0])
    >>> model.predict([["What do sheep eat?", "cars", None, "grass"]])
    array([2])
    """

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = False
        tags.input_tags.allow_nan = True
        return tags

    @predicting
    def predict(self, X: Any) -> NDArray[np.int64]:
        """Number of the most probable choice of each row, from 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, 1 + n_choices)
            Contexts and choices; None, NaN or NA stands for a choice that is missing. Rows of a
            list may be shorter than the longest one.

        Returns
        -------
        ndarray of shape (n_samples,)
            Never a choice that is missing.
        """
        chosen = self._scores(X).argmax(axis=1)
        return np.asarray(self.classes_[chosen])

    @predicting
    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probability of each choice.

        Parameters
        ----------
        X : array-like of shape (n_samples, 1 + n_choices)
            Contexts and choices.

        Returns
        -------
        ndarray of shape (n_samples, n_choices), float32
            0 for a choice that is missing.
        """
        return np.asarray(softmax(self._scores(X), axis=1))

    @predicting
    def predict_log_proba(self, X: Any) -> NDArray[np.float32]:
        """Logarithm of the probability of each choice.

        Parameters
        ----------
        X : array-like of shape (n_samples, 1 + n_choices)
            Contexts and choices.

        Returns
        -------
        ndarray of shape (n_samples, n_choices), float32
            Minus infinity for a choice that is missing.
        """
        return np.asarray(log_softmax(self._scores(X), axis=1))

    @predicting
    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Scores before the softmax.

        Parameters
        ----------
        X : array-like of shape (n_samples, 1 + n_choices)
            Contexts and choices.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_choices), float32
            Minus infinity for a choice that is missing. Where there are two choices, the score
            of the second over the first, as scikit-learn's scorers expect.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the rows whose right choice is the most probable one.

        Parameters
        ----------
        X : array-like of shape (n_samples, 1 + n_choices)
            Contexts and choices.
        y : array-like of shape (n_samples,)
            Numbers of the right choices.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        float
            Between 0 and 1.
        """
        scored = self._score_rows(X)
        targets = self._targets(y)
        expected = targets.check(y)
        check_consistent_length(scored.rows, expected)
        expected = targets.match(expected, scored.rows)
        weights = weights_of(sample_weight, len(expected))
        chosen = self.classes_[self._table(scored).argmax(axis=1)]
        return float(np.average(chosen == expected, weights=weights))

    def _row_format(self) -> RowFormat:
        return ChoiceFormat()

    def _targets(self, y: Any) -> ChoiceTargets:
        return ChoiceTargets()

    def _scores(self, X: Any) -> NDArray[np.float32]:
        return self._table(self._score_rows(X))

    def _table(self, scored: ScoredRows) -> NDArray[np.float32]:
        """Scores (n_rows, n_choices), minus infinity where a choice is missing."""
        assert scored.encoded.units is not None
        table = np.full((len(scored.rows), len(self.classes_)), -np.inf, dtype=np.float32)
        rows = np.repeat(np.arange(len(table)), scored.encoded.n_units)
        table[rows, scored.encoded.units.source[:, 0]] = scored.scores[:, 0]
        return table


class ChoiceTargets(BaseTargets):
    """The number of the right choice of each row."""

    def check(self, y: Any, *, name: str = "y") -> NDArray[np.int64]:
        """Numbers of choices."""
        values = column_or_1d(y, warn=True).tolist()
        for row, value in enumerate(values):
            if not _is_number(value) or abs(value) > np.iinfo(np.int64).max:
                raise ValueError(
                    f"{name} must have the number of the right choice of each row, from 0 for the "
                    f"first, got {value!r} in row {row}."
                )
        return np.array([int(value) for value in values], dtype=np.int64)

    def match(self, y: NDArray[Any], texts: Sequence[Row], *, name: str = "y") -> NDArray[Any]:
        """Raise if a row lacks the choice that its target names."""
        for number, (row, choice) in enumerate(zip(texts, y.tolist(), strict=True)):
            if not 0 <= choice < len(row) - 1:
                raise ValueError(
                    f"{name} has {choice} in row {number}, but its choices are numbered from 0 to "
                    f"{len(row) - 2}."
                )
            if row[1 + choice] is None:
                raise ValueError(
                    f"{name} has {choice} in row {number}, but this choice is missing (column "
                    f"{1 + choice} of the row): correct {name}, or give the choice its text."
                )
        return y

    def task(self, rows: LabeledTexts) -> Task:
        """Choice among the columns after the context."""
        return ChoiceTask(ChoiceFormat().n_columns(rows.texts) - 1)

    def attributes(self, task: Task, label_texts: Mapping[Any, str]) -> dict[str, Any]:
        """`classes_`."""
        assert isinstance(task, ChoiceTask)
        return {"classes_": task.classes}


def _is_number(value: object) -> bool:
    """Whether `value` is an integer, or a float that equals one."""
    if isinstance(value, (float, np.floating)):
        return bool(value.is_integer())
    return isinstance(value, (int, np.integer))
