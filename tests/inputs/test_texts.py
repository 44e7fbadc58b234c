"""check_texts: every container gives the same list, every wrong row is named."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from enum import Enum

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sktransfer.inputs import check_texts

TEXTS = ["good film", "", "schön 🎬"]


class ArrayLike:
    """What scikit-learn's own checks pass in place of an array."""

    def __init__(self, rows):
        self.rows = rows

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.rows, dtype=dtype)


class Opinion(str, Enum):  # noqa: UP042 - StrEnum has another __str__
    GOOD = "good film"


@pytest.mark.parametrize(
    "X",
    [
        TEXTS,
        tuple(TEXTS),
        deque(TEXTS),
        (text for text in TEXTS),
        map(str, TEXTS),
        dict.fromkeys(TEXTS).keys().__iter__(),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS)[:, None],
        np.array(TEXTS, dtype=object)[:, None],
        np.array([TEXTS]).view(np.matrix).T,
        [np.str_(text) for text in TEXTS],
        pd.Series(TEXTS, index=[7, 7, 3]),
        pd.Series(TEXTS, dtype=object),
        pd.Series(TEXTS, dtype="category"),
        pd.Series(TEXTS, dtype="string"),
        pd.Index(TEXTS),
        pd.array(TEXTS),
        pd.DataFrame({"text": TEXTS}),
        pd.DataFrame({0: TEXTS}),
        pd.DataFrame({("a", "b"): TEXTS}),
        pl.Series(TEXTS),
        pl.Series(TEXTS, dtype=pl.Categorical),
        pl.DataFrame({"text": TEXTS}),
        pa.array(TEXTS),
        pa.array(TEXTS).dictionary_encode(),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
        pa.table({"text": TEXTS}),
        nw.from_native(pl.Series(TEXTS), series_only=True),
        nw.from_native(pl.DataFrame({"text": TEXTS})),
        ArrayLike(TEXTS),
    ],
    ids=lambda X: f"{type(X).__module__}.{type(X).__name__}",
)
def test_containers(X):
    texts = check_texts(X)
    assert texts == TEXTS
    assert {type(text) for text in texts} == {str}


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 2 has StringDType")
def test_numpy_variable_width_strings():
    assert check_texts(np.array(TEXTS, dtype=np.dtypes.StringDType())) == TEXTS
    with_missing = np.array(["a", None], dtype=np.dtypes.StringDType(na_object=None))
    with pytest.raises(ValueError, match=r"Row 1 of X is missing"):
        check_texts(with_missing)


def test_returns_a_new_list_of_plain_str():
    X = ["a", "b"]
    assert check_texts(X) is not X
    (text,) = check_texts([Opinion.GOOD])
    assert type(text) is str
    assert text == "good film"


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        (None, ValueError, r"Row 1 of X is missing \(None\)"),
        (np.nan, ValueError, r"Row 1 of X is missing \(nan\)"),
        (np.float32("nan"), ValueError, r"Row 1 of X is missing"),
        (pd.NA, ValueError, r"Row 1 of X is missing"),
        (pd.NaT, ValueError, r"Row 1 of X is missing"),
        (b"bytes", TypeError, r"Row 1 of X is bytes.*decode"),
        (3, TypeError, r"Row 1 of X is of type int"),
        (2.5, TypeError, r"Row 1 of X is of type float"),
        (True, TypeError, r"Row 1 of X is of type bool"),
        (1j, ValueError, r"Complex data not supported: Row 1 of X"),
        ({"a": 1}, TypeError, r"Row 1 of X is of type dict"),
        (["a"], ValueError, r"Row 1 of X is a list \(ragged"),
        (("a", "b"), ValueError, r"Row 1 of X is a tuple \(ragged"),
        (np.array(["a", "b"]), ValueError, r"Row 1 of X is a ndarray \(ragged"),
        ("broken \udce9", ValueError, r"Row 1 of X holds a lone surrogate at position 7"),
    ],
)
def test_wrong_row_is_named(row, error, message):
    with pytest.raises(error, match=message):
        check_texts(["fine", row])
    with pytest.raises(error, match=message.replace("of X", "of X_val")):
        check_texts((text for text in ["fine", row]), name="X_val")


