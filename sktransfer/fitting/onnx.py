"""A fitted network as an ONNX graph."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sktransfer.fitting.predictor import Predictor
from sktransfer.inputs import EncodedRows, Row, pad_rows
from sktransfer.inputs.batches import Batch
from sktransfer.inputs.rows import WindowRole
from sktransfer.nn import TransferModel
from sktransfer.tasks import BlendableTask

Arrays = dict[str, NDArray[Any]]


def onnx_arrays(predictor: Predictor, texts: Sequence[Row]) -> Arrays:
    """Inputs of the graph for `texts`, all windows padded to one length."""
    arrays = _row_arrays(predictor.encode(texts), predictor.tokenizer.pad_id)
    if predictor.lexical is not None:
        arrays["lexical_scores"] = predictor.lexical.scores(texts)
    return arrays


def _row_arrays(rows: EncodedRows, pad_id: int) -> Arrays:
    return pad_rows(rows, np.arange(len(rows)), pad_id).inputs()


@dataclass(frozen=True)
class Ending:
    """Weighted sum that turns the scores of the head into those of the estimator.

    Attributes
    ----------
    scores, lexical, offset : ndarray of float32, shape (n_outputs,)
        Factors of the head's scores and of the lexical channel's, and what is added.
    has_lexical : bool
        Whether there is a lexical channel.
    """

    scores: NDArray[np.float32]
    lexical: NDArray[np.float32]
    offset: NDArray[np.float32]
    has_lexical: bool

    @classmethod
    def of(cls, predictor: Predictor) -> Ending:
        """Blend with the lexical scores, then scale and center."""
        task, n_outputs = predictor.task, predictor.model.head.linear.out_features
        scale = np.broadcast_to(getattr(task, "scale", 1.0), n_outputs)
        one = np.ones((1, n_outputs), dtype=np.float32)
        scores, lexical = one[0], 0 * one[0]
        if predictor.lexical is not None and isinstance(task, BlendableTask):
            weight = predictor.lexical_weight
            scores = task.blend(one, 0 * one, weight)[0]
            lexical = task.blend(0 * one, one, weight)[0]
        return cls(
            (scores * scale).astype(np.float32),
            (lexical * scale).astype(np.float32),
            np.broadcast_to(getattr(task, "center", 0.0), n_outputs).astype(np.float32),
            predictor.lexical is not None,
        )


class _Graph(nn.Module):
    """The network, called with the graph's inputs.

    With an `ending` it gives scores, without one the features of its highest layer.
    """

    def __init__(self, model: TransferModel, ending: Ending | None, role: WindowRole) -> None:
        super().__init__()
        self.model, self.role = model, role
        self.gives_scores = ending is not None
        if ending is not None:
            self.factor = torch.from_numpy(ending.scores)
            self.lexical_factor = torch.from_numpy(ending.lexical)
            self.offset = torch.from_numpy(ending.offset)

    def forward(
        self,
        token_ids: Tensor,
        attention_mask: Tensor,
        pool_mask: Tensor,
        window_index: Tensor,
        segment_ids: Tensor | None = None,
        lexical_scores: Tensor | None = None,
    ) -> Tensor:
        batch = Batch(
            token_ids=token_ids,
            attention_mask=attention_mask,
            pool_mask=pool_mask,
            window_index=window_index,
            segment_ids=segment_ids,
            window_role=self.role,
        )
        if not self.gives_scores:
            return self.model.features(batch)[:, 0]
        total: Tensor = self.model(batch) * self.factor + self.offset
        return total if lexical_scores is None else total + lexical_scores * self.lexical_factor


def write_onnx(
    predictor: Predictor,
    texts: Sequence[Row],
    path: str | os.PathLike[str],
    *,
    features: bool = False,
) -> None:
    """Write the graph of the scores, or of the `features`, to `path`.

    The `texts`, two or more, some of two windows, show what it reads.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f'An ONNX graph needs {" and ".join(missing)}: pip install "sktransfer[onnx]"'
        )
    model = predictor.model
    if model.encoder.is_recurrent:
        raise ValueError(
            "encoder: a recurrent encoder, which reads texts of any length in chunks "
            "with carried state, has no ONNX graph; use a transformer or a static table."
        )
    rows = predictor.encode(texts)
    ending = None if features else Ending.of(predictor)
    arrays = _row_arrays(rows, predictor.tokenizer.pad_id)
    has_lexical = ending is not None and ending.has_lexical
    if ending is not None and has_lexical:
        arrays["lexical_scores"] = np.zeros((len(rows), len(ending.scores)), dtype=np.float32)
    graph = _Graph(model, ending, rows.window_role).eval()
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    dynamic = torch.export.Dim.DYNAMIC
    sizes = {name: {0: dynamic, 1: dynamic} for name in inputs}
    if has_lexical:
        sizes["lexical_scores"] = {0: dynamic}
    if rows.window_role != "part":
        sizes["window_index"] = {0: dynamic}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        program = torch.onnx.export(
            graph,
            kwargs=inputs,
            dynamic_shapes=sizes,
            input_names=list(inputs),
            output_names=["features" if features else "scores"],
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(os.fspath(path))
