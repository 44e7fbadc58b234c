"""Columns of text: checked with row and column, encoded as a pair, the longest cut first."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktransfer.inputs import check_columns, encode_columns
from sktransfer.inputs.columns import encode_apart, shorten_longest
from sktransfer.inputs.padding import pad_rows

PAIRS = [("a man sleeps", "nobody sleeps"), ("it rains", "")]
COLUMNS = {"premise": ["a man sleeps", "it rains"], "hypothesis": ["nobody sleeps", ""]}


class Letters:
    pad_id, prefix, suffix, separator = 0, (1,), (2,), (2,)

    def encode(self, texts):
        return [np.array([10 + ord(letter) for letter in text], dtype=np.int32) for text in texts]


@pytest.mark.parametrize(
    "X",
    [
        PAIRS,
        [list(pair) for pair in PAIRS],
        np.array(PAIRS),
        np.array(PAIRS, dtype=object),
        pd.DataFrame(COLUMNS),
        pl.DataFrame(COLUMNS),
        pa.table(COLUMNS),
    ],
    ids=["tuples", "lists", "str", "object", "pandas", "polars", "pyarrow"],
)
def test_containers(X):
    assert check_columns(X) == PAIRS


def test_one_column_stays_a_list_of_texts():
    assert check_columns(["good", "bad"]) == ["good", "bad"]
    assert check_columns(np.array([["good"], ["bad"]])) == ["good", "bad"]


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([("a", "b"), ("c",)], ValueError, "Row 1 of X is not a list of 2 texts"),
        ([("a", "b"), "cd"], ValueError, "Row 1 of X is not a list of 2 texts"),
        ([("a", "b"), ("c", None)], ValueError, "Row 1 of X, column 1 is missing"),
        (pd.DataFrame({"a": ["x"], "b": [3]}), TypeError, "Row 0 of X, column 1 is of type int"),
        (np.zeros((2, 2)), TypeError, "X, column 0 holds float64"),
    ],
)
def test_errors_name_row_and_column(X, error, message):
    with pytest.raises(error, match=message):
        check_columns(X)


def test_a_pair_is_one_window_with_segments():
    rows = encode_columns([("ab", "c"), ("", "d")], Letters(), max_length=12)
    assert [window.tolist() for window in rows.windows] == [
        [1, 107, 108, 2, 109, 2],
        [1, 2, 110, 2],
    ]
    assert rows.segment_start.tolist() == [4, 2]
    assert rows.n_truncated == 0


def test_more_columns_share_the_second_segment():
    rows = encode_columns([("a", "b", "c")], Letters(), max_length=12)
    assert rows.windows[0].tolist() == [1, 107, 2, 108, 2, 109, 2]
    assert rows.segment_start.tolist() == [3]


def test_no_room():
    with pytest.raises(ValueError, match="max_length=4 leaves no room for 2 texts"):
        encode_columns([("a", "b")], Letters(), max_length=4)


@given(
    st.integers(1, 4).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 60), min_size=k, max_size=k), min_size=1)
    ),
    st.integers(4, 80),
)
def test_the_longest_is_cut_first_and_none_is_lost(lengths, budget):
    lengths = np.array(lengths)
    kept = shorten_longest(lengths, budget)
    assert (kept <= lengths).all()
    assert (kept.sum(axis=1) == np.minimum(lengths.sum(axis=1), budget)).all()
    assert ((kept > 0) == (lengths > 0)).all()
    for before, after in zip(lengths, kept, strict=True):
        cut = after < before
        if cut.any():
            # What was cut is as long as the longest that is left, but for a spare token.
            assert after[cut].min() >= after.max() - 1


def test_texts_apart_are_windows_of_their_own():
    rows = encode_apart([("ab", "c"), ("defg", "ab")], Letters(), max_length=5)
    letters = ["".join(chr(i - 10) for i in window[1:-1]) for window in rows.windows]
    assert letters == ["ab", "c", "def", "ab"]
    assert rows.row_start.tolist() == [0, 2, 4]
    assert (rows.n_truncated, rows.window_role) == (1, "text")
    assert rows.segment_start is None
    assert rows.take(np.array([1])).window_role == "text"


@pytest.mark.parametrize("symmetric", [False, True])
def test_windows_that_fill_a_batch_belong_to_no_row(symmetric):
    # On a GPU, parts of long texts have places for the most windows of a row; these have two.
    pairs = [("ab", "c"), ("def", "g"), ("h", "i")]
    if symmetric:
        rows = encode_columns(pairs, Letters(), max_length=10, symmetric=True)
    else:
        rows = encode_apart(pairs, Letters(), max_length=10)
    padded = pad_rows(rows, np.arange(3), 0, window_multiple=8, max_windows=4)
    assert padded.window_index.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert len(padded.token_ids) == 8
