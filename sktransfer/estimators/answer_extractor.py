"""TransferAnswerExtractor."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length

from sktransfer.encoders import DEFAULT_ENCODER, EncoderHandle
from sktransfer.estimators.base import BaseTransferEstimator, weights_of
from sktransfer.estimators.docstrings import documented
from sktransfer.estimators.encoding import predicting
from sktransfer.estimators.targets import BaseTargets
from sktransfer.fitting.data import LabeledTexts
from sktransfer.inputs import (
    PassageFormat,
    Row,
    RowFormat,
    accepted_texts,
    answer_f1,
    answer_match,
    check_answers,
    locate_answers,
    whole_letters,
)
from sktransfer.tasks import AnswerTask, Task


@documented
class TransferAnswerExtractor(BaseTransferEstimator):
    """Answers to questions, found in a text, fine-tuned from a pretrained language model.

    A row of `X` is a question and a context. `y` has the answers: a text that occurs in the
    context (its first occurrence counts, however its accents are encoded), or a pair (start,
    stop) of character positions, or None where the context has no answer. Long contexts are read
    whole, in overlapping windows, each behind the question; first and last token of an answer are
    chosen among the tokens of all windows together (Clark and Gardner, 2018, arXiv:1710.10723).
    An answer has at most 30 tokens.

    Parameters
    ----------
    max_length : int, default=256
        Tokens that the encoder reads at once, question and a part of the context, at most what
        it can read. A question is cut, with a warning, where it would fill more than half.

    Attributes
    ----------
    may_abstain_ : bool
        Whether `fit` saw rows without an answer, so that `predict` may find none.

    Examples
    --------
    >>> from sktransfer import TransferAnswerExtractor
    >>> names, cities = ["Ann", "Bob", "Eve", "Tom"], ["Rome", "Oslo", "Bern", "Cork"]
    >>> X = [("Where?", f"{name} lives in {city}.") for name in names for city in cities]
    >>> model = TransferAnswerExtractor(max_epochs=0, random_state=0).fit(X, cities * 4)
    >>> model.predict([("Where?", "Mary lives in Lima."), ("Where?", "Paul lives in Bonn.")])
    array(['Lima', 'Bonn'], dtype=object)
    """

    def __init__(
        self,
        encoder: str | os.PathLike[str] | EncoderHandle = DEFAULT_ENCODER,
        *,
        max_length: int = 256,
        trainable_layers: int | Literal["all", "auto"] | None = None,
        gradual_unfreezing: bool = False,
        max_epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 3e-4,
        layer_decay: float = 0.8,
        weight_decay: float = 0.01,
        schedule: str = "linear",
        warmup_fraction: float = 0.1,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        warm_start: bool = False,
        device: str = "auto",
        precision: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            encoder,
            max_length=max_length,
            trainable_layers=trainable_layers,
            gradual_unfreezing=gradual_unfreezing,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            layer_decay=layer_decay,
            weight_decay=weight_decay,
            schedule=schedule,
            warmup_fraction=warmup_fraction,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            device=device,
            precision=precision,
            random_state=random_state,
            verbose=verbose,
        )

    @predicting
    def predict(
        self, X: Any, return_offsets: bool = False
    ) -> NDArray[np.object_] | tuple[NDArray[np.object_], NDArray[np.int64]]:
        """Answer to each question.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            Questions and contexts.
        return_offsets : bool, default=False
            Whether to return where the answers stand, too.

        Returns
        -------
        answers : ndarray of object, shape (n_samples,)
            Parts of the contexts. None where no answer is more likely, which only a fit on rows
            without an answer can find; the empty text where a context has no words.
        offsets : ndarray of int64, shape (n_samples, 2)
            Characters ``[start, stop)`` of the answers, (-1, -1) where there is none. Only if
            `return_offsets` is true.
        """
        _, answers, offsets = self._answers(X)
        return (answers, offsets) if return_offsets else answers

    @predicting
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean F1 of the words of the answers.

        Words are compared as in SQuAD: in lower case, without punctuation and the articles "a",
        "an" and "the" (Rajpurkar et al., 2016, arXiv:1606.05250), and however their accents are
        encoded (NFC or NFD). Rows without an answer count 1
        if none is found, else 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            Questions and contexts.
        y : array-like of shape (n_samples,)
            Answers as in `fit`, or lists of texts, of which the nearest counts.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        float
            Between 0 and 1.
        """
        return self._mean_of(answer_f1, X, y, sample_weight)

    @predicting
    def exact_match_score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the answers that are right, word for word.

        Words are compared as in `score`.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            Questions and contexts.
        y : array-like of shape (n_samples,)
            Answers as in `fit`, or lists of texts, of which any will do.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        float
            Between 0 and 1.
        """
        return self._mean_of(answer_match, X, y, sample_weight)

    def _answers(self, X: Any) -> tuple[list[str], NDArray[np.object_], NDArray[np.int64]]:
        """Contexts, the best answers in them, and the characters of these."""
        scored = self._score_rows(X)
        units = scored.encoded.units
        assert units is not None
        pairs = self.task_.decode(scored.by_row()) + scored.encoded.unit_start[:-1, None]
        offsets = np.stack([units.source[pairs[:, 0], 0], units.source[pairs[:, 1], 1]], axis=1)
        if not self.task_.may_abstain:
            # Of a context without words, the empty text.
            offsets = offsets.clip(min=0)
        contexts = _contexts(scored.rows)
        answers = np.full(len(contexts), None, dtype=object)
        for row in np.flatnonzero(offsets[:, 1] >= 0).tolist():
            # A tokenizer may leave accents out, or make each a token of its own.
            offsets[row] = whole_letters(contexts[row], *offsets[row].tolist())
            answers[row] = contexts[row][slice(*offsets[row])]
        return contexts, answers, offsets

    def _mean_of(
        self,
        compare: Callable[[str | None, str | None], float],
        X: Any,
        y: Any,
        sample_weight: Any,
    ) -> float:
        expected = self._targets(y).check(y)
        contexts, answers, _ = self._answers(X)
        check_consistent_length(answers, expected)
        weights = weights_of(sample_weight, len(expected))
        values = [
            max(compare(answer, text) for text in texts)
            for answer, texts in zip(answers, accepted_texts(contexts, expected), strict=True)
        ]
        return float(np.average(values, weights=weights))

    def _row_format(self) -> RowFormat:
        return PassageFormat()

    def _targets(self, y: Any) -> AnswerTargets:
        return AnswerTargets()


class AnswerTargets(BaseTargets):
    """Answers: texts, or characters of the context."""

    def check(self, y: Any, *, name: str = "y") -> NDArray[np.object_]:
        """Answers in one form."""
        return check_answers(y, name=name)

    def match(self, y: NDArray[Any], texts: Sequence[Row], *, name: str = "y") -> NDArray[np.int64]:
        """Characters ``[start, stop)`` of the answers in their contexts."""
        return locate_answers(_contexts(texts), y, name=name)

    def task(self, rows: LabeledTexts) -> Task:
        """Extraction; rows without an answer let predictions abstain."""
        return AnswerTask(may_abstain=bool((rows.y[:, 1] < 0).any()))

    def attributes(self, task: Task, label_texts: Mapping[Any, str]) -> dict[str, Any]:
        """`may_abstain_`."""
        assert isinstance(task, AnswerTask)
        return {"may_abstain_": task.may_abstain}


def _contexts(rows: Sequence[Row]) -> list[str]:
    return [context for _, context in cast(Sequence[tuple[str, str]], rows)]
