"""encode_rows: windows cover every token once, rows keep their order."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sktransfer.inputs import distinct, encode_rows
from sktransfer.inputs import rows as rows_module

FIRST_ID = 10


class Letters:
    """One token a character; the id tells the character's code point."""

    def __init__(self, n_prefix=1, n_suffix=1):
        self.pad_id = 0
        self.prefix = tuple(range(1, 1 + n_prefix))
        self.suffix = tuple(range(4, 4 + n_suffix))
        self.calls = []

    def encode(self, texts):
        self.calls.append(list(texts))
        return [
            np.array([FIRST_ID + ord(letter) for letter in text], dtype=np.int32) for text in texts
        ]


def counted_up(length):
    """Return a text whose tokens are its own positions."""
    return "".join(map(chr, range(length)))


specials = st.integers(0, 2)
texts_lists = st.lists(st.text(alphabet="abc ", max_size=40), min_size=1, max_size=12)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=5), st.integers(1, 40), specials, specials
)
def test_windows_pool_every_token_exactly_once(lengths, body, n_prefix, n_suffix):
    tokenizer = Letters(n_prefix, n_suffix)
    n_special = n_prefix + n_suffix
    rows = encode_rows(
        [counted_up(length) for length in lengths],
        tokenizer,
        max_length=body + n_special,
        long_texts="window",
    )
    assert len(rows) == len(lengths)
    assert rows.n_truncated == 0
    for row, length in enumerate(lengths):
        own = range(rows.row_start[row], rows.row_start[row + 1])
        windows = [rows.windows[i] for i in own]
        assert len({len(window) for window in windows}) == 1
        assert all(1 <= len(window) <= body + n_special for window in windows)
        assert all(tuple(window[:n_prefix]) == tokenizer.prefix for window in windows)
        assert all(
            tuple(window[len(window) - n_suffix :]) == tokenizer.suffix for window in windows
        )
        if length == 0 and n_special == 0:
            np.testing.assert_array_equal(windows, [[tokenizer.pad_id]])
            assert (rows.pool_start[own], rows.pool_stop[own]) == (0, 1)
            continue
        pooled = [rows.windows[i][rows.pool_start[i] : rows.pool_stop[i]] for i in own]
        np.testing.assert_array_equal(np.concatenate(pooled), FIRST_ID + np.arange(length))
        contents = [window[n_prefix : len(window) - n_suffix] for window in windows]
        for content, following in pairwise(contents):
            np.testing.assert_array_equal(np.diff(content), 1)
            overlap = content[-1] + 1 - following[0]
            assert overlap * 8 >= len(content) or body == 1


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(2, 64))
def test_no_more_windows_than_needed(length, body):
    rows = encode_rows([counted_up(length)], Letters(0, 0), max_length=body, long_texts="window")
    overlap = -(-body // 8)
    n_windows = len(rows.windows)
    assert (n_windows - 1) * (body - overlap) + overlap < max(length, overlap + 1)
    # Windows are as short as that overlap allows.
    assert rows.row_lengths[0] <= max(length, 1) + (n_windows - 1) * overlap + n_windows


def test_middle_of_the_overlap_parts_two_windows():
    rows = encode_rows([counted_up(17)], Letters(), max_length=18, long_texts="window")
    assert rows.lengths.tolist() == [12, 12]
    assert rows.windows[1][1] - FIRST_ID == 7  # the first holds 0..9, the second 7..16
    assert (rows.pool_start.tolist(), rows.pool_stop.tolist()) == ([1, 2], [9, 11])


@settings(deadline=None)
@given(texts_lists, st.integers(3, 20))
def test_truncate_keeps_the_first_tokens(texts, max_length):
    rows = encode_rows(texts, Letters(), max_length=max_length, long_texts="truncate")
    body = max_length - 2
    assert rows.n_truncated == sum(len(text) > body for text in texts)
    assert rows.row_start.tolist() == list(range(len(texts) + 1))
    for window, text in zip(rows.windows, texts, strict=True):
        assert window.tolist() == [1, *(FIRST_ID + ord(letter) for letter in text[:body]), 4]
    np.testing.assert_array_equal(rows.pool_start, 1)
    np.testing.assert_array_equal(rows.pool_stop, rows.lengths - 1)


@given(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=20))
def test_distinct_texts_rebuild_the_list(texts):
    first, inverse = distinct(texts)
    kept = [texts[i] for i in first]
    assert [kept[i] for i in inverse] == texts
    assert len(set(kept)) == len(kept)
    assert [texts.index(text) for text in kept] == first.tolist()