@pytest.mark.parametrize(
    "X",
    [
        np.array(["a", None], dtype=object),
        np.ma.masked_array(["a", "b"], mask=[False, True]),
        pd.Series(["a", None]),
        pd.Series(["a", np.nan], dtype=object),
        pd.Series(["a", pd.NA], dtype="string"),
        pd.DataFrame({"text": ["a", None]}),
        pl.Series(["a", None]),
        pa.array(["a", None]),
        pa.chunked_array([["a"], [None]]),
    ],
    ids=lambda X: f"{type(X).__module__}.{type(X).__name__}",
)
def test_missing_row_of_a_container_is_named(X):
    with pytest.raises(ValueError, match=r"Row 1 of X is missing"):
        check_texts(X)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("one text", ValueError, r"single str received.*\[X\]"),
        (b"one text", ValueError, r"single bytes received"),
        ([], ValueError, r"0 sample\(s\) \(shape=\(0,\)\) while a minimum of 1 is required"),
        (iter([]), ValueError, r"0 sample\(s\)"),
        (np.empty(0, dtype="U1"), ValueError, r"0 sample\(s\)"),
        (np.empty((0, 3)), ValueError, r"0 sample\(s\) \(shape=\(0, 3\)\)"),
        (
            np.empty((12, 0)),
            ValueError,
            r"0 feature\(s\) \(shape=\(12, 0\)\) while a minimum of 1 is required",
        ),
        (pd.DataFrame(index=[0, 1]), ValueError, r"0 feature\(s\)"),
        (pd.Series([], dtype=object), ValueError, r"0 sample\(s\)"),
        (np.array("text"), ValueError, r"scalar array"),
        (np.full((2, 1, 1), "a"), ValueError, r"Found array with dim 3"),
        (np.full((2, 3), "a"), ValueError, r"X has 3 columns.*pass one column"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, r"X has 2 columns"),
        (pd.DataFrame([["x", "y"]], columns=["a", "a"]), ValueError, r"X has 2 columns"),
        (pl.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, r"X has 2 columns"),
        (pa.table({"a": ["x"], "b": ["y"]}), ValueError, r"X has 2 columns"),
        (pl.LazyFrame({"a": ["x"]}), TypeError, r"X\.collect\(\)"),
        (np.array([1, 2]), TypeError, r"X holds int64 values"),
        (np.array([1.5, 2.0]), TypeError, r"X holds float64 values"),
        (np.array(["2020-01-01"], dtype="M8[D]"), TypeError, r"X holds datetime64\[D\] values"),
        (np.array([1j]), ValueError, r"Complex data not supported"),
        (np.array([b"a"]), TypeError, r"Row 0 of X is bytes"),
        (pd.Series([1, 2]), TypeError, r"Row 0 of X is of type int"),
        (sp.csr_matrix((2, 2)), TypeError, r"[Ss]parse"),
        (sp.coo_array((2, 2)), TypeError, r"[Ss]parse"),
        ({"a": "b"}, TypeError, r"X is a dict"),
        ({"a", "b"}, TypeError, r"X is a set"),
        (3, TypeError, r"X must be a sequence of texts, got int"),
        (None, TypeError, r"X must be a sequence of texts, got NoneType"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_wrong_container(X, error, message):
    with pytest.raises(error, match=message):
        check_texts(X)


WILD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.binary(),
    st.text(),
    st.text(alphabet=st.characters()),
    st.just(pd.NA),
    st.datetimes(),
    st.lists(st.text(), max_size=2),
    st.dictionaries(st.text(), st.text(), max_size=2),
)


@settings(deadline=None)
@given(st.one_of(WILD, st.lists(WILD, max_size=5), st.tuples(WILD, WILD)), st.booleans())
def test_wild_input_is_texts_or_a_clear_error(X, as_array):
    if as_array and isinstance(X, list):
        rows = np.empty(len(X), dtype=object)
        rows[:] = X
        X = rows
    try:
        texts = check_texts(X, name="my_texts")
    except (TypeError, ValueError) as error:
        message = str(error)
    else:
        message = "my_texts passed"
        assert texts
        assert texts == list(X)
        assert all(type(text) is str for text in texts)
        assert all(text.encode("utf-8").decode("utf-8") == text for text in texts)
    assert "my_texts" in message


def test_importing_inputs_imports_no_torch():
    script = "import sys, sktransfer.inputs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
