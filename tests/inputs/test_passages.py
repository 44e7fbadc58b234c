"""Questions and contexts: windows behind a question, every token of the context a unit once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sktransfer.inputs import PassageFormat, encode_passages
from sktransfer.inputs.fast_tokenizer import FastTokenizer

from ..conftest import byte_level_tokenizer, wordpiece_tokenizer
from ..toys import LetterTokenizer, MarkedLetters


class RecordingLetters(MarkedLetters):
    def __init__(self) -> None:
        self.read: list[str] = []

    def encode(self, texts):
        self.read += texts
        return super().encode(texts)


@pytest.mark.parametrize(
    "X",
    [[("why", "so")], np.array([["why", "so"]]), pd.DataFrame({"q": ["why"], "c": ["so"]})],
    ids=["list", "array", "frame"],
)
def test_form(X):
    form = PassageFormat()
    rows = form.check(X)
    assert rows == [("why", "so")]
    assert form.n_columns(rows) == 2
    assert len(form.encode(rows, MarkedLetters(), max_length=12)) == 1


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (["why"], "X has 1 column, but a row is a question and a context"),
        ([("why", "so", "what")], "X has 3 columns, but"),
        ([("why", None)], "Row 0 of X, column 1 is missing"),
    ],
)
def test_what_is_no_passage(X, message):
    with pytest.raises(ValueError, match=message):
        PassageFormat().check(X)


def test_one_window():
    rows = encode_passages([("q", "abc"), ("", "")], MarkedLetters(), max_length=12)
    question, a, b, c = MarkedLetters().encode(["qabc"])[0].tolist()
    assert [window.tolist() for window in rows.windows] == [
        [101, question, 102, a, b, c, 103],
        [101, 102, 103],
    ]
    assert rows.segment_start.tolist() == [3, 2]
    assert rows.n_units.tolist() == [4, 1]
    assert rows.units.position.tolist() == [0, 3, 4, 5, 0]
    assert rows.units.source.tolist() == [[-1, -1], [0, 1], [1, 2], [2, 3], [-1, -1]]
    assert (rows.n_prefix, rows.n_suffix, rows.n_truncated) == (1, 1, 0)


texts = st.text("abcdefghij", max_size=70)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5), st.integers(5, 40))
def test_every_token_is_a_unit_of_one_window(pairs, max_length):
    tokenizer = MarkedLetters()
    rows = encode_passages(pairs, tokenizer, max_length=max_length)
    assert rows.lengths.max() <= max_length
    window_of_unit = np.repeat(np.arange(len(rows.windows)), rows.units.counts)
    ids = [rows.windows[w][p] for w, p in zip(window_of_unit, rows.units.position, strict=True)]
    for row, (question, context) in enumerate(pairs):
        units = slice(*rows.unit_start[row : row + 2])
        (content,) = tokenizer.encode([context])
        assert ids[units] == [101, *content.tolist()]
        starts = np.arange(len(context))
        expected = [[-1, -1], *np.stack([starts, starts + 1], axis=1).tolist()]
        assert rows.units.source[units].tolist() == expected
        assert window_of_unit[units][0] == rows.row_start[row]
        for window in range(*rows.row_start[row : row + 2]):
            (asked,) = tokenizer.encode([question[: (max_length - 3) // 2]])
            head = [101, *asked.tolist(), 102]
            assert rows.windows[window][: len(head)].tolist() == head
            assert rows.segment_start[window] == len(head)
    assert rows.n_truncated == sum(len(q) > (max_length - 3) // 2 for q, _ in pairs)


def test_windows_overlap():
    rows = encode_passages([("q" * 5, "abcdefghij" * 9)], MarkedLetters(), max_length=40)
    parts = [window[7:-1] for window in rows.windows]
    assert len(parts) > 2
    assert all(len(set(a[-4:]) & set(b[:4])) for a, b in pairwise(parts))


def test_each_text_is_tokenized_once():
    tokenizer = RecordingLetters()
    encode_passages([("q", "aa"), ("q", "bb"), ("p", "aa")], tokenizer, max_length=12)
    assert sorted(tokenizer.read) == ["aa", "bb", "p", "q"]


def test_without_special_tokens():
    rows = encode_passages([("q", "ab"), ("", "ab"), ("", "")], LetterTokenizer(), max_length=12)
    assert [len(window) for window in rows.windows] == [3, 3, 1]
    assert rows.units.position.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert rows.windows[2].tolist() == [0]


def test_no_room():
    with pytest.raises(ValueError, match=r"max_length=4 leaves no room .* use at least 5"):
        encode_passages([("q", "a")], MarkedLetters(), max_length=4)


@pytest.mark.parametrize("make", [byte_level_tokenizer, wordpiece_tokenizer])
def test_spans_of_real_tokenizers_have_no_spaces_ahead(make):
    context = "the good film\t\nwas  naïve \U0001f600 fun "
    rows = encode_passages([("why", context)], FastTokenizer(make(), pad_id=0), max_length=99)
    spans = rows.units.source[1:]
    assert (spans[:, 0] < spans[:, 1]).all()
    assert not any(context[start].isspace() for start in spans[:, 0])
    assert (np.diff(spans, axis=0) >= 0).all()
    pieces = [context[start:stop] for start, stop in spans]
    assert set("".join(pieces)) == set("".join(context.split()))
    assert "fun" in pieces


def test_taking_rows_keeps_their_units():
    pairs = [("q", "abcdefghij" * 4), ("p", ""), ("q", "xyz")]
    rows = encode_passages(pairs, MarkedLetters(), max_length=20)
    taken = rows.take(np.array([2, 0]))
    alone = encode_passages([pairs[2], pairs[0]], MarkedLetters(), max_length=20)
    assert_array_equal(taken.units.source, alone.units.source)
    assert_array_equal(taken.units.position, alone.units.position)
    assert_array_equal(taken.n_units, alone.n_units)
