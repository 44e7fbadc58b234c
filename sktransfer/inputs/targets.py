"""Labels, numbers and weights of rows: checked, with errors that name the row."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from sktransfer.inputs.texts import is_missing

# The square of a larger number, or the sum of some such squares, is infinite.
_LARGEST = 1e150
# Up to this value, a float represents every integer exactly.
_LARGEST_EXACT = 2**53


def check_labels(y: Any, *, name: str = "y") -> NDArray[Any]:
    """One label per row, all of them texts or all of them numbers, or an error that names the row.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Labels in a list, an array, or a column of a data frame.
    name : str, default="y"
        What error messages call `y`.

    Returns
    -------
    ndarray of shape (n_rows,)
        Of integers, booleans, whole floats, or strings, which are objects where those of `y` are.

    Raises
    ------
    ValueError
        If a label is missing, of a type that cannot stand for a class, or of another kind than
        those before it.

    Examples
    --------
    >>> from sktransfer.inputs import check_labels
    >>> check_labels(["good", "bad"])
    array(['good', 'bad'], dtype='<U4')
    >>> check_labels([1, "1"])
    Traceback (most recent call last):
        ...
    ValueError: y mixes kinds of labels: 1 (int) in row 0, '1' (str) in row 1. Make them all one \
type, for example with [str(label) for label in y].
    """
    labels = label_array(y, name=name)
    with np.errstate(invalid="ignore"):  # floats beyond integers are an error soon enough
        check_classification_targets(labels)
    return labels


def label_array(y: Any, *, name: str = "y") -> NDArray[Any]:
    """Labels as `check_labels` gives them, be they ever so many, or real numbers.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Labels.
    name : str, default="y"
        What error messages call `y`.

    Examples
    --------
    >>> from sktransfer.inputs import label_array
    >>> label_array([1, 2, 3])
    array([1, 2, 3])
    """
    column_or_1d(y, warn=True)
    labels = np.asarray(y).ravel()
    if isinstance(y, (list, tuple)):
        # As they are: NumPy would make the word "1" of a number beside words, "nan" of a NaN.
        labels = _one_kind([_only_item(label) for label in y], name)
    elif labels.dtype.kind == "O":
        found = _one_kind(labels.tolist(), name)
        labels = found.astype(object) if found.dtype.kind == "U" else found
    elif labels.dtype.kind not in "biuU":
        _one_kind(labels.tolist() if labels.dtype.kind == "f" else list(labels), name)
    return labels


def check_indicators(y: Any, *, name: str = "y") -> NDArray[np.int64]:
    """Array (n_rows, n_labels) of 0 and 1, or an error that names row and column.

    Parameters
    ----------
    y : array-like or sparse matrix of shape (n_rows, n_labels)
        Whether each row has each label.
    name : str, default="y"
        What error messages call `y`.

    Examples
    --------
    >>> from sktransfer.inputs import check_indicators
    >>> check_indicators([[True, False], [True, True]])
    array([[1, 0],
           [1, 1]])
    """
    values = np.asarray(y.toarray() if issparse(y) else y)
    if values.dtype.kind == "O":  # where NA may be, which equals neither, nor does it differ
        cells = (not is_missing(value) and value in (0, 1) for value in values.flat)
        known = np.fromiter(cells, bool, values.size).reshape(values.shape)
    else:
        known = (values == 0) | (values == 1)
    for place in np.argwhere(~known)[:1].tolist():
        value = values[tuple(place)]
        value = value.item() if isinstance(value, np.generic) else value
        if is_missing(value):
            raise ValueError(
                f"{name} is missing ({value}){_where(place)}: give each label of the row 0 or 1, "
                "or drop the row."
            )
        raise ValueError(
            f"Unknown label type: {name} has {values.shape[1]} columns and must be 0 or 1 in each, "
            f"got {value!r}{_where(place)}. Pass one label per row, or "
            "MultiLabelBinarizer().fit_transform(lists of labels)."
        )
    return values.astype(np.int64)


def check_numbers(y: Any, *, name: str = "y") -> NDArray[np.float64]:
    """Finite numbers, one or several per row, or an error that names row and column.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, n_columns)
        Numbers.
    name : str, default="y"
        What error messages call `y`.

    Returns
    -------
    ndarray of float64
        Of the shape of `y`.

    Raises
    ------
    ValueError
        If a number is missing, infinite, so large that its square is, or not a number.

    Examples
    --------
    >>> from sktransfer.inputs import check_numbers
    >>> check_numbers([3, 2.5])
    array([3. , 2.5])
    """
    if getattr(y, "dtype", None) is not None and np.asarray(y).dtype.kind in "mM":
        raise ValueError(f"{name} has dates or times, not numbers: convert them, such as to days.")
    try:
        numbers = np.asarray(
            check_array(
                y, ensure_2d=False, dtype=np.float64, ensure_all_finite=False, input_name=name
            )
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be numbers: {_not_a_number(y) or error}") from None
    for place in np.argwhere(~(np.abs(numbers) <= _LARGEST))[:1].tolist():
        number, where = float(numbers[tuple(place)]), _where(place)
        if np.isnan(number):
            raise ValueError(f"{name} contains NaN{where}: drop the row, or fill in a number.")
        if np.isinf(number):
            raise ValueError(f"{name} contains infinity{where}: drop the row, or correct it.")
        raise ValueError(
            f"{name} has {number:g}{where}, but numbers beyond {_LARGEST:g} overflow when they are "
            f"squared: rescale {name}, for example by dividing it by {abs(number):g}."
        )
    return numbers


def check_weights(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    """Weight of each row, none negative and not all zero, or an error that names the row.

    Parameters
    ----------
    sample_weight : array-like of shape (n_rows,) or number
        Weights; a number is that of every row.
    n_rows : int
        Number of rows.

    Examples
    --------
    >>> from sktransfer.inputs import check_weights
    >>> check_weights([1, 0], 2)
    array([1., 0.])
    """
    if isinstance(sample_weight, Real):
        sample_weight = [sample_weight] * n_rows
    weights = check_numbers(sample_weight, name="sample_weight")
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight must be a 1D array of {n_rows} numbers, one per row, got the shape "
            f"{weights.shape}."
        )
    if weights.min() < 0:
        row = int(weights.argmin())
        raise ValueError(
            f"Negative values in sample_weight, such as {weights[row]:g} in row {row}: weights "
            "are zero or more."
        )
    if not weights.any():
        raise ValueError(
            "sample_weight is zero for every row, which leaves none: give a positive weight to "
            "at least one."
        )
    return weights


def check_class_weight(
    class_weight: Any, labels: Sequence[Any], *, name: str = "class_weight"
) -> NDArray[np.float64]:
    """Weight of each label, 1 where there is none, or an error that names the label.

    Parameters
    ----------
    class_weight : dict
        Weights of labels. As in scikit-learn, those of others are passed over where every label
        has one, as when a part of the rows lacks a class.
    labels : sequence
        Distinct labels.
    name : str, default="class_weight"
        What error messages call `class_weight`.

    Examples
    --------
    >>> from sktransfer.inputs import check_class_weight
    >>> check_class_weight({"bad": 2}, ["bad", "good"])
    array([2., 1.])
    """
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"{name} must be a dict of the labels' weights, got {class_weight!r}.")
    for label, weight in class_weight.items():
        if not isinstance(weight, Real) or not 0 <= float(weight) <= _LARGEST:
            raise ValueError(
                f"{name} has {weight!r} for {label!r}, but a weight is a number from 0 to "
                f"{_LARGEST:g}."
            )
    missing = [label for label in labels if label not in class_weight]
    unknown = [label for label in class_weight if label not in labels]
    if missing and unknown:
        raise ValueError(
            f"{name} has weights for {unknown!r}, which are not labels of y, and none for "
            f"{missing!r}, which are."
        )
    return np.array([float(class_weight.get(label, 1.0)) for label in labels])


def _only_item(label: Any) -> Any:
    """Label of a row of a column-vector, which `column_or_1d` warned of."""
    return label[0] if isinstance(label, (list, tuple, np.ndarray)) else label


def _one_kind(values: Sequence[Any], name: str) -> NDArray[Any]:
    """Array of labels that are all texts or all numbers."""
    rows: dict[str, int] = {}
    for row, label in enumerate(values):
        kind = _kind(label)
        if is_missing(label) or (kind == "number" and abs(label) == np.inf):
            raise ValueError(
                f"Input {name} contains NaN or infinity: the label {label!r} in row {row} names "
                "no class. Drop the row or give it a label."
            )
        if kind is None:
            raise ValueError(_unknown_label(label, row, name))
        rows.setdefault(kind, row)
    if len(rows) > 1:
        first, second = (
            f"{values[row]!r} ({type(values[row]).__name__}) in row {row}"
            for row in sorted(rows.values())
        )
        raise ValueError(
            f"{name} mixes kinds of labels: {first}, {second}. Make them all one type, for example "
            f"with [str(label) for label in {name}]."
        )
    if "text" in rows:
        # Of an enum's members, the text and not the name.
        return np.array([str.__str__(label) for label in values])
    labels = np.array(values)
    for row, label in enumerate(values):
        is_large = labels.dtype.kind in "fO" and abs(label) > _LARGEST_EXACT
        if is_large and isinstance(label, Integral):
            raise ValueError(
                f"{name} has the label {reprlib.repr(label)} in row {row}, an integer of more bits "
                f"than NumPy keeps; convert the labels: [str(label) for label in {name}]."
            )
    return labels


def _kind(label: Any) -> str | None:
    if isinstance(label, str):
        return "text"
    # NumPy counts its time spans among the integers.
    is_number = isinstance(label, (Integral, float, np.floating, np.bool_))
    return "number" if is_number and not isinstance(label, np.timedelta64) else None


def _unknown_label(label: Any, row: int, name: str) -> str:
    found = (
        f"Unknown label type: {name} has {reprlib.repr(label)} in row {row}, of type "
        f"{type(label).__name__}, but labels are strings or integers"
    )
    if isinstance(label, bytes):
        return f"{found}; decode it: label.decode()."
    if isinstance(label, (list, tuple, set, frozenset, dict, np.ndarray)):
        return (
            f"{found}. Pass one label per row, or for any number of labels per row "
            f"MultiLabelBinarizer().fit_transform({name})."
        )
    return f"{found}; convert them, for example with [str(label) for label in {name}]."


def _not_a_number(y: Any) -> str | None:
    """What the first item is that no number can be made of, and where it stands."""
    for place, value in np.ndenumerate(np.asarray(y, dtype=object)):
        if not place:  # no array at all, such as a sparse one
            return None
        if is_missing(value):
            return f"a value is missing ({value}){_where(place)}; drop the row, or fill it in."
        try:
            float(value)
        except (TypeError, ValueError, OverflowError) as error:
            return f"got {reprlib.repr(value)}{_where(place)} ({error})."
    return None


def _where(place: Sequence[int]) -> str:
    """Row, and column where there are several dimensions, in words."""
    column = f", column {place[1]}" if len(place) > 1 else ""
    return f" in row {place[0]}{column}" if place else ""
