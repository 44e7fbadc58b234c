"""Rows of several texts: check them and encode each row as one window."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from sktransfer.inputs.rows import EncodedRows, distinct, encode_rows
from sktransfer.inputs.texts import check_texts
from sktransfer.inputs.tokens import Tokenizer, content_ids


def check_columns(
    X: Any, *, name: str = "X", missing: Literal["error", "empty"] = "error"
) -> list[str] | list[tuple[str, ...]]:
    """Rows of one or more texts, or an error that names row and column.

    Parameters
    ----------
    X : array-like of shape (n_rows,) or (n_rows, n_columns)
        One column in any form that `check_texts` takes, or a two-dimensional array, a frame, or
        a list of equally long lists or tuples of texts.
    name : str, default="X"
        What error messages call `X`.
    missing : {"error", "empty"}, default="error"
        Whether None, NaN and NA are errors or empty texts.

    Returns
    -------
    list of str or list of tuple of str
        Tuples where there is more than one column.

    Raises
    ------
    ValueError, TypeError
        As `check_texts`, and where rows differ in their number of columns.

    Examples
    --------
    >>> from sktransfer.inputs import check_columns
    >>> check_columns([["a man sleeps", "nobody sleeps"]])
    [('a man sleeps', 'nobody sleeps')]
    """
    columns = split_columns(X, name)
    if columns is None:
        return check_texts(X, name=name, missing=missing)
    checked = []
    for number, column in enumerate(columns):
        try:
            checked.append(check_texts(column, name=f"{name}, column {number}", missing=missing))
        except TypeError as error:
            raise TypeError(
                f"{error} For text beside numbers, use a ColumnTransformer, with a "
                "TransferTextVectorizer for each column of texts."
            ) from error
    return list(zip(*checked, strict=True))


def split_columns(X: Any, name: str) -> list[Any] | None:
    """Columns of `X` if it has several."""
    if isinstance(X, np.ndarray):
        several = X.ndim == 2 and X.shape[1] > 1 and len(X)
        return [X[:, number] for number in range(X.shape[1])] if several else None
    if isinstance(X, (list, tuple)):
        return _list_columns(X, name)
    frame = nw.from_native(X, allow_series=True, pass_through=True)
    if isinstance(frame, nw.DataFrame) and len(frame.columns) > 1 and len(frame):
        return [frame.get_column(column) for column in frame.columns]
    return None


def _list_columns(X: Sequence[Any], name: str) -> list[Any] | None:
    if not X or not isinstance(X[0], (list, tuple, np.ndarray)) or len(X[0]) < 2:
        return None
    n_columns = len(X[0])
    for row, texts in enumerate(X):
        if not isinstance(texts, (list, tuple, np.ndarray)) or len(texts) != n_columns:
            raise ValueError(
                f"Row {row} of {name} is not a list of {n_columns} texts, as row 0 is (ragged "
                "input); give every row the same columns."
            )
    return [[texts[number] for texts in X] for number in range(n_columns)]


def encode_columns(
    rows: Sequence[tuple[str, ...]],
    tokenizer: Tokenizer,
    *,
    max_length: int,
    symmetric: bool = False,
) -> EncodedRows:
    """Tokenize rows of several texts, each row one window with separators between its texts.

    A row that is too long loses tokens from the end of its longest text, then of the longest
    two, and so on: no text is lost while there is room for one token of each.

    Parameters
    ----------
    rows : sequence of tuple of str
        As many texts in every row.
    tokenizer : Tokenizer
        Gives the content ids and the special tokens.
    max_length : int
        Most tokens of a row, special tokens included.
    symmetric : bool, default=False
        Whether a row is read in both orders of its texts (Radford et al. 2018, section 3.3).

    Returns
    -------
    EncodedRows
        One window a row, with `segment_start`; if symmetric two, to be averaged.

    Raises
    ------
    ValueError
        If `max_length` has no room for a token of each text.
    """
    if symmetric:
        both = [order for row in rows for order in (row, row[::-1])]
        encoded = encode_columns(both, tokenizer, max_length=max_length)
        return replace(
            encoded,
            row_start=encoded.row_start[::2],
            n_truncated=encoded.n_truncated // 2,
            window_role="reading",
        )
    n_columns = len(rows[0])
    prefix, separator, suffix = tokenizer.prefix, tokenizer.separator, tokenizer.suffix
    n_special = len(prefix) + (n_columns - 1) * len(separator) + len(suffix)
    if max_length < n_special + n_columns:
        raise ValueError(
            f"max_length={max_length} leaves no room for {n_columns} texts beside {n_special} "
            f"special tokens; use at least {n_special + n_columns}."
        )
    texts = [text for row in rows for text in row]
    first, inverse = distinct(texts)
    places = inverse.reshape(len(rows), n_columns)
    contents = content_ids(tokenizer, [texts[i] for i in first])
    lengths = np.fromiter(map(len, contents), np.int64, len(contents))[places]
    kept = shorten_longest(lengths, max_length - n_special)
    ends = [np.asarray(ids, dtype=np.int32) for ids in (prefix, separator, suffix)]
    windows = [
        _join([contents[i][:size] for i, size in zip(place, row_kept, strict=True)], *ends)
        for place, row_kept in zip(places.tolist(), kept.tolist(), strict=True)
    ]
    stops = len(prefix) + kept.sum(axis=1) + (n_columns - 1) * len(separator)
    return EncodedRows(
        windows=windows,
        pool_start=np.full(len(rows), len(prefix), dtype=np.int32),
        pool_stop=stops.astype(np.int32),
        row_start=np.arange(len(rows) + 1),
        n_truncated=int((kept < lengths).any(axis=1).sum()),
        n_prefix=len(prefix),
        n_suffix=len(suffix),
        segment_start=(len(prefix) + kept[:, 0] + len(separator)).astype(np.int32),
    )


def encode_apart(
    rows: Sequence[tuple[str, ...]], tokenizer: Tokenizer, *, max_length: int
) -> EncodedRows:
    """Tokenize rows of several texts, each text one window of at most `max_length` tokens."""
    n_columns = len(rows[0])
    texts = [text for row in rows for text in row]
    encoded = encode_rows(texts, tokenizer, max_length=max_length, long_texts="truncate")
    return replace(encoded, row_start=encoded.row_start[::n_columns], window_role="text")


def shorten_longest(lengths: NDArray[np.int64], budget: int) -> NDArray[np.int64]:
    """Lengths (n_rows, n_columns) cut, the longest first, to a sum of at most `budget` a row.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs.columns import shorten_longest
    >>> shorten_longest(np.array([[9, 2, 5], [1, 2, 3]]), 10).tolist()
    [[4, 2, 4], [1, 2, 3]]
    """
    # The highest cap under which a row fits, found by bisection for all rows at once.
    low = np.zeros(len(lengths), dtype=np.int64)
    high = lengths.max(axis=1)
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = np.minimum(lengths, middle[:, None]).sum(axis=1) <= budget
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    kept = np.minimum(lengths, low[:, None])
    is_cut = lengths > kept
    spare = budget - kept.sum(axis=1)
    return np.asarray(kept + (is_cut & (np.cumsum(is_cut, axis=1) <= spare[:, None])))


def _join(
    texts: list[NDArray[np.int32]],
    prefix: NDArray[np.int32],
    separator: NDArray[np.int32],
    suffix: NDArray[np.int32],
) -> NDArray[np.int32]:
    parts = [prefix, texts[0]]
    for ids in texts[1:]:
        parts += [separator, ids]
    return np.concatenate([*parts, suffix])
