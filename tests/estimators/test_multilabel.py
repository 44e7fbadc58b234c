"""TransferTextClassifier on rows of any number of labels."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.preprocessing import MultiLabelBinarizer

from sktransfer import TransferTextClassifier

from .._reviews import reviews

TEXTS, SENTIMENT = reviews(40)
NEW_TEXTS, NEW_SENTIMENT = reviews(30, seed=1)
LABELS = [
    [label, "long"] if len(text) > 37 else [label]
    for text, label in zip(TEXTS, SENTIMENT, strict=True)
]
BINARIZER = MultiLabelBinarizer().fit(LABELS)
Y = BINARIZER.transform(LABELS)
NEW_Y = BINARIZER.transform([[label] for label in NEW_SENTIMENT])


@pytest.fixture
def make(tiny_encoder):
    def build(**parameters) -> TransferTextClassifier:
        settings = {"max_epochs": 2, "pooling_layers": 3, "device": "cpu", "random_state": 0}
        return TransferTextClassifier(tiny_encoder, **{**settings, **parameters})

    return build


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_round_trip_of_the_binarizer(make, max_epochs):
    model = make(max_epochs=max_epochs).fit(TEXTS, Y)
    predicted = model.predict(NEW_TEXTS)
    assert predicted.shape == (30, 3)
    assert set(np.unique(predicted)) <= {0, 1}
    sentiments = [set(labels) - {"long"} for labels in BINARIZER.inverse_transform(predicted)]
    right = [found == {label} for found, label in zip(sentiments, NEW_SENTIMENT, strict=True)]
    assert np.mean(right) > 0.8
    assert_array_equal(model.classes_, [[0, 1]] * 3)


def test_probabilities_are_of_each_label(make):
    model = make().fit(TEXTS, Y)
    probabilities = model.predict_proba(NEW_TEXTS)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (30, 3)
    assert not np.allclose(probabilities.sum(axis=1), 1)
    assert_array_equal(model.predict(NEW_TEXTS), probabilities > 0.5)
    assert_allclose(np.log(probabilities), model.predict_log_proba(NEW_TEXTS), atol=1e-5)
    scores = model.decision_function(NEW_TEXTS)
    assert_allclose(1 / (1 + np.exp(-scores)), probabilities, atol=1e-6)


@pytest.mark.parametrize(
    "container",
    [
        csr_matrix,
        csr_array,
        lambda y: pd.DataFrame(y, columns=["bad", "good", "long"]),
        lambda y: pl.DataFrame(y, schema=["bad", "good", "long"]),
        lambda y: y.astype(bool),
        lambda y: y.tolist(),
    ],
)
def test_containers_of_targets_agree(make, container):
    expected = make(max_epochs=0).fit(TEXTS, Y).predict_proba(NEW_TEXTS)
    found = make(max_epochs=0).fit(TEXTS, container(Y)).predict_proba(NEW_TEXTS)
    assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "scoring", ["accuracy", "f1_micro", "f1_samples", "roc_auc", "average_precision"]
)
def test_scorers(make, scoring):
    # Two labels, too: their number must not be taken for that of the classes.
    y = Y[:, :2].copy()
    y[0] = 1
    model = make(max_epochs=0).fit(TEXTS, y)
    assert get_scorer(scoring)(model, NEW_TEXTS, NEW_Y[:, :2]) > 0.7


def test_model_selection(make):
    model = make(max_epochs=0)
    assert cross_val_score(model, TEXTS, Y, cv=3, scoring="f1_micro").min() > 0.6
    found = cross_val_predict(model, TEXTS, Y, cv=3, method="predict_proba")
    assert np.shape(found) == (40, 3)
    search = GridSearchCV(model, {"C": [0.1, 10]}, cv=2, scoring="f1_micro").fit(TEXTS, Y)
    assert search.best_score_ > 0.6


def test_rare_labels_gain_from_balance(make):
    plain = make(max_epochs=0).fit(TEXTS, Y)
    for weight in ("balanced", [{}, {}, {1: 8.0}]):
        weighted = make(max_epochs=0, class_weight=weight).fit(TEXTS, Y)
        shift = weighted.predict_proba(NEW_TEXTS)[:, 2] - plain.predict_proba(NEW_TEXTS)[:, 2]
        assert shift.mean() > 0.02


def test_a_label_without_rows_is_possible(make):
    y = np.column_stack([Y, np.zeros(40, dtype=int), np.ones(40, dtype=int)])
    probabilities = make().fit(TEXTS, y).predict_proba(NEW_TEXTS)
    assert probabilities[:, 3].max() < 0.5 < probabilities[:, 4].min()
    balanced = make(max_epochs=0, class_weight="balanced").fit(TEXTS, y)
    assert np.isfinite(balanced.predict_proba(NEW_TEXTS)).all()


def test_rows_of_weight_zero_are_not_there(make):
    X, y = [*TEXTS, "an outlier"], np.vstack([Y, [1, 1, 1]])
    weights = np.append(np.ones(40), 0.0)
    found = make().fit(X, y, sample_weight=weights).predict_proba(NEW_TEXTS)
    assert_allclose(found, make().fit(TEXTS, Y).predict_proba(NEW_TEXTS), rtol=1e-5)


def test_early_stopping_and_pickle(make):
    model = make(early_stopping=True).fit(TEXTS, Y)
    assert len(model.validation_scores_) == 2
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.predict_proba(NEW_TEXTS), model.predict_proba(NEW_TEXTS))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (2 * Y, "got 2 in row"),
        (Y + 0.5, "must be 0 or 1"),
        (LABELS, "MultiLabelBinarizer"),
        (Y[:7], "inconsistent"),
        (np.where(Y == 1, np.nan, 0.0), "nan"),
    ],
)
def test_bad_targets(make, y, message):
    with pytest.raises(ValueError, match=message):
        make().fit(TEXTS, y)


def test_bad_class_weights(make):
    for weight in ({0: 1.0}, [{1: 2.0}]):
        with pytest.raises(ValueError, match="list of 3 dicts"):
            make(class_weight=weight).fit(TEXTS, Y)


def test_partial_fit_says_what_it_cannot(make):
    with pytest.raises(ValueError, match="pass multilabel y to fit"):
        make().fit(TEXTS, SENTIMENT).partial_fit(TEXTS, Y)
