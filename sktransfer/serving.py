"""Predictions of exported estimators with ONNX Runtime, without PyTorch and scikit-learn.

An estimator is exported by its method `export`. Importing this module loads neither PyTorch nor
transformers nor scikit-learn, so that a service is small and starts within a second.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, log_softmax, softmax

from sktransfer.fitting.served_files import (
    DOCUMENT_FILE,
    FORMAT,
    LEXICAL_FILE,
    NETWORK_FILE,
    TOKENIZER_FILE,
    WORDS_FILE,
    Document,
    Labels,
    Output,
    Reading,
)
from sktransfer.fitting.tfidf import LexicalColumns
from sktransfer.inputs import (
    EncodedRows,
    FastTokenizer,
    Row,
    TextFormat,
    Tokenizer,
    distinct,
    pad_rows,
    prompted,
    split_by_tokens,
)

__all__ = ["ServedClassifier", "ServedRegressor", "ServedVectorizer", "load"]

# Padded tokens per run of the graph: little padding, and activations that fit into caches.
_TOKEN_BUDGET = 128
_LABEL_KINDS = "biufUO"


@dataclass(frozen=True)
class _Lexical:
    """Scores of the linear model on TF-IDF columns."""

    columns: LexicalColumns
    coef: NDArray[np.float32]
    intercept: NDArray[np.float32]

    def scores(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        found = self.columns.transform(rows) @ self.coef.T + self.intercept
        return np.asarray(found, dtype=np.float32)


@dataclass(frozen=True)
class _Network:
    """An exported network with its tokenizer."""

    session: Any
    tokenizer: Tokenizer
    reading: Reading
    lexical: _Lexical | None

    def outputs(self, X: Any) -> NDArray[np.float32]:
        """What the graph gives (n_rows, n_outputs); each distinct row is computed once."""
        reading = self.reading
        row_format = TextFormat(
            reading["long_texts"], reading["symmetric"], reading["missing"], reading["bi_encoder"]
        )
        rows = row_format.check(X)
        n_columns = row_format.n_columns(rows)
        if n_columns != reading["n_columns"]:
            raise ValueError(
                f"X has {n_columns} columns of texts, but the estimator was fitted on "
                f"{reading['n_columns']}."
            )
        first, inverse = distinct(rows)
        chosen = [rows[i] for i in first]
        max_length = reading["max_length"]
        encoded = row_format.encode(chosen, self.tokenizer, max_length=max_length)
        if encoded.n_truncated:
            message = row_format.cut_message.format(n=encoded.n_truncated, max_length=max_length)
            warnings.warn(message, UserWarning, stacklevel=3)
        lexical = None if self.lexical is None else self.lexical.scores(chosen)
        return self._run(encoded, lexical)[inverse]

    def _run(self, rows: EncodedRows, lexical: NDArray[np.float32] | None) -> NDArray[np.float32]:
        groups = split_by_tokens(rows.row_lengths, _TOKEN_BUDGET)
        found = [self._run_group(rows, group, lexical) for group in groups]
        outputs = np.empty((len(rows), found[0].shape[1]), dtype=np.float32)
        outputs[np.concatenate(groups)] = np.concatenate(found)
        return outputs

    def _run_group(
        self, rows: EncodedRows, group: NDArray[np.intp], lexical: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        inputs = pad_rows(rows, group, self.tokenizer.pad_id).inputs()
        if lexical is not None:
            inputs["lexical_scores"] = lexical[group]
        (found,) = self.session.run(None, inputs)
        return np.asarray(found, dtype=np.float32)


class ServedClassifier:
    """An exported classifier; `load` makes it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,) or (n_labels, 2)
        As the estimator's own: labels, in the order of the probabilities.
    is_multilabel : bool
        Whether a text may have several labels.
    """

    def __init__(self, network: _Network, output: Output) -> None:
        self._network = network
        self.classes_ = _label_array(output["labels"])
        self.is_multilabel = output["kind"] == "multilabel"

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable label of each text, or all labels that are more probable than not.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, in any form that the estimator's own `predict` takes.

        Returns
        -------
        ndarray of shape (n_samples,), or of 0 and 1 of shape (n_samples, n_labels)
            Labels.
        """
        scores = self._network.outputs(X)
        if self.is_multilabel:
            return (scores > 0).astype(np.int64)
        labels: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32
            Columns in the order of `classes_`.
        """
        scores = self._network.outputs(X)
        return np.asarray(expit(scores) if self.is_multilabel else softmax(scores, axis=1))

    def predict_log_proba(self, X: Any) -> NDArray[np.float32]:
        """Logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32
            Columns in the order of `classes_`.
        """
        scores = self._network.outputs(X)
        return np.asarray(log_expit(scores) if self.is_multilabel else log_softmax(scores, axis=1))


class ServedRegressor:
    """An exported regressor; `load` makes it."""

    def __init__(self, network: _Network, output: Output) -> None:
        self._network = network
        self._is_flat = output["is_flat"]

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predicted targets of each text.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, in any form that the estimator's own `predict` takes.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions.
        """
        outputs = self._network.outputs(X).astype(np.float64)
        return outputs[:, 0] if self._is_flat else outputs