def test_distinct_texts_are_tokenized_once():
    tokenizer = Letters()
    texts = ["bb", "a", "bb", "abcdefgh", "a", "abcdefgh"]
    rows = encode_rows(texts, tokenizer, max_length=6, long_texts="window")
    assert tokenizer.calls == [["bb", "a", "abcdefgh"]]
    assert np.diff(rows.row_start).tolist() == [1, 1, 1, 3, 1, 3]
    assert rows.windows[0] is rows.windows[2]
    assert rows.row_lengths.tolist() == [4, 3, 4, 18, 3, 18]
    assert encode_rows(texts, Letters(), max_length=6, long_texts="truncate").n_truncated == 2


@settings(deadline=None)
@given(texts_lists, st.integers(3, 12), st.sampled_from(["window", "truncate"]))
def test_chunks_change_nothing(texts, max_length, long_texts):
    whole = encode_rows(texts, Letters(), max_length=max_length, long_texts=long_texts)
    tokenizer = Letters()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "_CHUNK_TEXTS", 3)
        patch.setattr(rows_module, "_CHUNK_CHARACTERS", 50)
        parts = encode_rows(texts, tokenizer, max_length=max_length, long_texts=long_texts)
    assert all(0 < len(call) <= 3 for call in tokenizer.calls)
    assert all(len(call) == 1 or sum(map(len, call)) <= 50 for call in tokenizer.calls)
    assert_same(parts, whole)


@settings(deadline=None)
@given(texts_lists, st.data())
def test_take_equals_encoding_the_taken_texts(texts, data):
    taken = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=10))
    rows = encode_rows(texts, Letters(), max_length=7, long_texts="window")
    expected = encode_rows([texts[i] for i in taken], Letters(), max_length=7, long_texts="window")
    assert_same(rows.take(np.array(taken, dtype=np.intp)), expected)


def test_take_nothing():
    rows = encode_rows(["a"], Letters(), max_length=7, long_texts="window")
    nothing = rows.take(np.empty(0, dtype=np.intp))
    assert len(nothing) == 0
    assert nothing.lengths.shape == nothing.row_lengths.shape == (0,)


def test_no_texts():
    rows = encode_rows([], Letters(), max_length=7, long_texts="window")
    assert len(rows) == 0
    assert rows.windows == []


def test_lengths_are_computed_once_and_pickled_rows_are_equal():
    rows = encode_rows(["a", "abcdefgh"], Letters(), max_length=7, long_texts="window")
    assert rows.lengths is rows.lengths
    assert rows.row_lengths.tolist() == [3, rows.lengths[1:].sum()]
    assert_same(pickle.loads(pickle.dumps(rows)), rows)


@pytest.mark.parametrize("max_length", [0, 1, 2])
def test_no_room_beside_the_special_tokens(max_length):
    with pytest.raises(ValueError, match=rf"max_length={max_length} .* at least 3"):
        encode_rows(["a"], Letters(), max_length=max_length, long_texts="window")


def assert_same(left, right):
    assert [w.tolist() for w in left.windows] == [w.tolist() for w in right.windows]
    for name in ("pool_start", "pool_stop", "row_start", "n_prefix", "n_suffix"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
