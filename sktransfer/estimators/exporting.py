"""The method `export`, of estimators that score or embed texts as a whole."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sktransfer.estimators.encoding import BaseEncoderEstimator, predicting
from sktransfer.fitting.exporting import write_served
from sktransfer.fitting.served_files import Labels, Output
from sktransfer.inputs import Row
from sktransfer.runtime import find_stack_level


class ExportMixin(BaseEncoderEstimator, ABC):
    """Gives an estimator the method `export`."""

    @predicting
    def export(
        self,
        folder: str | os.PathLike[str],
        *,
        quantize: Literal["int8"] | None = None,
        X: Any = None,
    ) -> None:
        """Write the fitted estimator for `sktransfer.serving`, which predicts without PyTorch.

        The folder holds the network as an ONNX graph in float32, the tokenizer, the TF-IDF model
        and the classes; `sktransfer.serving.load` reads it with ONNX Runtime, NumPy and SciPy. It
        cannot be trained further: keep what `save` writes, too. It is written as a whole: a
        process that is killed leaves the old one.

        Parameters
        ----------
        folder : str or path-like
            Folder to create. One that holds an exported estimator is replaced; other content is
            refused.
        quantize : {"int8"}, default=None
            ``"int8"`` keeps the weights of matrix products in 8 bits and rounds what they are
            multiplied with: predictions are faster and change a little. ONNX Runtime must be
            installed.
        X : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            Texts on which the change by `quantize` is measured; needed with it.

        Raises
        ------
        ImportError
            If the extra is not installed: ``pip install "sktransfer[onnx]"``.
        ValueError
            If the folder holds other content, or if the encoder is recurrent.

        Warns
        -----
        UserWarning
            How predictions for `X` change by `quantize`.

        See Also
        --------
        sktransfer.serving.load : Read the folder.

        Examples
        --------
        >>> classifier.export("service")  # doctest: +SKIP
        >>> from sktransfer import serving
        >>> serving.load("service").predict(["a text"])  # doctest: +SKIP
        """
        if quantize not in (None, "int8"):
            raise ValueError(f"quantize must be None or 'int8', got {quantize!r}.")
        if (quantize is None) != (X is None):
            raise ValueError(
                "quantize='int8' and X go together: X are texts on which the change of the "
                "predictions is measured."
            )
        output = self._served_output()
        outputs = write_served(
            self._predictor(),
            type(self).__name__,
            output,
            example_rows(self.n_features_in_, self.max_length),
            Path(folder).expanduser(),
            None if X is None else self._check_rows(X, reset=False),
        )
        if outputs is not None:
            message = _change(output["kind"], *outputs)
            warnings.warn(message, UserWarning, stacklevel=find_stack_level())

    @abstractmethod
    def _served_output(self) -> Output:
        """What the outputs of the graph mean."""


def _change(kind: str, before: NDArray[np.float32], after: NDArray[np.float32]) -> str:
    """What int8 did to the outputs of a graph, in a sentence."""
    if kind in ("classes", "multilabel"):
        chosen = [
            scores.argmax(axis=1) if kind == "classes" else scores > 0 for scores in (before, after)
        ]
        share = np.mean(chosen[0] == chosen[1])
        return f"int8: {share:.1%} of the predictions for the {len(before)} rows of X are the same."
    error = np.sqrt(np.mean((before - after) ** 2) / np.var(before))
    return (
        f"int8: the outputs for the {len(before)} rows of X change by {error:.1%} of their "
        "standard deviation (root mean square)."
    )


def labels_of(classes: ArrayLike) -> Labels:
    """Classes in a form for JSON."""
    array = np.asarray(classes)
    return {"values": array.tolist(), "dtype": array.dtype.str}


def example_rows(n_columns: int, max_length: int) -> Sequence[Row]:
    """A row of more tokens than a window has, and a short one."""
    texts = [" ".join(["a"] * 4 * max_length), "a b c"]
    return texts if n_columns == 1 else [tuple([text] * n_columns) for text in texts]
