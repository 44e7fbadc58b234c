"""Weights of rows and classes that leave nothing to learn from, or to score, are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sktransfer import (
    TransferAnswerExtractor,
    TransferChoiceClassifier,
    TransferTextClassifier,
    TransferTextRegressor,
    TransferTokenClassifier,
)

from .._reviews import reviews

TEXTS, LABELS = reviews(12)
TOPICS = np.array([[1, 0], [0, 1], [1, 1]] * 4)
SENTENCES = [["the", "city"], ["a", "dog"]] * 6
ROWS = {
    TransferTextClassifier: (TEXTS, LABELS),
    TransferTextRegressor: (TEXTS, np.arange(12.0)),
    TransferChoiceClassifier: (
        [("what falls", "rain", "fire"), ("what burns", "rain", "fire")] * 6,
        [0, 1] * 6,
    ),
    TransferTokenClassifier: (SENTENCES, [["O", "LOC"], ["O", "O"]] * 6),
    TransferAnswerExtractor: ([("where", "in the city")] * 12, ["city"] * 12),
}
BAD_WEIGHTS = [
    (np.zeros(12), "sample_weight is zero for every row"),
    (0.0, "sample_weight is zero for every row"),
    (np.r_[np.ones(11), -1.0], "Negative values in sample_weight, such as -1 in row 11"),
    (np.r_[np.ones(11), np.nan], "sample_weight contains NaN in row 11"),
    (np.r_[np.ones(11), np.inf], "sample_weight contains infinity in row 11"),
    (pd.Series([1.0] * 11 + [None], dtype="Float64"), "sample_weight contains NaN in row 11"),
    ([1.0] * 11 + [pd.NA], "sample_weight must be numbers: a value is missing .* in row 11"),
    (["heavy"] * 12, "sample_weight must be numbers: got 'heavy' in row 0"),
    (np.full(12, 1e308), "sample_weight has 1e.308 in row 0"),
    (np.ones(11), "sample_weight must be a 1D array of 12 numbers"),
]


@pytest.fixture
def make(tiny_encoder):
    def build(kind=TransferTextClassifier, **parameters):
        settings = {"max_epochs": 0, "device": "cpu", "random_state": 0}
        return kind(tiny_encoder, **{**settings, **parameters})

    return build


@pytest.mark.parametrize("kind", ROWS)
def test_weights_that_are_none_are_refused_in_fit_and_score(make, kind):
    model = make(kind).fit(*ROWS[kind])
    before = dict(vars(model))
    for weights, message in BAD_WEIGHTS:
        with pytest.raises(ValueError, match=f"^{message}"):
            model.fit(*ROWS[kind], sample_weight=weights)
        with pytest.raises(ValueError, match=f"^{message}"):
            model.score(*ROWS[kind], sample_weight=weights)
    assert vars(model) == before


def test_weights_that_sum_to_zero_are_refused_in_exact_match(make):
    X, y = ROWS[TransferAnswerExtractor]
    model = make(TransferAnswerExtractor).fit(X, y)
    with pytest.raises(ValueError, match="sample_weight is zero for every row"):
        model.exact_match_score(X, y, sample_weight=np.zeros(12))


@pytest.mark.parametrize("kind", ROWS)
def test_scores_are_weighted(make, kind):
    X, y = ROWS[kind]
    model = make(kind).fit(X, y)
    weights = np.r_[2.0, np.ones(3), np.zeros(8)]
    twice = model.score([X[0], *X[:4]], [y[0], *y[:4]])
    assert model.score(X, y, sample_weight=weights) == pytest.approx(twice)
    assert type(model.score(X, y)) is float


@pytest.mark.parametrize("max_epochs", [0, 1])
@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"good": -1.0, "bad": 1.0}, "class_weight has -1.0 for 'good'"),
        ({"good": np.nan}, "class_weight has nan for 'good'"),
        ({"good": np.inf}, "class_weight has inf for 'good'"),
        ({"good": "2"}, "class_weight has '2' for 'good'"),
        ({"good": None}, "class_weight has None for 'good'"),
        ({"good": 0, "bad": 0.0}, r"class_weight is zero for every row.*\['bad', 'good'\]"),
        ({"goood": 2.0}, r"weights for \['goood'\], .* none for \['bad', 'good'\]"),
        ([{0: 1.0}], "class_weight must be a dict"),
    ],
)
def test_class_weights_that_are_none_are_refused(make, class_weight, message, max_epochs):
    model = make(class_weight=class_weight, max_epochs=max_epochs)
    with pytest.raises(ValueError, match=message):
        model.fit(TEXTS, LABELS)
    assert not hasattr(model, "model_")
    with pytest.raises(ValueError, match=message):
        model.partial_fit(TEXTS, LABELS, classes=["good", "bad"])


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ([{0: -1.0}, {}], r"class_weight\[0\] has -1.0 for 0"),
        ([{}, {1: np.nan}], r"class_weight\[1\] has nan for 1"),
        ([{}, {0: 0, 1: 0}], r"class_weight\[1\] is zero for every row of column 1"),
        ([{"1": 2.0}, {}], r"class_weight\[0\] has weights for \['1'\]"),
        ([1.0, 2.0], r"class_weight\[0\] must be a dict"),
    ],
)
def test_class_weights_of_several_labels_that_are_none_are_refused(make, class_weight, message):
    with pytest.raises(ValueError, match=message):
        make(class_weight=class_weight).fit(TEXTS, TOPICS)


def test_a_class_of_weight_zero_is_hardly_predicted(make):
    model = make(class_weight={"good": 0.0}).fit(TEXTS, LABELS)
    assert model.predict_proba(TEXTS)[:, 1].max() < 0.5


def test_class_weights_of_labels_that_are_digits_are_found(make):
    digits = np.where(LABELS == "good", "1", "0")
    plain = make().fit(TEXTS, digits).predict_proba(TEXTS)[:, 1]
    heavy = make(class_weight={"0": 1.0, "1": 9.0}).fit(TEXTS, digits).predict_proba(TEXTS)[:, 1]
    assert (heavy > plain).all()


def test_a_batch_may_lack_a_class_that_has_a_weight(make):
    model = make(class_weight={"good": 2.0})
    model.partial_fit(TEXTS[:3], ["bad"] * 3, classes=["good", "bad"])
    assert model.n_iter_ == 1
