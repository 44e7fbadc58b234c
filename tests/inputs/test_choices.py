"""Rows of multiple choice: checked with row and column, each choice encoded with its context."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sktransfer.inputs import ChoiceFormat, encode_columns

from .test_columns import Letters

ROWS = [("a man", "sleeps", "", "sings"), ("", "it rains", None, "stops"), ("b", "c", None, None)]
COLUMNS = {f"column {number}": list(texts) for number, texts in enumerate(zip(*ROWS, strict=True))}
NA_FRAME = pd.DataFrame(ROWS).astype("string")


@pytest.mark.parametrize(
    "X",
    [
        ROWS,
        [list(row) for row in ROWS],
        [list(ROWS[0]), ["", "it rains", np.nan, "stops"], ["b", "c"]],
        iter(ROWS),
        np.array(ROWS, dtype=object),
        pd.DataFrame(ROWS),
        NA_FRAME,
        pl.DataFrame(COLUMNS),
        pa.table(COLUMNS),
    ],
    ids=["tuples", "lists", "ragged", "iterator", "object", "pandas", "NA", "polars", "pyarrow"],
)
def test_containers(X):
    assert ChoiceFormat().check(X) == ROWS


def test_an_array_of_str_and_subclasses_of_str():
    X = np.array([["a", "b", "c"]])
    checked = ChoiceFormat().check(X)
    assert checked == [("a", "b", "c")]
    assert {type(text) for text in checked[0]} == {str}


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([["a", "b"], [None, "c"]], ValueError, r"Row 1 of X, column 0 \(the context\) is missing"),
        ([["a", "b"], []], ValueError, r"Row 1 of X, column 0 \(the context\) is missing"),
        ([["a", "b"], ["c", None]], ValueError, "Row 1 of X has no choice"),
        ([["a", "b"], ["c"]], ValueError, "Row 1 of X has no choice"),
        ([["a", "b"], "cd"], ValueError, "Row 1 of X is of type str, but each row must be a list"),
        ([["a"], ["b"]], ValueError, "X has one column"),
        (["a", "b"], ValueError, "X has one column"),
        (pd.DataFrame({"context": ["a"]}), ValueError, "X has one column"),
        ([["a", 3]], TypeError, "Row 0 of X, column 1 is of type int"),
        ([["a", "b", b"c"]], TypeError, "Row 0 of X, column 2 is bytes"),
        (np.zeros((2, 3)), TypeError, "the context.* holds float64"),
        ([], ValueError, "0 sample"),
        ("ab", ValueError, "a single str received"),
    ],
)
def test_errors_name_row_and_column(X, error, message):
    with pytest.raises(error, match=message):
        ChoiceFormat().check(X)


def test_each_choice_is_a_window_and_a_unit():
    form = ChoiceFormat()
    rows = form.encode(ROWS, Letters(), max_length=30)
    pairs = [(row[0], text) for row in ROWS for text in row[1:] if text is not None]
    expected = encode_columns(pairs, Letters(), max_length=30)
    assert [w.tolist() for w in rows.windows] == [w.tolist() for w in expected.windows]
    assert rows.segment_start.tolist() == expected.segment_start.tolist()
    assert rows.row_start.tolist() == [0, 3, 5, 6]
    assert rows.n_units.tolist() == [3, 2, 1]
    assert rows.units.source.tolist() == [[0], [1], [2], [0], [2], [0]]
    assert form.n_columns(ROWS) == 4


def test_rows_taken_keep_their_units():
    taken = ChoiceFormat().encode(ROWS, Letters(), max_length=30).take(np.array([1, 0, 1]))
    assert taken.n_units.tolist() == [2, 3, 2]
    assert taken.units.source.tolist() == [[0], [2], [0], [1], [2], [0], [2]]


def test_the_longer_of_context_and_choice_is_cut():
    rows = ChoiceFormat().encode([("abcdefghij", "xy", "z")], Letters(), max_length=9)
    assert rows.lengths.tolist() == [9, 9]
    assert rows.n_truncated == 2
    assert rows.windows[0].tolist()[-3:] == [10 + ord("x"), 10 + ord("y"), 2]
