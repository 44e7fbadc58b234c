"""Targets: how y is checked, weighted and split, and which task it defines."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from sktransfer.fitting.data import LabeledTexts
from sktransfer.inputs import (
    Row,
    Tokenizer,
    check_class_weight,
    check_indicators,
    check_labels,
    check_numbers,
    content_ids,
    label_words,
)
from sktransfer.runtime import find_stack_level
from sktransfer.tasks import (
    ClassificationTask,
    MultilabelTask,
    RegressionTask,
    Task,
    check_classes,
)

_CONTRASTED_ROWS = 16
# An encoder that must spell a label in pieces ("des", "##c") does not know it: an abbreviation.
_MOST_PIECES_PER_WORD = 1.5
_ONE_LABEL_EACH = (
    "Every row of y has exactly one 1, but columns of 0 and 1 are labels of which a text may have "
    "any number. If each text has one label, pass it as such: y.argmax(axis=1)."
)


class BaseTargets(ABC):
    """Interpretation of y for an estimator."""

    @abstractmethod
    def check(self, y: Any, *, name: str = "y") -> NDArray[Any]:
        """Targets as an array, or an error that names the row and calls them `name`."""

    def match(self, y: NDArray[Any], texts: Sequence[Row], *, name: str = "y") -> NDArray[Any]:
        """Checked targets relative to their rows, or an error that names the row."""
        return y

    @abstractmethod
    def task(self, rows: LabeledTexts) -> Task:
        """Task of the checked rows."""

    def weights(self, rows: LabeledTexts, task: Task) -> NDArray[np.float64]:
        """Weights of `rows`, multiplied by those of their targets; not all zero."""
        return rows.weights

    def label_texts_of(self, rows: LabeledTexts, tokenizer: Tokenizer) -> dict[Any, str]:
        """Text of each target of `rows` that says what it means."""
        return {}

    def with_label_texts(self, task: Task, label_texts: Mapping[Any, str]) -> Task:
        """`task` as it is learned with texts of the targets among the rows."""
        return task

    def strata(self, rows: LabeledTexts) -> NDArray[Any] | None:
        """Groups for a stratified validation split."""
        return None

    def attributes(self, task: Task, label_texts: Mapping[Any, str]) -> dict[str, Any]:
        """Fitted attributes that describe the targets."""
        return {}


@dataclass(frozen=True)
class ClassTargets(BaseTargets):
    """One label per row, or an indicator matrix with one column per label.

    Parameters
    ----------
    label_texts, class_weight, contrastive_weight
        As in `TransferTextClassifier`.
    known : ndarray of shape (n_classes,), default=None
        Classes of the fit before, if it is gone on from.
    """

    label_texts: dict[Any, str] | Literal["auto"] | None = "auto"
    class_weight: dict[Any, float] | list[dict[int, float]] | Literal["balanced"] | None = None
    contrastive_weight: float = 1.0
    known: NDArray[Any] | None = None

    def check(self, y: Any, *, name: str = "y") -> NDArray[Any]:
        """Labels, or indicators of labels."""
        if issparse(y) or _has_columns(y, name):
            return check_indicators(y, name=name)
        return check_labels(y, name=name)

    def task(self, rows: LabeledTexts) -> Task:
        """Multilabel if y has columns, otherwise one class per row."""
        if rows.y.ndim == 2:
            if len(rows) > 1 and (rows.y.sum(axis=1) == 1).all():
                warnings.warn(_ONE_LABEL_EACH, UserWarning, stacklevel=find_stack_level())
            return MultilabelTask(self._value_weights(rows))
        return self.task_of(check_classes(rows.y, self.known), len(rows))

    def task_of(self, classes: NDArray[Any], n_rows: int) -> ClassificationTask:
        """Task of `classes`, for a training on `n_rows` rows."""
        # Contrast teaches what a class is while a few rows must show it; where there are many,
        # the cross-entropy does, and keeps the probabilities.
        share = min(1.0, _CONTRASTED_ROWS * len(classes) / n_rows)
        return ClassificationTask(
            classes,
            contrastive_weight=share * self.contrastive_weight,
            compares_pairs=share == 1,
        )

    def weights(self, rows: LabeledTexts, task: Task) -> NDArray[np.float64]:
        """Weights of the rows times those of their classes."""
        if self.class_weight is None or not isinstance(task, ClassificationTask):
            return rows.weights
        codes = task.encode(rows.y).numpy()
        if self.class_weight == "balanced":
            # By weight, not by count: a row of weight 2 is two rows.
            totals = np.bincount(codes, weights=rows.weights)
            factors = totals.sum() / (np.count_nonzero(totals) * np.where(totals, totals, np.inf))
        else:
            factors = check_class_weight(self.class_weight, task.classes.tolist())
        weights = np.asarray(rows.weights * factors[codes])
        if not weights.any():
            raise ValueError(
                "class_weight is zero for every row: give a positive weight to at least one of the "
                f"labels {np.unique(rows.y).tolist()!r}."
            )
        return weights

    def label_texts_of(self, rows: LabeledTexts, tokenizer: Tokenizer) -> dict[Any, str]:
        """Text of each label that has one; none for rows of several texts.

        A label may say what a text is about, not how several are related.
        """
        if self.label_texts is None or rows.y.ndim == 2 or not isinstance(rows.texts[0], str):
            return {}
        labels = np.unique(rows.y).tolist()
        if self.label_texts == "auto":
            return _readable(labels, tokenizer)
        return _given(labels, self.label_texts)

    def with_label_texts(self, task: Task, label_texts: Mapping[Any, str]) -> Task:
        """`task` without its loss on pairs, which helps coded labels only."""
        if not (label_texts and isinstance(task, ClassificationTask)):
            return task
        return ClassificationTask(task.classes, contrastive_weight=task.contrastive_weight)

    def strata(self, rows: LabeledTexts) -> NDArray[Any] | None:
        """Classes; None for multilabel targets."""
        return rows.y if rows.y.ndim == 1 else None

    def attributes(self, task: Task, label_texts: Mapping[Any, str]) -> dict[str, Any]:
        """`classes_` and `label_texts_`."""
        assert isinstance(task, (ClassificationTask, MultilabelTask))
        return {"classes_": task.classes, "label_texts_": dict(label_texts)}

    def _value_weights(self, rows: LabeledTexts) -> NDArray[np.float64]:
        """Weight (2, n_labels) of each label's absence and presence."""
        n_labels = rows.y.shape[1]
        if self.class_weight is None:
            return np.ones((2, n_labels))
        if self.class_weight == "balanced":
            present = rows.weights @ rows.y
            totals = np.stack([rows.weights.sum() - present, present])
            return np.asarray(rows.weights.sum() / (2 * np.maximum(totals, rows.weights.min())))
        if not isinstance(self.class_weight, list) or len(self.class_weight) != n_labels:
            raise ValueError(
                f"class_weight must be 'balanced' or a list of {n_labels} dicts {{0: weight, "
                f"1: weight}}, one for each column of y, got {self.class_weight!r}."
            )
        weights = [
            check_class_weight(each, (0, 1), name=f"class_weight[{label}]")
            for label, each in enumerate(self.class_weight)
        ]
        for label, values in enumerate(rows.y.T):
            if not weights[label][values].any():
                raise ValueError(
                    f"class_weight[{label}] is zero for every row of column {label} of y: give 0 "
                    "or 1 a positive weight."
                )
        return np.stack(weights, axis=1)


