"""The method `export`, of estimators that score or embed texts as a whole."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from sktransfer.estimators.encoding import BaseEncoderEstimator, predicting
from sktransfer.fitting.exporting import write_served
from sktransfer.fitting.served_files import Labels, Output
from sktransfer.inputs import Row


class ExportMixin(BaseEncoderEstimator, ABC):
    """Gives an estimator the method `export`."""

    @predicting
    def export(self, folder: str | os.PathLike[str]) -> None:
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

        Raises
        ------
        ImportError
            If the extra is not installed: ``pip install "sktransfer[onnx]"``.
        ValueError
            If the folder holds other content, or if the encoder is recurrent.

        See Also
        --------
        sktransfer.serving.load : Read the folder.

        Examples
        --------
        >>> classifier.export("service")  # doctest: +SKIP
        >>> from sktransfer import serving
        >>> serving.load("service").predict(["a text"])  # doctest: +SKIP
        """
        write_served(
            self._predictor(),
            type(self).__name__,
            self._served_output(),
            example_rows(self.n_features_in_, self.max_length),
            Path(folder).expanduser(),
        )

    @abstractmethod
    def _served_output(self) -> Output:
        """What the outputs of the graph mean."""


def labels_of(classes: ArrayLike) -> Labels:
    """Classes in a form for JSON."""
    array = np.asarray(classes)
    return {"values": array.tolist(), "dtype": array.dtype.str}


def example_rows(n_columns: int, max_length: int) -> Sequence[Row]:
    """A row of more tokens than a window has, and a short one."""
    texts = [" ".join(["a"] * 4 * max_length), "a b c"]
    return texts if n_columns == 1 else [tuple([text] * n_columns) for text in texts]
