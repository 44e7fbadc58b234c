"""Gradients of scores with respect to token embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sktransfer.fitting.predictor import Predictor
from sktransfer.inputs import EncodedRows, Row, collate_rows, content_ids, shorten_longest
from sktransfer.inputs.batches import Batch

_N_STEPS = 16
_TOKENS_AT_ONCE = 2048
# Column, first character and the one behind the last of each token; and its importance.
TokenImportances = list[tuple[int, int, int, float]]


def token_importances(
    predictor: Predictor, row: Row, weights: NDArray[np.float64]
) -> TokenImportances:
    """Integrated gradients of each token of a row.

    The path is a straight line in the space of token embeddings, from the mask token (without one,
    padding) in the place of each token of the text to the text (Sundararajan, Taly and Yan 2017,
    arXiv:1703.01365).

    Parameters
    ----------
    predictor : Predictor
        Scores rows as a whole.
    row : Row
        A text, or several.
    weights : ndarray of shape (n_outputs,)
        Weight of each of the network's scores in what is explained.

    Returns
    -------
    list of (int, int, int, float)
        Column, first character, the one behind the last, and the importance of each token that the
        network reads of the row.
    """
    if predictor.model.encoder.is_recurrent:
        raise ValueError(
            "method='gradient' is not supported for recurrent encoders, which read texts in "
            "chunks; use method='occlusion'."
        )
    rows = predictor.encode([row])
    values = _integrated_gradients(predictor, rows, weights)
    texts = (row,) if isinstance(row, str) else tuple(text or "" for text in row)
    if len(texts) == 1:
        places = [_pooled(rows, values)]
    else:
        places = _by_column(predictor, texts, rows, values)
    _, spans = predictor.tokenizer.encode_spans(list(texts))
    return [
        (column, int(start), int(stop), float(value))
        for column, (found, spans_of_text) in enumerate(zip(places, spans, strict=True))
        # A text that was cut has fewer tokens than spans.
        for value, (start, stop) in zip(found, spans_of_text, strict=False)
    ]


def _integrated_gradients(
    predictor: Predictor, row: EncodedRows, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Importance of each token of the windows (n_windows, n_tokens) of one row."""
    shares = (np.arange(_N_STEPS) + 0.5) / _N_STEPS
    n_passes = min(_N_STEPS, -(-_N_STEPS * int(row.lengths.sum()) // _TOKENS_AT_ONCE))
    parts = [_gradients(predictor, row, part, weights) for part in np.array_split(shares, n_passes)]
    return np.asarray(np.concatenate(parts).mean(axis=0))


def _gradients(
    predictor: Predictor,
    row: EncodedRows,
    shares: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Importances (n_shares, n_windows, n_tokens) at points of the path, in one pass."""
    model, tokenizer = predictor.model, predictor.tokenizer
    n_shares, n_windows = len(shares), len(row.windows)
    rows = row.take(np.zeros(n_shares, dtype=np.intp))
    batch: Batch = collate_rows(rows, np.arange(n_shares), tokenizer.pad_id)
    table = model.encoder.token_embedding().weight
    neutral = tokenizer.pad_id if tokenizer.mask_id is None else tokenizer.mask_id
    own = table[batch.token_ids].detach()
    difference = (own - table[neutral].detach()) * _is_content(rows, batch)[:, :, None]
    left = torch.from_numpy(np.repeat(1 - shares, n_windows)).float()[:, None, None]
    vectors = (own - left * difference).requires_grad_()
    with _Embedded(table, vectors):
        scores = model(batch)
    score = (scores.double() * torch.from_numpy(weights)).sum()
    (gradient,) = torch.autograd.grad(score, vectors)
    products = (gradient * difference).sum(dim=-1).double().numpy()
    return np.asarray(products.reshape(n_shares, n_windows, -1))


def _is_content(rows: EncodedRows, batch: Batch) -> Tensor:
    """Which tokens of a batch of all windows are those of a text."""
    lengths = torch.from_numpy(rows.lengths)[:, None]
    positions = torch.arange(batch.token_ids.shape[1])
    return (positions >= rows.n_prefix) & (positions < lengths - rows.n_suffix)


class _Embedded(TorchFunctionMode):
    """Gives `vectors` for the token embeddings in the block, in this thread alone."""

    def __init__(self, table: Tensor, vectors: Tensor) -> None:
        super().__init__()
        self._table, self._vectors = table, vectors

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is functional.embedding and args[1] is self._table:
            return self._vectors
        return func(*args, **(kwargs or {}))


def _pooled(rows: EncodedRows, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of the tokens of a text: each in the window in which it is pooled."""
    return np.concatenate(
        [
            of_window[start:stop]
            for of_window, start, stop in zip(
                values, rows.pool_start.tolist(), rows.pool_stop.tolist(), strict=True
            )
        ]
    )


def _by_column(
    predictor: Predictor,
    texts: tuple[str, ...],
    rows: EncodedRows,
    values: NDArray[np.float64],
) -> list[NDArray[np.float64]]:
    """Values of the tokens of each text of a row, summed over the orders in which it is read."""
    tokenizer = predictor.tokenizer
    if rows.window_role == "text":
        bounds = zip(values, rows.pool_start.tolist(), rows.pool_stop.tolist(), strict=True)
        return [of_window[start:stop] for of_window, start, stop in bounds]
    lengths = np.array([[len(ids) for ids in content_ids(tokenizer, texts)]])
    n_gaps = (len(texts) - 1) * len(tokenizer.separator)
    (kept,) = shorten_longest(lengths, int(rows.pool_stop[0] - rows.pool_start[0]) - n_gaps)
    found = [np.zeros(size) for size in kept.tolist()]
    columns = list(range(len(texts)))
    for of_window, order in zip(values, (columns, columns[::-1]), strict=False):
        start = int(rows.pool_start[0])
        for column in order:
            stop = start + int(kept[column])
            found[column] += of_window[start:stop]
            start = stop + len(tokenizer.separator)
    return found
