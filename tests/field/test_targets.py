"""Targets that cannot be learned are explained in our own words, with the row."""

from __future__ import annotations

import datetime
import enum
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sktransfer import (
    TransferChoiceClassifier,
    TransferTextClassifier,
    TransferTextRegressor,
    TransferTextVectorizer,
    TransferTokenClassifier,
)

from .._reviews import reviews

TEXTS, LABELS = reviews(8)
TOPICS = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 2)
ROW_TWO = [1.0, 2.0, None, 4.0, 1.5, 2.5, 3.5, 4.5]


class Mood(str, enum.Enum):  # noqa: UP042
    """Labels as programs have them."""

    GOOD = "good"
    BAD = "bad"


@pytest.fixture
def make(tiny_encoder):
    def build(kind=TransferTextClassifier, **parameters):
        settings = {"max_epochs": 0, "device": "cpu", "random_state": 0}
        return kind(tiny_encoder, **{**settings, **parameters})

    return build


def with_hole(missing, dtype):
    values = TOPICS.astype(object)
    values[2, 1] = missing
    return pd.DataFrame(values, columns=["a", "b"]).astype(dtype)


@pytest.mark.parametrize("kind", [TransferTextClassifier, TransferTextVectorizer])
@pytest.mark.parametrize(
    "y",
    [
        with_hole(pd.NA, "Int64"),
        with_hole(pd.NA, "boolean"),
        with_hole(pd.NA, object),
        with_hole(None, object),
        with_hole(np.nan, float),
        pl.from_pandas(with_hole(None, "boolean")),
        with_hole(pd.NA, object).to_numpy().tolist(),
    ],
)
def test_a_missing_value_in_a_multilabel_frame_names_row_and_column(make, kind, y):
    with pytest.raises(ValueError, match=r"^y is missing \(.*\) in row 2, column 1: "):
        make(kind, max_epochs=1).fit(TEXTS, y)


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "Float64", object])
def test_a_multilabel_frame_that_could_have_missing_values_works(make, dtype):
    expected = make().fit(TEXTS, TOPICS).predict_proba(TEXTS)
    found = make().fit(TEXTS, pd.DataFrame(TOPICS).astype(dtype)).predict_proba(TEXTS)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [TransferTextRegressor, TransferTextVectorizer])
@pytest.mark.parametrize(
    "y",
    [
        np.array(ROW_TWO, dtype=float),
        ROW_TWO,
        [pd.NA if value is None else value for value in ROW_TWO],
        pd.Series(ROW_TWO, dtype="Float64"),
        pl.Series(ROW_TWO),
        [np.inf if value is None else value for value in ROW_TWO],
    ],
)
def test_a_missing_or_infinite_number_names_its_row(make, kind, y):
    with pytest.raises(ValueError, match=r"\by\b.* in row 2"):
        make(kind, max_epochs=1).fit(TEXTS, y)


def test_a_missing_number_of_several_outputs_names_its_column(make):
    y = np.c_[np.arange(8.0), ROW_TWO].astype(float)
    with pytest.raises(ValueError, match="y contains NaN in row 2, column 1"):
        make(TransferTextRegressor).fit(TEXTS, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([2.0] * 7 + ["x"], "got 'x' in row 7"),
        ([2.0] * 7 + [datetime.date(2020, 1, 1)], r"got datetime.date\(2020, 1, 1\) in row 7"),
        (pd.Series(pd.date_range("2020", periods=8)), "dates or times, not numbers"),
        ([2.0] * 7 + [2**2000], "in row 7"),
        ([[1.0]] * 7 + [[1.0, 2.0]], "in row 0"),
    ],
)
def test_what_is_not_a_number_is_named(make, y, message):
    with pytest.raises(ValueError, match=rf"^y .*{message}"):
        make(TransferTextRegressor).fit(TEXTS, y)


@pytest.mark.parametrize("kind", [TransferTextClassifier, TransferTextVectorizer])
@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, "1"] * 4, r"1 \(int\) in row 0, '1' \(str\) in row 1"),
        (["a"] * 3 + [True] * 5, r"'a' \(str\) in row 0, True \(bool\) in row 3"),
        ([1.5, "a"] * 4, r"1.5 \(float\) in row 0, 'a' \(str\) in row 1"),
        (pd.Series([1, "1"] * 4), r"1 \(int\) in row 0, '1' \(str\) in row 1"),
    ],
)
def test_labels_of_mixed_kinds_are_explained(make, kind, y, message):
    with pytest.raises(ValueError, match=rf"^y mixes kinds of labels: {message}.*str\(label\)"):
        make(kind, max_epochs=1).fit(TEXTS, y)


@pytest.mark.parametrize("kind", [TransferTextClassifier, TransferTextVectorizer])
@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)] * 4, "of type date.*str"),
        (pd.Series(pd.date_range("2020", periods=2).tolist() * 4), "of type datetime64.*str"),
        ([Decimal(1), Decimal(2)] * 4, "of type Decimal.*str"),
        (pd.Series([("a", "b"), ("c", "d")] * 4), "of type tuple.*MultiLabelBinarizer"),
        (pd.Series([["a"], ["c", "d"]] * 4), "of type list.*MultiLabelBinarizer"),
        ([{"a"}, {"b"}] * 4, "of type set.*MultiLabelBinarizer"),
        ([b"a", b"b"] * 4, "of type bytes.*decode"),
        ([object(), object()] * 4, "of type object.*str"),
    ],
)
def test_labels_of_kinds_that_are_none_are_explained(make, kind, y, message):
    with pytest.raises(ValueError, match=rf"^Unknown label type: y has .* in row 0, {message}"):
        make(kind, max_epochs=1).fit(TEXTS, y)


