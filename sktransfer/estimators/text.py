"""Base of the estimators that score each text or row of texts as a whole."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Literal, Self

from numpy.typing import NDArray

from sktransfer.estimators.base import BaseTransferEstimator
from sktransfer.estimators.encoding import predicting
from sktransfer.estimators.exporting import ExportMixin, example_rows
from sktransfer.estimators.parameters import PREDICTION, SUPERVISED, TEXT, Constraints
from sktransfer.estimators.sklearn_private import StrOptions, fit_context
from sktransfer.fitting.callbacks import with_callbacks
from sktransfer.fitting.onnx import onnx_arrays, write_onnx
from sktransfer.inputs import RowFormat, TextFormat


class BaseTextEstimator(ExportMixin, BaseTransferEstimator):
    """Estimator of rows of one text or of several columns, each row scored as a whole.

    A subclass has the parameters of these constraints.
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **SUPERVISED,
        **TEXT,
        **PREDICTION,
        "pair_encoder": [StrOptions({"auto", "cross", "bi"})],
    }

    max_length: int
    long_texts: Literal["window", "truncate"]
    pair_encoder: Literal["auto", "cross", "bi"]
    symmetric: bool
    missing: Literal["error", "empty"]

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        unlabeled: Any = None,
    ) -> Self:
        """Fine-tune the encoder on rows of text and their targets.

        Ctrl-C while the network trains raises KeyboardInterrupt from a fitted estimator: it has the
        weights so far, or the best so far if there are validation rows. Before and after the
        training, the estimator stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts: list, generator, NumPy array, pandas or polars Series, pyarrow array. A table,
            a two-dimensional array or a list of tuples gives several texts per row, such as the
            two of a pair.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row. Rows of weight zero are dropped before anything else sees them.
        X_val : array-like of shape (n_val_samples,), default=None
            Rows to score after each epoch, in the place of a part of `X`.
        y_val : array-like of shape (n_val_samples,), default=None
            Targets of `X_val`.
        unlabeled : iterable of str, str or path, default=None
            Texts without targets that the encoder is adapted to, beside those of `X`, if
            `adapt_epochs` is positive: in any form that `LanguageModel.fit` takes. Never give it
            texts that the estimator is judged on.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a text, a target or a parameter cannot be used; the message names it.
        TypeError
            If a text is not a string.
        FloatingPointError
            If the loss is not finite. As after every error, the estimator stays as it was.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, unlabeled)

    @predicting
    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted network as an ONNX graph, from token ids to scores.

        The graph has the one output ``scores``, of shape (n_samples, n_outputs): a classifier's
        are logits in the order of `classes_`, whose softmax (of multilabel targets: sigmoid) is
        `predict_proba`; a regressor's are its predictions. What it reads is what `onnx_inputs`
        gives: tokenizing and the TF-IDF of the lexical channel are not part of it; `export` writes
        these, too.

        Parameters
        ----------
        path : str or path-like
            File to write. Networks above 2 GB have their weights in a file beside it.

        Raises
        ------
        ImportError
            If the extra is not installed: ``pip install "sktransfer[onnx]"``.
        ValueError
            If the encoder is recurrent.

        See Also
        --------
        onnx_inputs : What the graph is fed with.
        export : Graph, tokenizer and TF-IDF for predictions without PyTorch.

        Examples
        --------
        >>> import onnxruntime  # doctest: +SKIP
        >>> classifier.to_onnx("classifier.onnx")  # doctest: +SKIP
        >>> session = onnxruntime.InferenceSession("classifier.onnx")  # doctest: +SKIP
        >>> session.run(["scores"], classifier.onnx_inputs(texts))  # doctest: +SKIP
        """
        example = example_rows(self.n_features_in_, self.max_length)
        write_onnx(self._predictor(), example, path)

    @predicting
    def onnx_inputs(self, X: Any) -> dict[str, NDArray[Any]]:
        """Arrays that the graph of `to_onnx` reads for `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts; all of them are padded to the longest, so give a moderate number at once.

        Returns
        -------
        dict of str to ndarray
            ``token_ids``, ``attention_mask`` and ``pool_mask`` (which tokens are pooled) of shape
            (n_windows, n_tokens); ``window_index`` (n_samples, most windows of a sample), filled
            up with -1; for rows of several texts ``segment_ids``; and where there is a lexical
            channel, its ``lexical_scores`` (n_samples, n_outputs).
        """
        return onnx_arrays(self._predictor(), self._check_rows(X, reset=False))

    def _row_format(self) -> RowFormat:
        model = getattr(self, "model_", None)
        is_bi_encoder = model is not None and model.is_bi_encoder
        return TextFormat(self.long_texts, self.symmetric, self.missing, is_bi_encoder)
