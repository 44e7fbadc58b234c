"""One column of texts, from any container."""

from collections.abc import Iterable, Mapping, Set
from typing import Any, Literal

import narwhals as nw
import numpy as np
from scipy.sparse import issparse

# A row of X: one text, or several, some of which may be missing in some formats.
Row = str | tuple[str | None, ...]


def check_texts(
    X: object,
    *,
    name: str = "X",
    item: str = "Row",
    missing: Literal["error", "empty"] = "error",
) -> list[str]:
    """Turn one column of texts into a list of ``str``, or raise an error that names the row.

    Parameters
    ----------
    X : iterable of str
        List, tuple, generator, NumPy array, pandas, polars, pyarrow or narwhals column; arrays
        and frames may be two-dimensional with a single column. The empty string is a text.
    name : str, default="X"
        What error messages call ``X``.
    item : str, default="Row"
        What error messages call an item of ``X``.
    missing : {"error", "empty"}, default="error"
        Whether None, NaN and NA are errors or empty texts.

    Returns
    -------
    list of str
        A new list; every item is exactly ``str``.

    Raises
    ------
    ValueError
        If ``X`` is a single string, is empty, has several columns, or has a row that is missing,
        ragged or not encodable.
    TypeError
        If ``X`` or one of its rows has a type that cannot stand for a text.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.inputs import check_texts
    >>> check_texts(np.array([["good"], ["bad"]]))
    ['good', 'bad']
    >>> check_texts(["good", 3])
    Traceback (most recent call last):
        ...
    TypeError: Row 1 of X is of type int, not str; pass the raw texts, or convert with str().
    """
    rows = to_list(X, name)
    if not rows:
        raise ValueError(
            f"Found array with 0 sample(s) (shape=(0,)) while a minimum of 1 is required by {name}."
        )
    if missing == "empty":
        rows = ["" if is_missing(row) else row for row in rows]
    if set(map(type, rows)) != {str}:
        rows = [
            row if type(row) is str else _to_str(row, f"{item} {index} of {name}")
            for index, row in enumerate(rows)
        ]
    for index, row in enumerate(rows):
        if not row.isascii():
            _check_encodable(row, f"{item} {index} of {name}")
    return rows


def to_list(X: Any, name: str) -> list[Any]:
    """Items of one column, unchecked, or an error where `X` is not a column."""
    if isinstance(X, (list, tuple)):
        return list(X)
    if isinstance(X, (str, bytes, bytearray)):
        raise ValueError(
            f"Iterable over texts expected for {name}, a single {type(X).__name__} received; "
            f"wrap one text in a list: [{name}]."
        )
    if issparse(X):
        raise TypeError(
            f"Sparse data was passed for {name}, but {name} must be a dense column of texts; "
            "pass the raw texts, not their features."
        )
    if isinstance(X, (Mapping, Set)):
        raise TypeError(
            f"{name} is a {type(X).__name__}, which has no rows in order; pass a list of texts."
        )
    if not isinstance(X, np.ndarray):
        _check_shape(getattr(X, "shape", None), name)
        X = _unwrap_column(X, name)
    if isinstance(X, np.ndarray):
        return _array_to_list(X, name)
    if isinstance(X, Iterable):
        return list(X)
    raise TypeError(f"{name} must be a sequence of texts, got {type(X).__name__}.")


def _unwrap_column(X: Any, name: str) -> Any:
    """Turn a data-frame column or array-like into a list or NumPy array; else leave it alone."""
    column = nw.from_native(X, allow_series=True, pass_through=True)
    if isinstance(column, nw.LazyFrame):
        raise TypeError(f"{name} is a lazy frame; collect it first: {name}.collect().")
    if isinstance(column, nw.DataFrame):
        column = column.get_column(column.columns[0])
    if isinstance(column, nw.Series):
        return column.to_list()
    if hasattr(X, "to_pylist"):  # a pyarrow Array, whose items are scalars and not str
        return X.to_pylist()
    if hasattr(X, "__array__"):
        return np.asarray(X)
    return X


def _array_to_list(X: np.ndarray[Any, Any], name: str) -> list[Any]:
    _check_shape(X.shape, name)
    if X.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {X.dtype}; pass texts.")
    if X.dtype.kind not in "UOTS":
        raise TypeError(
            f"{name} holds {X.dtype} values, not texts; pass the raw texts, or convert the values "
            f"with {name}.astype(str)."
        )
    # Not flattened beforehand: a matrix stays 2-D, and a masked row must stay None.
    rows: list[Any] = X.tolist()
    return [row[0] for row in rows] if X.ndim == 2 else rows


def _check_shape(shape: object, name: str) -> None:
    # Lazy frames of some libraries give a shape that is not a tuple of ints: not ours to judge.
    if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
        return
    if len(shape) == 0:
        raise ValueError(
            f"Expected a column of texts for {name}, got a scalar array (0 dimensions) instead; "
            "wrap one text in a list."
        )
    if len(shape) > 2:
        raise ValueError(f"Found array with dim {len(shape)}, while dim <= 2 is required: {name}.")
    if shape[0] == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required by "
            f"{name}."
        )
    if len(shape) == 2 and shape[1] == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required by "
            f"{name}."
        )
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"{name} has {shape[1]} columns, but one column of texts is expected; "
            f"pass one column, or join the columns into one text a row."
        )


def _to_str(row: Any, place: str) -> str:
    """Return a row as exactly ``str``; explain what is wrong with a row that is not a text."""
    if isinstance(row, str):
        return str.__str__(row)  # str(row) would give an enum's label in place of its text
    kind = type(row).__name__
    if is_missing(row):
        raise ValueError(
            f'{place} is missing ({row}); fill missing texts, for example with "", or drop them '
            "(the classifier, the regressor and the vectorizer take missing='empty')."
        )
    if isinstance(row, (bytes, bytearray)):
        raise TypeError(f'{place} is {kind}, not str; decode it first: row.decode("utf-8").')
    if isinstance(row, (list, tuple, np.ndarray)):
        raise ValueError(
            f"{place} is a {kind} (ragged or nested input), but each row must be "
            "one text; pass a flat list of str."
        )
    if isinstance(row, (complex, np.complexfloating)):
        raise ValueError(f"Complex data not supported: {place} is {row!r}.")
    raise TypeError(
        f"{place} is of type {kind}, not str; pass the raw texts, or convert with str()."
    )


def is_missing(item: Any) -> bool:
    """Whether `item` is None, NaN or pandas' NA."""
    is_nan = isinstance(item, (float, np.floating)) and bool(np.isnan(item))
    return item is None or is_nan or type(item).__name__ in {"NAType", "NaTType"}


def _check_encodable(row: str, place: str) -> None:
    try:
        row.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{place} holds a lone surrogate at position {error.start} (text "
            'decoded wrongly); clean it with row.encode("utf-8", "replace").decode("utf-8").'
        ) from error