@pytest.mark.parametrize("y", [[2**70, 1] * 4, [2**63, -1] * 4, [2**53 + 1, 1.0] * 4])
def test_labels_that_numpy_would_round_are_explained(make, y):
    with pytest.raises(ValueError, match=r"^y has the label \d+ in row 0, .*more bits.*str\(label"):
        make().fit(TEXTS, y)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        ([Mood.GOOD, Mood.BAD] * 4, ["bad", "good"]),
        (np.array([1, 2] * 4, dtype=object), [1, 2]),
        (pd.Series([1, 2] * 4, dtype="Int64"), [1, 2]),
        (pd.Series([True, False] * 4, dtype="boolean"), [False, True]),
    ],
)
def test_labels_are_learned_as_what_they_are(make, y, classes):
    found = make().fit(TEXTS, y).classes_.tolist()
    assert found == classes
    assert list(map(type, found)) == list(map(type, classes))


def test_tags_of_mixed_kinds_are_explained(make):
    with pytest.raises(TypeError, match=r"Tag 1 of row 1 of y is 1 of type int.*'O'.*str\(\)"):
        make(TransferTokenClassifier).fit([["a", "dog"]] * 2, [["O", "B-X"], ["O", 1]])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([None, *LABELS[1:]], "y .* in row 0"),
        ([1, *LABELS[1:].tolist()], "y mixes kinds of labels"),
        ([Decimal(1)] * 8, "Unknown label type: y has Decimal"),
    ],
)
def test_score_explains_labels_as_fit_does(make, y, message):
    model = make().fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match=message):
        model.score(TEXTS, y)


def test_score_explains_numbers_as_fit_does(make):
    model = make(TransferTextRegressor).fit(TEXTS, np.arange(8.0))
    with pytest.raises(ValueError, match="y contains NaN in row 2"):
        model.score(TEXTS, ROW_TWO)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
@pytest.mark.parametrize("largest", [1.7e308, -1e300, 1e200])
def test_numbers_near_the_float_limit_are_named(make, loss, largest):
    y = np.arange(8.0)
    y[5] = largest
    with pytest.raises(ValueError, match=r"^y has .* in row 5, .*rescale y"):
        make(TransferTextRegressor, loss=loss).fit(TEXTS, y)


def test_the_largest_numbers_that_are_taken_are_predicted(make):
    y = np.linspace(-1e150, 1e150, 8)
    model = make(TransferTextRegressor, lexical_weight=0.0, C=1e6).fit(TEXTS, y)
    assert np.isfinite(model.predict(TEXTS)).all()
    assert model.score(TEXTS, y) > 0.5


@pytest.mark.parametrize("loss", ["huber", "absolute_error"])
def test_a_number_too_far_from_the_others_for_the_network_is_named(make, loss):
    y = np.arange(8.0)
    y[5] = 1e60
    with pytest.raises(ValueError, match=r"^y has 1e\+60 in row 5, .*times as far"):
        make(TransferTextRegressor, loss=loss).fit(TEXTS, y)


def test_rows_of_weight_zero_are_not_counted_in_silence(make):
    y = np.arange(8.0)
    y[5] = 1e60
    model = make(TransferTextRegressor, loss="huber")
    message = r"^y without its rows of weight zero has 1e\+60 in row 4"
    with pytest.raises(ValueError, match=message):
        model.fit(TEXTS, y, sample_weight=[0, *[1] * 7])
    with pytest.raises(ValueError, match=r"^y has 1e\+60 in row 5"):
        model.fit(TEXTS, y, sample_weight=[2, *[1] * 7])


@pytest.mark.parametrize(
    "number", [2**70, -(2**70), 1e30, np.inf, np.uint64(2**63 + 1), float(2**63)]
)
def test_a_choice_number_beyond_int64_is_named(make, number):
    X = [("what falls", "rain", "fire")] * 2
    model = make(TransferChoiceClassifier).fit(X, [0, 1])
    for act in (model.fit, model.score):
        with pytest.raises(ValueError, match=r"^y must have the number of the right .* in row 1"):
            act(X, [0, number])


def test_a_choice_that_is_not_there_is_no_mistake_of_the_model(make):
    X = [("what falls", "rain", "fire"), ("what burns", "rain", None)]
    model = make(TransferChoiceClassifier).fit(X, [0, 0])
    with pytest.raises(ValueError, match="y has 2 in row 0"):
        model.score(X, [2, 0])
    with pytest.raises(ValueError, match="y has 1 in row 1, but this choice is missing"):
        model.score(X, [0, 1])


@pytest.mark.parametrize("kind", [TransferTextClassifier, TransferTextVectorizer])
def test_a_multilabel_y_of_one_label_each_warns_that_labels_are_meant(make, kind):
    y = (LABELS[:, None] == ["good", "bad"]).astype(int)
    with pytest.warns(UserWarning, match=r"exactly one 1.*y\.argmax\(axis=1\)") as record:
        make(kind, max_epochs=1).fit(TEXTS, y)
    assert len(record) == 1
    y[3] = 1
    make(kind, max_epochs=1).fit(TEXTS, y)
    make().fit(TEXTS[:1], [[1, 0]])
