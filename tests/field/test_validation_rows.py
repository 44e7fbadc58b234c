"""X_val and y_val pass the checks that predict and score make of their rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sktransfer import (
    LanguageModel,
    TransferAnswerExtractor,
    TransferChoiceClassifier,
    TransferTextClassifier,
    TransferTextRegressor,
    TransferTextVectorizer,
    TransferTokenClassifier,
)

from .._reviews import reviews

TEXTS, LABELS = reviews(8)
PAIRS = list(zip(TEXTS, TEXTS[::-1], strict=True))
FRAME = pd.DataFrame(PAIRS, columns=["premise", "claim"])
NUMBERS = np.linspace(0, 1, 8)
TOPICS = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]] * 2)


@pytest.fixture
def make(tiny_encoder):
    def build(kind, **parameters):
        settings = {"max_epochs": 1, "device": "cpu", "random_state": 0}
        return kind(tiny_encoder, **{**settings, **parameters})

    return build


def assert_refused(model, message, *arguments, **validation):
    """`fit` raises what `message` matches, and nothing of the model changes."""
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.fit(*arguments, **validation)
    assert vars(model) == before


WATCHED = pytest.mark.parametrize(
    ("kind", "y"),
    [
        (TransferTextClassifier, LABELS),
        (TransferTextRegressor, NUMBERS),
        (TransferTextVectorizer, LABELS),
    ],
)


@WATCHED
@pytest.mark.parametrize(
    ("X_val", "n_columns"),
    [(TEXTS, 1), ([(*pair, "more") for pair in PAIRS], 3), (np.array(PAIRS)[:, :1], 1)],
)
def test_a_pair_whose_x_val_has_another_number_of_columns_is_refused(
    make, kind, y, X_val, n_columns
):
    message = f"^X_val has {n_columns} features, but {kind.__name__} is expecting 2 features"
    assert_refused(make(kind), message, PAIRS, y, X_val=X_val, y_val=y)


@WATCHED
@pytest.mark.parametrize("convert", [pd.DataFrame, pl.from_pandas])
def test_a_pair_whose_x_val_has_swapped_names_is_refused(make, kind, y, convert):
    swapped = convert(FRAME[["claim", "premise"]])
    message = r"(?s)^X_val: The feature names .* same order as they were in fit"
    assert_refused(make(kind), message, convert(FRAME), y, X_val=swapped, y_val=y)


@pytest.mark.parametrize(
    ("X_val", "message"),
    [
        (FRAME.rename(columns={"claim": "other"}), r"(?s)^X_val: The feature names.*- other"),
        (FRAME[["premise"]], r"(?s)^X_val: The feature names.*now missing:\n- claim"),
        (FRAME.assign(more="x"), r"(?s)^X_val: The feature names.*unseen at fit time:\n- more"),
    ],
)
def test_a_pair_whose_x_val_has_other_names_is_refused(make, X_val, message):
    model = make(TransferTextClassifier)
    assert_refused(model, message, FRAME, LABELS, X_val=X_val, y_val=LABELS)


def test_x_val_is_held_against_the_x_of_a_warm_start_not_of_the_fit_before(make):
    older = FRAME.rename(columns={"claim": "other"})
    model = make(TransferTextClassifier, warm_start=True).fit(older, LABELS)
    assert_refused(model, "X_val: The feature", FRAME, LABELS, X_val=older, y_val=LABELS)
    model.fit(FRAME, LABELS, X_val=FRAME, y_val=LABELS)
    assert model.feature_names_in_.tolist() == ["premise", "claim"]


def test_x_val_is_checked_where_the_encoder_stays_as_it_is(make):
    model = make(TransferTextVectorizer, max_epochs=0)
    swapped = FRAME[["claim", "premise"]]
    assert_refused(model, "X_val: The feature", FRAME, LABELS, X_val=swapped, y_val=LABELS)


def test_x_val_of_choices_has_the_columns_of_x(make):
    X = [("what falls", "rain", "fire"), ("what burns", "rain", "fire")] * 4
    y = [0, 1] * 4
    model = make(TransferChoiceClassifier)
    message = "^X_val has 4 features, but TransferChoiceClassifier is expecting 3"
    assert_refused(model, message, X, y, X_val=[(*row, "snow") for row in X], y_val=y)


def test_x_val_of_questions_has_the_names_of_x(make):
    X = pd.DataFrame({"question": ["where"] * 2, "context": ["in the city", "by the sea"]})
    swapped = X[["context", "question"]]
    model = make(TransferAnswerExtractor)
    message = r"(?s)^X_val: .* same order"
    assert_refused(model, message, X, ["city", "sea"], X_val=swapped, y_val=["city", "sea"])


def test_x_val_of_a_language_model_has_the_name_of_x(make):
    X = pd.DataFrame({"text": TEXTS})
    model = make(LanguageModel)
    other = X.rename(columns={"text": "title"})
    assert_refused(model, r"(?s)^X_val: .*unseen at fit time:\n- title", X, X_val=other)
    model.fit(X, X_val=X)
    with pytest.raises(ValueError, match="unseen at fit time"):
        model.score(other)


def test_a_missing_text_of_x_val_is_blamed_on_x_val(make):
    model = make(TransferTextClassifier)
    broken = [*TEXTS[:3], None, *TEXTS[4:]]
    assert_refused(model, "^Row 3 of X_val is missing", TEXTS, LABELS, X_val=broken, y_val=LABELS)


SENTENCES, TAGS = [["the", "city"], ["a", "dog"]], [["O", "B-LOC"], ["O", "O"]]
CHOICES = [("what falls", "rain", "fire"), ("what burns", "rain", "fire")]
PASSAGES = [("where", "in the city"), ("where", "by the sea")]


@pytest.mark.parametrize(
    ("kind", "X", "y", "y_val", "message"),
    [
        (TransferTextClassifier, TEXTS, LABELS, [*LABELS[:7], "new"], "label 'new' in row 7"),
        (TransferTextVectorizer, TEXTS, LABELS, [*LABELS[:7], "new"], "label 'new' in row 7"),
        (TransferTextClassifier, TEXTS, LABELS, [0] * 8, "label 0 in row 0"),
        (TransferTokenClassifier, SENTENCES, TAGS, [TAGS[0], ["O", "B-PER"]], "'B-PER' in row 1"),
        (TransferChoiceClassifier, CHOICES, [0, 1], [0, 2], "2 in row 1, .* from 0 to 1"),
    ],
)
def test_a_label_only_in_y_val_is_blamed_on_y_val_with_the_row(make, kind, X, y, y_val, message):
    assert_refused(make(kind), f"^y_val has .*{message}", X, y, X_val=X, y_val=y_val)


def test_an_answer_of_y_val_that_is_not_there_is_blamed_on_y_val_with_the_row(make):
    model, y = make(TransferAnswerExtractor), ["city", "sea"]
    message = "^Row 1 of y_val: the answer 'dog' does not occur"
    assert_refused(model, message, PASSAGES, y, X_val=PASSAGES, y_val=["city", "dog"])


@pytest.mark.parametrize(
    ("kind", "y", "y_val", "message"),
    [
        (TransferTextClassifier, LABELS, LABELS[:7], r"^X_val and y_val: .*\[8, 7\]"),
        (TransferTextClassifier, LABELS, [*LABELS[:7], None], "y_val .*row 7"),
        (
            TransferTextClassifier,
            LABELS,
            TOPICS,
            "^y_val has 3 columns, but the task",
        ),
        (TransferTextClassifier, TOPICS, TOPICS[:, :2], "^y_val must have .*3 labels, got 2 col"),
        (TransferTextClassifier, TOPICS, LABELS, "^y_val must have .*3 labels, got 1 col"),
        (TransferTextRegressor, NUMBERS, [*NUMBERS[:7], np.nan], "^y_val contains NaN in row 7"),
        (TransferTextRegressor, NUMBERS, np.c_[NUMBERS, NUMBERS], "^y_val has 2 numbers per row"),
        (TransferTextRegressor, TOPICS, NUMBERS, "^y_val has 1 numbers per row, but y has 3"),
        (TransferTextVectorizer, NUMBERS, LABELS, "^y_val must be numbers"),
    ],
)
def test_what_is_wrong_with_y_val_is_not_blamed_on_y(make, kind, y, y_val, message):
    assert_refused(make(kind), message, TEXTS, y, X_val=TEXTS, y_val=y_val)


def test_columns_whose_names_cannot_be_kept_leave_the_estimator_as_it_was(make):
    model = make(TransferTextClassifier, max_epochs=0).fit(FRAME, LABELS)
    before = dict(vars(model))
    with pytest.raises(TypeError, match="string names"):
        model.fit(FRAME.set_axis([0, "claim"], axis=1), LABELS)
    assert vars(model) == before
