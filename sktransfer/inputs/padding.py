"""Windows padded to one length, in arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer.inputs.rows import EncodedRows, join_ranges


@dataclass(frozen=True, eq=False)
class PaddedWindows:
    """Windows padded to one length, and the rows that they belong to.

    Attributes
    ----------
    token_ids : ndarray of int64, shape (n_windows, n_tokens)
    attention_mask : ndarray of int64, shape (n_windows, n_tokens)
        1 at a token, 0 at padding.
    pool_mask : ndarray of bool, shape (n_windows, n_tokens)
        The positions that count in pooling.
    window_index : ndarray of int64, shape (n_rows, n_windows_of_longest_row), or None
        The windows of each row, filled up with -1; None where windows or tokens are units of
        their own.
    segment_ids : ndarray of int64, shape (n_windows, n_tokens), or None
        0 in the first column of a row, 1 in the others; None for rows of one text.
    unit_index : ndarray of int64, shape (n_units,), or None
        Places, in all tokens, of the tokens that are units of their own.
    windows : ndarray of int, shape (n_windows,)
        Which windows of the rows they are.
    """

    token_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    pool_mask: NDArray[np.bool_]
    window_index: NDArray[np.int64] | None
    segment_ids: NDArray[np.int64] | None
    unit_index: NDArray[np.int64] | None
    windows: NDArray[np.integer]

    def inputs(self) -> dict[str, NDArray[Any]]:
        """What a network reads of rows that are scored as a whole, by name."""
        arrays = {
            "token_ids": self.token_ids,
            "attention_mask": self.attention_mask,
            "pool_mask": self.pool_mask,
            "window_index": self.window_index,
            "segment_ids": self.segment_ids,
        }
        return {name: array for name, array in arrays.items() if array is not None}


def pad_rows(
    rows: EncodedRows,
    row_ids: NDArray[np.integer],
    pad_id: int,
    *,
    multiple: int = 1,
    window_multiple: int = 1,
    max_windows: int | None = None,
    rng: np.random.Generator | None = None,
) -> PaddedWindows:
    """Pad all windows of the given rows to one length.

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
    PaddedWindows
        One row of ``window_index`` for each of ``row_ids``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs import EncodedRows
    >>> from sktransfer.inputs.padding import pad_rows
    >>> windows = [np.array(ids, dtype=np.int32) for ids in ([5], [6, 7], [7, 8])]
    >>> rows = EncodedRows(
    ...     windows=windows,
    ...     pool_start=np.array([0, 0, 1], dtype=np.int32),
    ...     pool_stop=np.array([1, 2, 2], dtype=np.int32),
    ...     row_start=np.array([0, 1, 3]),
    ... )
    >>> padded = pad_rows(rows, np.array([1, 0]), pad_id=0)
    >>> padded.token_ids.tolist()
    [[6, 7], [7, 8], [5, 0]]
    >>> padded.window_index.tolist()
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
        if rows.window_role == "part":
            n_places = max(n_places, max_windows or 0)
    places = np.arange(n_places)
    window_index = np.full((len(counts), len(places)), -1, dtype=np.int64)
    window_index[places < counts[:, None]] = np.arange(counts.sum())
    return _pad(rows, window_ids, pad_id, window_index, multiple)


def pad_windows(
    rows: EncodedRows, window_ids: NDArray[np.integer], pad_id: int, *, multiple: int = 1
) -> PaddedWindows:
    """Pad the given windows to one length, each a row of its own.

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
    PaddedWindows
        As many rows as windows.
    """
    window_index = np.arange(len(window_ids))[:, None]
    return _pad(rows, np.asarray(window_ids), pad_id, window_index, multiple)


def _pad(
    rows: EncodedRows,
    window_ids: NDArray[np.integer],
    pad_id: int,
    window_index: NDArray[np.int64] | None,
    multiple: int,
) -> PaddedWindows:
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
            unit_index = starts + units.position
    special = (positions < rows.n_prefix) | (positions >= lengths - rows.n_suffix)
    segment_ids = None
    if rows.segment_start is not None:
        second = (positions >= rows.segment_start[window_ids][:, None]) & attended
        segment_ids = second.astype(np.int64)
    return PaddedWindows(
        token_ids=token_ids,
        attention_mask=attended.astype(np.int64),
        pool_mask=pooled | (special & attended),
        window_index=window_index,
        segment_ids=segment_ids,
        unit_index=unit_index,
        windows=window_ids,
    )


def _draw(count: int, limit: int, rng: np.random.Generator | None) -> NDArray[np.int64]:
    if count <= limit:
        return np.arange(count)
    if rng is None:
        return np.linspace(0, count - 1, limit).round().astype(np.int64)
    return np.sort(rng.choice(count, limit, replace=False))
