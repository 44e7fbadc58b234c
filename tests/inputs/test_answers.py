"""Answers: checked with their row, found in their context, compared as SQuAD does."""

from __future__ import annotations

from unicodedata import normalize

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sktransfer.inputs import (
    accepted_texts,
    answer_f1,
    answer_match,
    answer_words,
    check_answers,
    locate_answers,
    whole_letters,
)

CONTEXT = "The cat sat on the mat."


@pytest.mark.parametrize(
    "y",
    [
        ["cat", None],
        ("cat", float("nan")),
        [["cat"], pd.NA],
        np.array(["cat", None], dtype=object),
        pd.Series(["cat", None]),
        pd.Series(["cat", np.nan], dtype=object),
        pl.Series(["cat", None]),
    ],
)
def test_texts_and_missing_values(y):
    assert check_answers(y).tolist() == ["cat", None]


@pytest.mark.parametrize(
    "y",
    [
        [(4, 7), (8, 11)],
        [[4, 7], np.array([8, 11])],
        np.array([[4, 7], [8, 11]]),
        pd.Series([(4, 7), (8, 11)]),
        pd.DataFrame({"start": [4, 8], "stop": [7, 11]}),
        pl.DataFrame({"start": [4, 8], "stop": [7, 11]}),
    ],
)
def test_pairs_of_characters(y):
    answers = check_answers(y)
    assert answers.shape == (2,)
    assert answers.tolist() == [(4, 7), (8, 11)]


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ("cat", TypeError, "y must be a sequence of answers, got str"),
        (3, TypeError, "y must be a sequence of answers, got int"),
        ([3, "cat"], TypeError, "Row 0 of y is 3, but an answer is a text"),
        (["cat", (1, 2, 3)], TypeError, r"Row 1 of y is \(1, 2, 3\)"),
        (["cat", ()], TypeError, r"Row 1 of y is \(\)"),
        (["cat", ("mat", None)], TypeError, "Row 1 of y is"),
        (["cat", (1.0, 2.0)], TypeError, "Row 1 of y is"),
        (np.zeros((2, 3), dtype=int), ValueError, r"y has the shape \(2, 3\)"),
        (np.zeros((2, 2)), ValueError, "the dtype float64"),
    ],
)
def test_what_is_no_answer(y, error, message):
    with pytest.raises(error, match=message):
        check_answers(y)


def test_the_first_occurrence_counts():
    answers = check_answers(["at", (9, 11), None])
    assert locate_answers([CONTEXT] * 3, answers).tolist() == [[5, 7], [9, 11], [-1, -1]]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("Cat", "Row 1 of y: the answer 'Cat' does not occur in its context"),
        ("", "Row 1 of y is an empty text; None stands for no answer"),
        (["cat", "mat"], "Row 1 of y has several answers"),
        ((7, 7), "Row 1 of y: characters 7 to 7 are not part of a context of 23"),
        ((7, 4), "characters 7 to 4"),
        ((-1, 4), "characters -1 to 4"),
        ((4, 24), "characters 4 to 24"),
    ],
)
def test_what_is_not_in_the_context(answer, message):
    with pytest.raises(ValueError, match=message):
        locate_answers([CONTEXT] * 2, check_answers(["cat", answer]))


def test_what_counts_as_right():
    answers = check_answers([(4, 7), ["dog", "cat"], None, "anything"])
    expected = [("cat",), ("dog", "cat"), (None,), ("anything",)]
    assert accepted_texts([CONTEXT] * 4, answers) == expected
    with pytest.raises(ValueError, match="Row 0 of y: characters 4 to 99"):
        accepted_texts([CONTEXT], check_answers([(4, 99)]))


def test_words_of_an_answer():
    assert answer_words("The  U.S.\tArmy, an (old) theatre") == ["us", "army", "old", "theatre"]


@pytest.mark.parametrize(
    ("predicted", "expected", "f1", "match"),
    [
        ("The Cat!", "cat", 1.0, 1.0),
        ("black cat", "cat", 2 / 3, 0.0),
        ("cat cat", "cat", 2 / 3, 0.0),
        ("mat cat", "cat mat", 1.0, 0.0),
        ("dog", "cat", 0.0, 0.0),
        ("the", "", 1.0, 1.0),
        ("", "cat", 0.0, 0.0),
        (None, None, 1.0, 1.0),
        (None, "cat", 0.0, 0.0),
        ("cat", None, 0.0, 0.0),
    ],
)
def test_comparison(predicted, expected, f1, match):
    assert answer_f1(predicted, expected) == pytest.approx(f1)
    assert answer_match(predicted, expected) == match


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("cafe\u0301", (0, 4), (0, 5)),
        ("cafe\u0301", (4, 5), (3, 5)),
        ("cafe\u0301", (0, 3), (0, 3)),
        ("caf\u00e9s", (0, 4), (0, 4)),
        ("\u0301a", (0, 1), (0, 1)),
        ("", (0, 0), (0, 0)),
        ("\u1112\u1161\u11ab", (0, 1), (0, 3)),
    ],
)
def test_letters_have_their_marks(text, span, expected):
    assert whole_letters(text, *span) == expected


def test_accents_are_compared_and_not_how_they_are_encoded():
    assert answer_words("Cafe\u0301") == answer_words("caf\u00e9") == ["caf\u00e9"]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from([*"ae éệÅ한q", "e\u0301", "q\u0323", "\u1112\u1161"]), max_size=8),
    st.data(),
)
def test_any_part_in_whole_letters_is_found(letters, data):
    context = normalize(data.draw(st.sampled_from(["NFC", "NFD"])), "".join(letters) + "x")
    first = data.draw(st.integers(0, len(context) - 1))
    start, stop = whole_letters(context, first, data.draw(st.integers(first + 1, len(context))))
    answer = normalize(data.draw(st.sampled_from(["NFC", "NFD"])), context[start:stop])
    ((first, last),) = locate_answers([context], check_answers([answer]))
    assert normalize("NFC", context[first:last]) == normalize("NFC", answer)
    assert whole_letters(context, first, last) == (first, last)
