"""TransferTokenClassifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Tags, check_consistent_length

from sktransfer.estimators.base import BaseTransferEstimator, weights_of
from sktransfer.estimators.docstrings import documented
from sktransfer.estimators.encoding import predicting
from sktransfer.estimators.targets import BaseTargets
from sktransfer.fitting.data import LabeledTexts
from sktransfer.inputs import Row, RowFormat, WordFormat, check_tags, check_tags_of_words
from sktransfer.tasks import TaggingTask, Task, check_classes, tag_score


@documented
class TransferTokenClassifier(BaseTransferEstimator):
    """Tagger of words, such as named-entity recognition, fine-tuned from a language model.

    `X` has a list of words in each row, `y` a list of as many tags; a row without words has none.
    A logistic regression on the frozen encoder's state of each word's first token initializes the
    head, and encoder and head are then fine-tuned together. Every word gets a tag, however long
    the row is.

    Parameters
    ----------

    Attributes
    ----------
    classes_ : ndarray of shape (n_tags,)
        Tags, sorted.
    lexical_ : None
        There is no TF-IDF model of words.

    Examples
    --------
    >>> from sktransfer import TransferTokenClassifier
    >>> sentences = [["Anna", "lives", "in", "Paris"], ["Peter", "left", "London"]]
    >>> tags = [["B-PER", "O", "O", "B-LOC"], ["B-PER", "O", "B-LOC"]]
    >>> tagger = TransferTokenClassifier(max_epochs=0, random_state=0).fit(sentences, tags)
    >>> tagger.predict([["Maria", "saw", "Berlin"]])
    [['B-PER', 'O', 'B-LOC']]
    """

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    @predicting
    def predict(self, X: Any) -> list[list[Any]]:
        """Most probable tag of each word.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Lists of words.

        Returns
        -------
        list of list
            As many tags in each row as words.
        """
        rows = self._score_rows(X).by_row()
        return [self.task_.decode(scores) for scores in rows]

    @predicting
    def predict_proba(self, X: Any) -> list[NDArray[np.float32]]:
        """Probability of each tag for each word.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Lists of words.

        Returns
        -------
        list of ndarray of shape (n_words, n_tags), float32
            Columns in the order of `classes_`.
        """
        rows = self._score_rows(X).by_row()
        return [self.task_.probabilities(scores) for scores in rows]

    @predicting
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """F1 of the entities, or accuracy of the words.

        Tags in the BIO scheme, each ``"O"`` or with ``"B-"`` or ``"I-"`` in front of a type,
        stand for entities: the micro-averaged F1 counts those whose type and bounds are right,
        as seqeval does by default and the CoNLL shared tasks did. Other tags, such as parts of
        speech, are counted word by word.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Lists of words.
        y : array-like of shape (n_samples,)
            Lists of tags; tags that `fit` has not seen may be among them.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        float
            From 0 to 1.
        """
        scored = self._score_rows(X)
        targets = self._targets(y)
        true = targets.check(y)
        check_consistent_length(scored.rows, true)
        true = targets.match(true, scored.rows)
        weights = weights_of(sample_weight, len(true))
        if not weights @ np.array([len(tags) for tags in true]):
            raise ValueError("X has no words to score: give at least one row with words.")
        predicted = [self.task_.decode(scores) for scores in scored.by_row()]
        return tag_score(true.tolist(), predicted, weights, self.classes_.tolist())

    def _row_format(self) -> RowFormat:
        return WordFormat()

    def _check_training_rows(
        self, X: Any, y: Any, sample_weight: Any, targets: BaseTargets, *, reset: bool
    ) -> LabeledTexts:
        rows = super()._check_training_rows(X, y, sample_weight, targets, reset=reset)
        return _with_words(rows, "X")

    def _check_validation(
        self, X_val: Any, y_val: Any, targets: BaseTargets, task: Task
    ) -> LabeledTexts | None:
        rows = super()._check_validation(X_val, y_val, targets, task)
        return None if rows is None else _with_words(rows, "X_val")

    def _targets(self, y: Any) -> TagTargets:
        return TagTargets(self.classes_ if self.warm_start and hasattr(self, "model_") else None)


@dataclass(frozen=True)
class TagTargets(BaseTargets):
    """A tag for each word of a row.

    Parameters
    ----------
    known : ndarray of shape (n_tags,), default=None
        Tags of the fit before, if it is gone on from.
    """

    known: NDArray[Any] | None = None

    def check(self, y: Any, *, name: str = "y") -> NDArray[Any]:
        """Lists of tags."""
        return check_tags(y, name=name)

    def match(self, y: NDArray[Any], texts: Sequence[Row], *, name: str = "y") -> NDArray[Any]:
        """Raise if a row has more or fewer tags than words."""
        check_tags_of_words(texts, y, name=name)
        return y

    def task(self, rows: LabeledTexts) -> Task:
        """Tagging with the tags of the rows."""
        classes = check_classes(np.array([tag for tags in rows.y for tag in tags]), self.known)
        words_per_row = np.average([len(tags) for tags in rows.y], weights=rows.weights)
        return TaggingTask(classes, float(words_per_row))

    def attributes(self, task: Task, label_texts: Mapping[Any, str]) -> dict[str, Any]:
        """`classes_`."""
        assert isinstance(task, TaggingTask)
        return {"classes_": task.classes}


def _with_words(rows: LabeledTexts, name: str) -> LabeledTexts:
    """Rows that have words; the others have nothing to learn from."""
    kept = np.flatnonzero([len(words) for words in rows.texts])
    if not len(kept):
        raise ValueError(f"{name} has no words: give at least one row with words.")
    return rows.take(kept)
