"""Rows of words: each word has one unit, at its first token, whatever the tokenizer does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sktransfer.encoders import resolve_encoder
from sktransfer.inputs import WordFormat, check_tags, check_tags_of_words, check_words

ROWS = [["the", "old", "man"], ["city"], ["in", "time"]]
TUPLES = [tuple(row) for row in ROWS]
EQUAL = [["the", "man"], ["a", "city"]]


def object_array(rows):
    array = np.empty(len(rows), dtype=object)
    for number, row in enumerate(rows):
        array[number] = row
    return array


@pytest.mark.parametrize("check", [check_words, lambda y: check_tags(y).tolist()])
@pytest.mark.parametrize(
    "convert",
    [
        list,
        tuple,
        iter,
        object_array,
        pd.Series,
        pl.Series,
        pa.array,
        pa.chunked_array,
        lambda rows: [tuple(row) for row in rows],
        lambda rows: [np.array(row) for row in rows],
        lambda rows: object_array([np.array(row, dtype=object) for row in rows]),
        lambda rows: object_array(rows).reshape(-1, 1),
        lambda rows: pd.DataFrame({"words": rows}),
        lambda rows: pl.DataFrame({"words": rows}),
    ],
)
def test_containers(check, convert):
    rows = [ROWS] if convert is pa.chunked_array else ROWS
    found = check(convert(rows))
    assert found == TUPLES
    assert {type(word) for row in found for word in row} == {str}


@pytest.mark.parametrize("dtype", [str, object])
def test_rows_of_equal_length(dtype):
    assert check_words(np.array(EQUAL, dtype=dtype)) == [("the", "man"), ("a", "city")]
    assert check_words(np.array([["a"], ["b"]], dtype=dtype)) == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("a b", ValueError, "Iterable over texts expected for X"),
        (["a b", "c"], ValueError, "Row 0 of X is of type str, .* list of words; split it"),
        ([["a"], None], ValueError, "Row 1 of X is of type NoneType, .* list of words"),
        ([["a"], 3], TypeError, "Row 1 of X is of type int, .* list of words"),
        ([["a"], ["b", None]], ValueError, "Word 1 of row 1 of X is missing"),
        ([["a"], ["b", np.nan]], ValueError, "Word 1 of row 1 of X is missing"),
        ([["a"], ["b", 3]], TypeError, "Word 1 of row 1 of X is of type int"),
        ([["a", b"b"]], TypeError, "Word 1 of row 0 of X is bytes"),
        ([["a", ["b"]]], ValueError, "Word 1 of row 0 of X is a list"),
        ([["a", "\ud800"]], ValueError, "Word 1 of row 0 of X holds a lone surrogate"),
        ([], ValueError, "0 sample"),
        (np.empty((0, 2), dtype=object), ValueError, "0 sample"),
        (np.ones((2, 2)), TypeError, "Word 0 of row 0 of X is of type float"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, "2 columns"),
    ],
)
def test_what_is_no_row_of_words_is_named(X, error, message):
    with pytest.raises(error, match=message):
        check_words(X)


@pytest.mark.parametrize(
    "rows", [[["a"], []], ([], ("a",)), [np.array([]), ["a"]], pd.Series([[], ["a"]]), [[], []]]
)
def test_rows_may_be_empty(rows):
    expected = [tuple(row) for row in rows]
    assert check_words(rows) == expected
    assert check_tags(rows).tolist() == expected


def test_empty_rows_have_a_window_and_no_units(tokenizer):
    encoded = encode([(), ("the", "city"), ()], tokenizer)
    assert encoded.n_units.tolist() == [0, 2, 0]
    assert (encoded.lengths > 0).all()
    assert encode([()], tokenizer).n_units.tolist() == [0]
    assert encoded.take(np.array([2, 1])).n_units.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (["O", "O"], ValueError, "Row 0 of y is of type str, .* list of tags"),
        (np.array([0, 1]), TypeError, "Row 0 of y is of type int, .* list of tags"),
        ([["O"], ["O", None]], ValueError, "Tag 1 of row 1 of y is missing"),
        ([["O", np.nan]], ValueError, "Tag 1 of row 0 of y is missing"),
        ([["O", pd.NA]], ValueError, "Tag 1 of row 0 of y is missing"),
        ([[None]], ValueError, "Tag 0 of row 0 of y is missing"),
        (
            [["O", 1]],
            TypeError,
            "Tag 1 of row 0 of y is 1 of type int, .* and the first is 'O'",
        ),
        ([[0, "O"]], TypeError, "Tag 1 of row 0 of y is 'O' of type str"),
        ([[0.5]], TypeError, "Tag 0 of row 0 of y is 0.5 of type float"),
    ],
)
def test_what_is_no_row_of_tags_is_named(y, error, message):
    with pytest.raises(error, match=message):
        check_tags(y)


def test_tags_may_be_numbers():
    tags = check_tags([np.array([0, 3]), [np.int64(1)]])
    assert tags.tolist() == [(0, 3), (1,)]
    assert {type(tag) for row in tags for tag in row} == {int}


def test_tags_must_be_as_many_as_words():
    check_tags_of_words(TUPLES, check_tags(ROWS))
    with pytest.raises(ValueError, match="Row 1 has 1 words, but 2 tags in y"):
        check_tags_of_words(TUPLES, check_tags([["O"] * 3, ["O"] * 2, ["O"] * 2]))


@pytest.fixture(scope="module", params=["tiny_encoder", "tiny_decoder", "trimmed", "minilm"])
def tokenizer(request):
    name = "tiny_decoder" if request.param == "trimmed" else request.param
    _, tokenizer = resolve_encoder(request.getfixturevalue(name)).load()
    if request.param == "trimmed":
        from tokenizers import processors

        tokenizer.backend.post_processor = processors.ByteLevel(trim_offsets=True)
        assert tokenizer.encode_spans(["a the"])[1][0].tolist() == [[0, 1], [2, 5]]
    return tokenizer


def encode(rows, tokenizer, max_length=128):
    return WordFormat().encode(rows, tokenizer, max_length=max_length)


def unit_ids(encoded):
    """Token id at each unit."""
    units = encoded.units
    window = np.repeat(np.arange(len(encoded.windows)), units.counts)
    return [
        int(encoded.windows[w][place])
        for w, place in zip(window, units.position.tolist(), strict=True)
    ]


def first_visible(tokenizer, text):
    """Id of the first token of `text` that is more than a space."""
    encoding = tokenizer.backend.encode(text, add_special_tokens=False)
    return next(i for i, token in zip(encoding.ids, encoding.tokens, strict=True) if token != "Ġ")


def words_of_row(encoded):
    """Numbers of the words of each row, as the units have them."""
    return [
        part[:, 0].tolist() for part in np.split(encoded.units.source, encoded.unit_start[1:-1])
    ]


def test_the_unit_of_a_word_is_its_first_token(tokenizer):
    rows = [("the", "wonderfulness", "movie"), ("It's", "u.s.a", "fünf", "看电影"), ("x",)]
    encoded = encode(rows, tokenizer)
    assert words_of_row(encoded) == [[0, 1, 2], [0, 1, 2, 3], [0]]
    lead = "" if tokenizer.prefix else " "
    expected = [
        first_visible(tokenizer, word if place == 0 else lead + word)
        for row in rows
        for place, word in enumerate(row)
    ]
    assert unit_ids(encoded) == expected


@pytest.mark.parametrize("max_length", [8, 9, 16])
def test_every_word_of_a_long_row_has_its_token(tokenizer, max_length):
    row = ("the", "wonderfulness", "of", "a", "qzqzqzqzqzqzqzqzqz", "movie") * 7
    whole, cut = encode([row], tokenizer, 1024), encode([row], tokenizer, max_length)
    assert len(cut.windows) > 3
    assert unit_ids(cut) == unit_ids(whole)
    assert words_of_row(cut) == [list(range(len(row)))]
    # It is seen with what is around it, not at the edge of its window, unless the row ends there.
    body = cut.lengths[0] - cut.n_prefix - cut.n_suffix
    window = np.repeat(np.arange(len(cut.windows)), cut.units.counts)
    inner = (window > 0) & (window < len(cut.windows) - 1)
    if body > 8:
        assert (cut.units.position[inner] > cut.n_prefix).all()


def test_words_without_tokens(tokenizer):
    rows = [("\u200b", "a"), ("a", "", "b"), ("\x00",), ("", ""), ("a", "\x01\x02", " ")]
    encoded = encode(rows, tokenizer)
    assert words_of_row(encoded) == [[0, 1], [0, 1, 2], [0], [0, 1], [0, 1, 2]]
    ids = unit_ids(encoded)
    assert ids[2] == tokenizer.encode(["a"])[0][0]
    if tokenizer.prefix:
        assert ids[3] == ids[2]  # the empty word has the token before it
        assert ids[5] == ids[6] == tokenizer.prefix[0]
        assert ids[8] == ids[9] == ids[10] == ids[2]


def test_words_with_spaces_inside(tokenizer):
    spaced = encode([("New York", "is\nbig", " x")], tokenizer)
    plain = encode([("New", "York", "is", "big", "x")], tokenizer)
    assert words_of_row(spaced) == [[0, 1, 2]]
    assert unit_ids(spaced)[:2] == [unit_ids(plain)[0], unit_ids(plain)[2]]


def test_the_same_text_in_other_words(tokenizer):
    encoded = encode([("New York",), ("New", "York"), ("New York",)], tokenizer)
    assert encoded.n_units.tolist() == [1, 2, 1]
    assert encoded.windows[0] is encoded.windows[2]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(
            st.text(max_size=6) | st.sampled_from(["movie", "", " ", "\x00", "é", "😀", "the"]),
            max_size=20,
        ).map(tuple),
        min_size=1,
        max_size=4,
    ),
    st.integers(8, 20),
)
def test_every_word_has_one_unit_in_order(tokenizer, rows, max_length):
    rows = [tuple(word.encode("utf-8", "replace").decode() for word in row) for row in rows]
    encoded = encode(rows, tokenizer, max_length)
    assert words_of_row(encoded) == [list(range(len(row))) for row in rows]
    window = np.repeat(np.arange(len(encoded.windows)), encoded.units.counts)
    position = encoded.units.position
    assert (position >= 0).all()
    assert (position < encoded.lengths[window]).all()
    is_first = position == 0
    start = np.where(is_first, 0, encoded.pool_start[window])
    assert ((position >= start) & (is_first | (position < encoded.pool_stop[window]))).all()
    reversed_rows = np.arange(len(rows))[::-1]
    assert_array_equal(
        encoded.take(reversed_rows).units.position,
        encode(rows[::-1], tokenizer, max_length).units.position,
    )