@dataclass(frozen=True)
class NumberTargets(BaseTargets):
    """Numbers, one per row or several.

    Parameters
    ----------
    loss : str
        As in `TransferTextRegressor`.
    """

    loss: str = "squared_error"

    def check(self, y: Any, *, name: str = "y") -> NDArray[np.float64]:
        """Finite numbers; one column stays a column, as in scikit-learn's own regressors."""
        return check_numbers(y, name=name)

    def task(self, rows: LabeledTexts) -> Task:
        """Regression on standardized targets."""
        return RegressionTask(rows.y, rows.weights, loss=self.loss)


def targets_of(y: Any) -> BaseTargets:
    """Numbers if `y` is continuous, else classes."""
    return NumberTargets() if _is_continuous(y) else ClassTargets()


def _is_continuous(y: Any) -> bool:
    """Whether some targets are non-integer numbers, even if others are invalid."""
    try:
        values = np.asarray(y)
    except ValueError:  # rows of unequal length
        return False
    if values.dtype.kind not in "fO":
        return False
    numbers = [value for value in values.flat if isinstance(value, (float, np.floating))]
    finite = np.array([number for number in numbers if np.isfinite(number)], dtype=np.float64)
    return bool(((finite != np.floor(finite)) | (np.abs(finite) >= 2.0**63)).any())


def _has_columns(y: Any, name: str) -> bool:
    try:
        shape = np.asarray(y).shape
    except ValueError:
        raise ValueError(
            f"{name} has rows of unlike length: pass one label per row, or for any number of "
            f"labels per row MultiLabelBinarizer().fit_transform({name})."
        ) from None
    return len(shape) == 2 and shape[1] > 1


def _readable(labels: list[Any], tokenizer: Tokenizer) -> dict[Any, str]:
    """Words of the labels that the vocabulary knows; of none if those are less than half.

    Then labels are abbreviations, of which some happen to be words.
    """
    words = label_words(labels)
    pieces = content_ids(tokenizer, list(words.values()))
    known = {
        label: text
        for (label, text), ids in zip(words.items(), pieces, strict=True)
        if len(ids) <= _MOST_PIECES_PER_WORD * len(text.split())
    }
    return known if 2 * len(known) >= len(labels) else {}


def _given(labels: list[Any], label_texts: dict[Any, str]) -> dict[Any, str]:
    """The `label_texts` of the labels in y."""
    texts = {label: label_texts[label] for label in labels if label in label_texts}
    if not texts:
        raise ValueError(
            f"label_texts has none of the labels of y, {labels!r}; its keys are "
            f"{list(label_texts)!r}."
        )
    for label, text in texts.items():
        if not isinstance(text, str):
            raise TypeError(f"label_texts[{label!r}] must be a string, got {text!r}.")
    return texts