class ServedVectorizer:
    """An exported vectorizer; `load` makes it."""

    def __init__(self, network: _Network, output: Output) -> None:
        self._network = network
        self._normalizes = output["normalize"]

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Features of each text.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, in any form that the estimator's own `transform` takes.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            Features.
        """
        features = self._network.outputs(X)
        if not self._normalizes:
            return features
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        return np.asarray(features / np.where(lengths > 0, lengths, 1), dtype=np.float32)


_SERVED: dict[str, Any] = {
    "classes": ServedClassifier,
    "multilabel": ServedClassifier,
    "numbers": ServedRegressor,
    "features": ServedVectorizer,
}


def load(
    folder: str | os.PathLike[str], *, n_threads: int | None = None
) -> ServedClassifier | ServedRegressor | ServedVectorizer:
    """Load an estimator that its method `export` wrote.

    Nothing in the folder can run code. Threads may predict with the result at the same time.

    Parameters
    ----------
    folder : str or path-like
        What `export` was given.
    n_threads : int or None, default=None
        Threads of a prediction; None takes all cores.

    Returns
    -------
    ServedClassifier, ServedRegressor or ServedVectorizer
        Predicts on the CPU.

    Raises
    ------
    ImportError
        If the extra is not installed: ``pip install "sktransfer[serve]"``.
    ValueError
        If the folder is damaged, or was written by a newer version or by something else.

    Examples
    --------
    >>> from sktransfer import serving
    >>> classifier.export("service")  # doctest: +SKIP
    >>> serving.load("service").predict(["a text"])  # doctest: +SKIP
    """
    try:
        import onnxruntime
        from tokenizers import Tokenizer as Backend
    except ImportError as error:
        raise ImportError(
            f'sktransfer.serving needs {error.name}: pip install "sktransfer[serve]"'
        ) from error
    folder = Path(folder).expanduser()
    document = _read_document(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _checked_threads(n_threads)
    try:
        reading, output = document["reading"], document["output"]
        backend = Backend.from_file(str(folder / TOKENIZER_FILE))
        tokenizer = FastTokenizer(
            backend, pad_id=reading["pad_id"], special_tokens=reading["special_tokens"]
        )
        network = _Network(
            onnxruntime.InferenceSession(
                str(folder / NETWORK_FILE), options, providers=["CPUExecutionProvider"]
            ),
            prompted(tokenizer, reading["prompt"]),
            reading,
            _read_lexical(folder) if document["has_lexical"] else None,
        )
        served: ServedClassifier | ServedRegressor | ServedVectorizer
        served = _SERVED[output["kind"]](network, output)
    # Both libraries raise exceptions of their own, derived from nothing more special.
    except Exception as error:
        raise ValueError(f"folder={str(folder)!r} is damaged: {error}") from error
    return served


def _checked_threads(n_threads: Any) -> int:
    if n_threads is None:
        return 0  # ONNX Runtime's word for all cores
    if isinstance(n_threads, bool) or not isinstance(n_threads, Integral) or n_threads < 1:
        raise ValueError(f"n_threads must be a positive integer or None, got {n_threads!r}.")
    return int(n_threads)


def _read_document(folder: Path) -> Document:
    path = folder / DOCUMENT_FILE
    if not path.is_file():
        raise ValueError(
            f"folder={str(folder)!r} holds no exported estimator: {DOCUMENT_FILE} is missing "
            "(sktransfer.load reads what save wrote)."
        )
    try:
        document: Document = json.loads(path.read_text("utf-8"))
        version = document["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error!r}") from error
    if version != FORMAT:
        raise ValueError(
            f"folder={str(folder)!r} has format {version!r}, and this version of sktransfer reads "
            f"format {FORMAT}: load it with the version that exported it."
        )
    return document


def _read_lexical(folder: Path) -> _Lexical:
    columns = LexicalColumns()
    vectorizer = columns.vectorizer
    vectorizer.words_ = json.loads((folder / WORDS_FILE).read_text("utf-8"))
    with (folder / LEXICAL_FILE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        vectorizer.idf_, vectorizer.pairs_ = arrays["idf"], arrays["pairs"]
        return _Lexical(columns, arrays["coef"], arrays["intercept"])


def _label_array(labels: Labels) -> NDArray[Any]:
    dtype = np.dtype(labels["dtype"])
    if dtype.kind not in _LABEL_KINDS:
        raise ValueError(f"labels of {dtype} are unknown")
    return np.array(labels["values"], dtype=dtype)
