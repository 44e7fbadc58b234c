"""From the states of tokens to features of a text.

Pooling has two steps so that a long text, read in windows, needs no more memory at once than a
few windows: tokens to vectors (and a weight) a window, windows to features a row. For every
pooling the two steps together equal pooling over all tokens of the text.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# A pooling is one or more elementary ones side by side. The three of "concat" are the
# concat pooling of ULMFiT (Howard and Ruder 2018, section 3.3).
_PARTS = {
    "mean": ("mean",),
    "cls": ("cls",),
    "last": ("last",),
    "max": ("max",),
    "concat": ("last", "max", "mean"),
}
POOLINGS = tuple(_PARTS)


def pooled_size(pooling: str, hidden_size: int) -> int:
    """Length of the vector that `pooling` gives for states of `hidden_size`."""
    return len(_PARTS[pooling]) * hidden_size


def pool_tokens(
    layers: Sequence[Tensor], pool_mask: Tensor, pooling: str, *, n_backward: int = 0
) -> tuple[Tensor, Tensor]:
    """Pool the states of each window.

    Parameters
    ----------
    layers : sequence of Tensor of shape (n_windows, n_tokens, hidden_size)
        States of one or more layers of the encoder.
    pool_mask : Tensor of shape (n_windows, n_tokens)
        Tokens that count; at least one per window.
    pooling : str
        One of `POOLINGS`.
    n_backward : int, default=0
        Trailing dimensions of a state whose encoder read the text from its end: their last
        state is that of the first token.

    Returns
    -------
    vectors : Tensor of shape (n_windows, n_layers, n_parts, hidden_size)
        Pooled states, float32.
    counts : Tensor of shape (n_windows,)
        Tokens that were counted: the weight of a window in the mean of its row.
    """
    counts, parts = pool_mask.sum(dim=1), _PARTS[pooling]
    vectors = [
        torch.stack(
            [_pool_parts(states.float(), pool_mask, counts, part, n_backward) for part in parts], 1
        )
        for states in layers
    ]
    return torch.stack(vectors, dim=1), counts


def pick_tokens(layers: Sequence[Tensor], unit_index: Tensor) -> Tensor:
    """States (n_units, n_layers, 1, hidden_size) of single tokens, float32.

    Parameters
    ----------
    layers : sequence of Tensor of shape (n_windows, n_tokens, hidden_size)
        States of one or more layers of the encoder.
    unit_index : Tensor of shape (n_units,)
        Places of the tokens, counted over all windows.
    """
    picked = [states.flatten(0, 1)[unit_index].float() for states in layers]
    return torch.stack(picked, dim=1).unsqueeze(2)


def pool_windows(
    vectors: Tensor,
    counts: Tensor,
    window_index: Tensor,
    pooling: str,
    *,
    role: str = "part",
) -> Tensor:
    """Pool the windows of each row.

    Parameters
    ----------
    vectors, counts : Tensor
        What `pool_tokens` returned.
    window_index : Tensor of shape (n_rows, max_windows)
        Windows of each row in reading order, -1 where there is none.
    pooling : str
        One of `POOLINGS`.
    role : {"part", "reading", "text"}, default="part"
        What windows are: parts of the text of a row, or as many in every row: readings of it, which
        are averaged, or its texts, whose vectors stay side by side.

    Returns
    -------
    Tensor of shape (n_rows, n_layers, pooled_size), or n_texts * pooled_size for texts
        Features of each row: ``"mean"`` weights windows by their tokens, ``"cls"`` takes the
        first window's, ``"last"`` the last window's.
    """
    if window_index.shape[1] == 1:
        return vectors[window_index[:, 0]].flatten(2)
    if role == "reading":
        return vectors[window_index].mean(dim=1).flatten(2)
    if role == "text":
        return vectors[window_index].transpose(1, 2).flatten(2)
    present = window_index >= 0
    index = window_index.clamp(min=0)
    n_rows, n_windows = index.shape
    weights = counts[index] * present
    pooled = []
    for number, part in enumerate(_PARTS[pooling]):
        windows = vectors[index, :, number].reshape(n_rows, n_windows, -1)
        if part == "mean":
            mean = (windows * weights.unsqueeze(2)).sum(dim=1)
            pooled.append(mean / weights.sum(dim=1, keepdim=True).clamp(min=1))
        else:
            pooled.append(_pool(windows, present, counts, part))
    return torch.cat([part.view(n_rows, vectors.shape[1], -1) for part in pooled], dim=2)


def _pool_parts(states: Tensor, mask: Tensor, counts: Tensor, part: str, n_backward: int) -> Tensor:
    if part != "last" or not n_backward:
        return _pool(states, mask, counts, part)
    n_forward = states.shape[2] - n_backward
    last = _pool(states[:, :, :n_forward], mask, counts, "last")
    return torch.cat([last, states[:, 0, n_forward:]], dim=1)


def _pool(states: Tensor, mask: Tensor, counts: Tensor, part: str) -> Tensor:
    """One elementary pooling of (n, n_items, size) over the items that `mask` has."""
    if part == "mean":
        total = (states * mask.unsqueeze(2)).sum(dim=1)
        return total / counts.clamp(min=1).unsqueeze(1)
    if part == "cls":
        return states[:, 0]
    if part == "max":
        return states.masked_fill(~mask.unsqueeze(2), -torch.inf).amax(dim=1)
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = (positions * mask).amax(dim=1)
    return states[torch.arange(states.shape[0], device=states.device), last]
