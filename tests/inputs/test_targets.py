"""Labels, numbers and weights: what is taken, and that errors name the row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.exceptions import DataConversionWarning

from sktransfer.inputs import (
    check_class_weight,
    check_indicators,
    check_labels,
    check_numbers,
    check_weights,
)


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (["b", "a"], "U"),
        (("b", np.str_("a")), "U"),
        (np.array(["b", "a"]), "U"),
        (np.array(["b", "a"], dtype=object), "O"),
        (pd.Series(["b", "a"]), "O"),
        (pd.Series(["b", "a"], dtype="category"), "O"),
        (pl.Series(["b", "a"]), "U"),
        ([3, 1], "i"),
        ([3, True], "i"),
        ([np.int64(3), 1.0], "f"),
        (np.array([3, 1], dtype=np.int8), "i"),
        (np.array([3, 1], dtype=np.float32), "f"),
        (np.array([3, 1], dtype=object), "i"),
        (pd.Series([3, 1], dtype="Int64"), "i"),
        (pl.Series([3, 1]), "i"),
        ([True, False], "b"),
        (pd.Series([True, False], dtype="boolean"), "b"),
    ],
)
def test_labels_keep_their_kind(y, kind):
    labels = check_labels(y)
    assert labels.dtype.kind == kind
    assert labels.tolist() == list(y)
    if isinstance(y, np.ndarray) and y.dtype.kind != "O":
        assert labels.dtype == y.dtype


@pytest.mark.parametrize("y", [[["b"], ["a"]], np.array([["b"], ["a"]]), pd.DataFrame(["b", "a"])])
def test_a_column_of_labels_is_taken_with_a_warning(y):
    with pytest.warns(DataConversionWarning, match="column-vector"):
        assert check_labels(y).tolist() == ["b", "a"]


@pytest.mark.parametrize("missing", [None, np.nan, np.inf, -np.inf, pd.NA, pd.NaT])
@pytest.mark.parametrize("others", [["a", "b"], [1, 2], [1.0, 2.0]])
@pytest.mark.parametrize("convert", [list, lambda y: np.array(y, dtype=object), pd.Series])
def test_missing_labels_are_named(missing, others, convert):
    with pytest.raises(ValueError, match=r"Input target contains NaN or infinity: .* in row 2"):
        check_labels(convert([*others, missing]), name="target")


def test_labels_with_a_fraction_are_no_classes():
    for y in ([0.5, 1.0], np.array([0.5, 1.0]), np.array([0.5, 1.0], dtype=object), [1e30, 1.0]):
        with pytest.raises(ValueError, match="continuous"):
            check_labels(y)


@pytest.mark.parametrize(
    "y",
    [
        [[1, 0], [0, 1]],
        np.array([[True, False], [False, True]]),
        np.array([[1.0, 0.0], [0.0, 1.0]]),
        csr_array([[1, 0], [0, 1]]),
        pd.DataFrame([[1, 0], [0, 1]], dtype="Int8"),
        pl.DataFrame([[True, False], [False, True]]),
    ],
)
def test_indicators(y):
    found = check_indicators(y)
    assert found.dtype == np.int64
    assert found.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("value", [2, -1, 0.5, "1", pd.Timestamp("2020")])
def test_what_is_no_indicator_is_named(value):
    y = np.array([[1, 0], [value, 1]], dtype=object)
    with pytest.raises(ValueError, match=r"y must|y has 2 columns .* in row 1, column 0"):
        check_indicators(y)


def test_numbers_keep_their_shape():
    for y in ([1, 2.5], [[1, 2], [3, 4]], np.array([[1], [2]]), pd.Series([1, 2], dtype="Int64")):
        found = check_numbers(y)
        assert found.dtype == np.float64
        assert_array_equal(found, np.asarray(y, dtype=float))
    assert check_numbers(["1", "2.5"]).tolist() == [1.0, 2.5]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e151, -1e300])
def test_numbers_that_no_loss_can_be_taken_of_are_named(value):
    with pytest.raises(ValueError, match=r"^y_val .* in row 1, column 0"):
        check_numbers([[1.0, 2.0], [value, 1.0]], name="y_val")
    with pytest.raises(ValueError, match=r"^y_val .* in row 2: |^y_val .* in row 2, but"):
        check_numbers([1.0, 2.0, value], name="y_val")


def test_weights():
    assert check_weights(2, 3).tolist() == [2.0, 2.0, 2.0]
    assert check_weights(pd.Series([0, 1, 2]), 3).tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(ValueError, match=r"1D array of 3 numbers, .* \(3, 1\)"):
        check_weights(np.ones((3, 1)), 3)


def test_class_weights():
    assert check_class_weight({}, ["a", "b"]).tolist() == [1.0, 1.0]
    assert check_class_weight({"b": 2, "c": 5, "a": 0}, ["a", "b"]).tolist() == [0.0, 2.0]
    assert check_class_weight({np.int64(1): 3.0}, [0, 1]).tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match=r"^weights has -1 for 'a'"):
        check_class_weight({"a": -1}, ["a"], name="weights")
