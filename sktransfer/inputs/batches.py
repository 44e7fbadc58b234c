"""Padded batches of rows of similar length, under a token budget."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sktransfer.inputs.rows import EncodedRows, join_ranges
from sktransfer.runtime import moved

_BUCKET_BATCHES = 50
_LENGTH_NOISE = 0.1


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows padded to one length, and the rows that they belong to.

    Attributes
    ----------
    token_ids : Tensor of int64, shape (n_windows, n_tokens)
    attention_mask : Tensor of int64, shape (n_windows, n_tokens)
        1 at a token, 0 at padding.
    pool_mask : Tensor of bool, shape (n_windows, n_tokens)
        The positions that count in pooling.
    window_index : Tensor of int64, shape (n_rows, n_windows_of_longest_row), or None
        The windows of each row, filled up with -1; None where windows or tokens are units of
        their own.
    segment_ids : Tensor of int64, shape (n_windows, n_tokens), or None
        0 in the first column of a row, 1 in the others; None for rows of one text.
    is_averaged : bool
        Whether the windows of a row are averaged rather than parts of one text.
    unit_index : Tensor of int64, shape (n_units,), or None
        Places, in all tokens of the batch, of the tokens that are units of their own.
    windows : ndarray of int, shape (n_windows,)
        Which windows of the rows they are.
    """

    token_ids: Tensor
    attention_mask: Tensor
    pool_mask: Tensor
    window_index: Tensor | None
    segment_ids: Tensor | None = None
    is_averaged: bool = False
    unit_index: Tensor | None = None
    windows: NDArray[np.integer] = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on a device."""
        parts: dict[str, Any] = {
            name: moved(part, torch.device(device)) for name, part in self._tensors().items()
        }
        return replace(self, **parts)

    @property
    def n_tokens(self) -> int:
        """Tokens of all windows, padding included."""
        return self.token_ids.numel()

    def tensors(self) -> list[Tensor]:
        """Those of its tensors that are there, in one order."""
        return list(self._tensors().values())

    def shape(self) -> tuple[object, ...]:
        """What a pass depends on besides the contents of the tensors."""
        shapes = [(name, part.shape) for name, part in self._tensors().items()]
        return (*shapes, self.is_averaged)

    def _tensors(self) -> dict[str, Tensor]:
        return {name: part for name, part in vars(self).items() if torch.is_tensor(part)}


def epoch_batches(
    lengths: NDArray[np.integer], batch_size: int, rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Draw the batches of one epoch: every row once, rows of like length together.

    Rows are shuffled into buckets of some fifty batches, sorted by length within a bucket and cut;
    the batches come in random order. Batches at the end share their rows evenly, so that none is
    left with a single row.

    Parameters
    ----------
    lengths : ndarray of int, shape (n_rows,)
        Tokens of each row.
    batch_size : int
        Most rows of a batch.
    rng : numpy.random.Generator
        Source of the shuffling.

    Returns
    -------
    list of ndarray of int
        Row numbers of each batch.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs import epoch_batches
    >>> batches = epoch_batches(np.array([3, 90, 4, 80]), 2, np.random.default_rng(0))
    >>> sorted(sorted(batch.tolist()) for batch in batches)
    [[0, 2], [1, 3]]
    """
    lengths = np.asarray(lengths)
    order = rng.permutation(len(lengths))
    # Without noise a small set would be cut into the same batches in every epoch.
    keys = lengths[order] * (1 + _LENGTH_NOISE * rng.random(len(order)))
    bucket_size = _BUCKET_BATCHES * batch_size
    batches: list[NDArray[np.intp]] = []
    for start in range(0, len(order), bucket_size):
        bucket = slice(start, start + bucket_size)
        rows = order[bucket][np.argsort(keys[bucket], kind="stable")]
        batches += np.array_split(rows, -(-len(rows) // batch_size))
    return [batches[i] for i in rng.permutation(len(batches))]


def split_by_tokens(lengths: NDArray[np.integer], token_budget: int) -> list[NDArray[np.intp]]:
    """Group items, longest first, so that no padded group exceeds a number of tokens.

    Parameters
    ----------
    lengths : ndarray of int, shape (n_items,)
        Tokens of each item.
    token_budget : int
        Most tokens of a group, padding included; a single item may exceed it.

    Returns
    -------
    list of ndarray of int
        Item numbers of each group; together each item once. ``out[np.concatenate(groups)] =
        results`` restores the order.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs import split_by_tokens
    >>> [group.tolist() for group in split_by_tokens(np.array([8, 30, 8, 8]), 16)]
    [[1], [0, 2], [3]]
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable")
    by_length = lengths[order].tolist()
    groups: list[NDArray[np.intp]] = []
    start = 0
    while start < len(order):
        stop = start + max(1, token_budget // max(int(by_length[start]), 1))
        groups.append(order[start:stop])
        start = stop
    return groups


def split_by_width(
    lengths: NDArray[np.integer], multiple: int, token_budget: int
) -> list[NDArray[np.intp]]:
    """Group items whose lengths round up to the same width, widest first.

    Those that fill the width are apart from those that need padding: attention without a mask may
    take another path, and a group's results should depend on nothing but the item.

    Parameters
    ----------
    lengths : ndarray of int, shape (n_items,)
        Tokens of each item.
    multiple : int
        Widths are multiples of it.
    token_budget : int
        Most tokens of a group, padding included; a single item may exceed it.

    Returns
    -------
    list of ndarray of int
        Item numbers of each group.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs.batches import split_by_width
    >>> [group.tolist() for group in split_by_width(np.array([7, 30, 8, 9]), 8, 64)]
    [[1], [3], [2], [0]]
    """
    lengths = np.asarray(lengths)
    widths = -(-lengths // multiple) * multiple
    kinds = 2 * widths + (lengths == widths)
    groups: list[NDArray[np.intp]] = []
    for kind in np.unique(kinds)[::-1].tolist():
        items = np.flatnonzero(kinds == kind)
        n_items = max(1, token_budget // max(kind // 2, 1))
        groups += np.split(items, range(n_items, len(items), n_items))
    return groups


def collate_rows(
    rows: EncodedRows,
    row_ids: NDArray[np.integer],
    pad_id: int,
    *,
    multiple: int = 1,
    window_multiple: int = 1,
    max_windows: int | None = None,
    rng: np.random.Generator | None = None,
) -> Batch:
    """Pad all windows of the given rows into one batch.

    Parameters
    ----------
    rows : EncodedRows
        All rows.
    row_ids : ndarray of int, shape (n_rows,)
        The rows of the batch.
    pad_id : int
        Token id of padding.
    multiple : int, default=1
        The batch is as wide as its longest window, rounded up to a multiple of it.
    window_multiple : int, default=1
        Rows of several windows have windows in a multiple of it, so that batches are of fewer
        shapes: what is missing are copies that belong to no row. Units have none.
    max_windows : int or None, default=None
        Most windows of a row, unless they or their tokens are units. Of a row that has more, some
        are drawn with ``rng`` (without it: evenly spaced ones) and kept in their order.
    rng : numpy.random.Generator or None, default=None
        Draws the windows.

    Returns
    -------
    Batch
        One row of ``window_index`` for each of ``row_ids``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs import EncodedRows, collate_rows
    >>> windows = [np.array(ids, dtype=np.int32) for ids in ([5], [6, 7], [7, 8])]
    >>> rows = EncodedRows(
    ...     windows=windows,
    ...     pool_start=np.array([0, 0, 1], dtype=np.int32),
    ...     pool_stop=np.array([1, 2, 2], dtype=np.int32),
    ...     row_start=np.array([0, 1, 3]),
    ... )
    >>> batch = collate_rows(rows, np.array([1, 0]), pad_id=0)
    >>> batch.token_ids.tolist()
    [[6, 7], [7, 8], [5, 0]]
    >>> batch.window_index.tolist()
    [[0, 1], [2, -1]]
    """
    row_ids = np.asarray(row_ids, dtype=np.intp)
    starts = rows.row_start[row_ids]
    counts = rows.row_start[row_ids + 1] - starts
    if max_windows is None or rows.units is not None or not (counts > max_windows).any():
        window_ids = join_ranges(starts, counts)
    else:
        window_ids = np.concatenate(
            [
                start + _draw(count, max_windows, rng)
                for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
            ]
        )
        counts = np.minimum(counts, max_windows)
    n_places = counts.max(initial=0)
    if window_multiple > 1 and n_places > 1 and rows.units is None:
        n_windows = -(-len(window_ids) // window_multiple) * window_multiple
        window_ids = np.resize(window_ids, n_windows)
        n_places = max(n_places, max_windows or 0)
    places = np.arange(n_places)
    window_index = np.full((len(counts), len(places)), -1, dtype=np.int64)
    window_index[places < counts[:, None]] = np.arange(counts.sum())
    return _collate(rows, window_ids, pad_id, window_index, multiple)


def collate_windows(
    rows: EncodedRows, window_ids: NDArray[np.integer], pad_id: int, *, multiple: int = 1
) -> Batch:
    """Pad the given windows into one batch, each a row of its own.

    Parameters
    ----------
    rows : EncodedRows
        All rows.
    window_ids : ndarray of int, shape (n_windows,)
        The windows of the batch.
    pad_id : int
        Token id of padding.
    multiple : int, default=1
        The batch is as wide as its longest window, rounded up to a multiple of it.

    Returns
    -------
    Batch
        As many rows as windows.
    """
    window_index = np.arange(len(window_ids))[:, None]
    return _collate(rows, np.asarray(window_ids), pad_id, window_index, multiple)


def _collate(
    rows: EncodedRows,
    window_ids: NDArray[np.integer],
    pad_id: int,
    window_index: NDArray[np.int64] | None,
    multiple: int,
) -> Batch:
    windows = [rows.windows[i] for i in window_ids.tolist()]
    lengths = rows.lengths[window_ids][:, None]
    width = -(-int(lengths.max(initial=1)) // multiple) * multiple
    positions = np.arange(width)
    attended = positions < lengths
    token_ids = np.full(attended.shape, pad_id, dtype=np.int64)
    if windows:
        token_ids[attended] = np.concatenate(windows)
    pooled = (positions >= rows.pool_start[window_ids][:, None]) & (
        positions < rows.pool_stop[window_ids][:, None]
    )
    unit_index = None
    if rows.units is not None:
        window_index = None
        units = rows.units.take(window_ids)
        if units.position is not None:
            starts = np.repeat(np.arange(len(window_ids)) * width, units.counts)
            unit_index = torch.from_numpy(starts + units.position)
    special = (positions < rows.n_prefix) | (positions >= lengths - rows.n_suffix)
    segment_ids = None
    if rows.segment_start is not None:
        second = (positions >= rows.segment_start[window_ids][:, None]) & attended
        segment_ids = torch.from_numpy(second.astype(np.int64))
    return Batch(
        token_ids=torch.from_numpy(token_ids),
        attention_mask=torch.from_numpy(attended.astype(np.int64)),
        pool_mask=torch.from_numpy(pooled | (special & attended)),
        window_index=None if window_index is None else torch.from_numpy(window_index),
        segment_ids=segment_ids,
        is_averaged=rows.is_averaged,
        unit_index=unit_index,
        windows=window_ids,
    )


def _draw(count: int, limit: int, rng: np.random.Generator | None) -> NDArray[np.int64]:
    if count <= limit:
        return np.arange(count)
    if rng is None:
        return np.linspace(0, count - 1, limit).round().astype(np.int64)
    return np.sort(rng.choice(count, limit, replace=False))
