"""The forward pass over many rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sktransfer.inputs import EncodedRows
from sktransfer.inputs._batches import collate_windows, split_by_tokens
from sktransfer.nn import TransferModel, pool_windows
from sktransfer.runtime import autocast, is_out_of_memory, token_budget, width_multiple

_WINDOWS_AT_ONCE = 4096


@torch.inference_mode()
def pooled_features(
    model: TransferModel,
    rows: EncodedRows,
    pad_id: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Features (n_units, n_layers, pooled_size) of `rows`, on the CPU, in the order of the rows.

    Windows of like length are encoded together, whatever text they come from, so that neither
    padding nor one very long text costs more than a batch of memory. The model is left in the
    mode it had.
    """
    was_training = model.training
    modes = {module: module.training for module in model.modules()} if was_training else {}
    model.eval()
    try:
        vectors, counts = _window_features(model, rows, pad_id, device, dtype)
    finally:
        for module, mode in modes.items():
            module.training = mode
    if rows.units is not None:
        return vectors.flatten(2)
    return _pool_rows(vectors, counts, rows, model.pooling)


def _window_features(
    model: TransferModel,
    rows: EncodedRows,
    pad_id: int,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    lengths = rows.lengths
    n_vectors = len(lengths) if rows.units is None else int(rows.units.start[-1])
    vectors: Tensor | None = None
    counts = torch.empty(n_vectors, dtype=torch.int64)
    pending = split_by_tokens(lengths, token_budget(device, training=False))[::-1]
    multiple = width_multiple(device, dtype)
    while pending:
        windows = pending.pop()
        batch = collate_windows(rows, windows, pad_id, multiple=multiple).to(device)
        out_of_memory = False
        try:
            with autocast(device, dtype):
                batch_vectors, batch_counts = model.window_features(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(windows) == 1:
                raise
            out_of_memory = True
        if out_of_memory:
            half = len(windows) // 2
            pending += [windows[half:], windows[:half]]
            continue
        if vectors is None:
            vectors = torch.empty(n_vectors, *batch_vectors.shape[1:])
        places = windows if rows.units is None else rows.units.of_windows(windows)
        vectors[places] = batch_vectors.cpu()
        counts[places] = batch_counts.cpu()
    assert vectors is not None, "no rows"
    return vectors, counts


def _pool_rows(vectors: Tensor, counts: Tensor, rows: EncodedRows, pooling: str) -> Tensor:
    n_windows = np.diff(rows.row_start)
    features = torch.empty(len(n_windows), vectors.shape[1], vectors[0, 0].numel())
    # Rows with the same number of windows together: padding to the longest would need memory
    # for all rows times the windows of one.
    for count in np.unique(n_windows):
        members = np.flatnonzero(n_windows == count)
        for chunk in np.array_split(members, -(-len(members) * int(count) // _WINDOWS_AT_ONCE)):
            index = torch.from_numpy(rows.row_start[chunk][:, None] + np.arange(count))
            features[chunk] = pool_windows(
                vectors, counts, index, pooling, is_averaged=rows.is_averaged
            )
    return features
