"""Rows of several texts: a pair goes through fit and predict as one row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import AdaBoostClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import cross_val_score

from sktransfer import TransferTextClassifier

from .._reviews import reviews

FIRST, LABELS = reviews(40)
SECOND, _ = reviews(40, seed=7)
PAIRS = pd.DataFrame({"premise": SECOND, "hypothesis": FIRST})


@pytest.fixture
def make(tiny_encoder):
    def build(**parameters) -> TransferTextClassifier:
        settings = {"max_epochs": 2, "device": "cpu", "random_state": 0, "pooling_layers": 3}
        return TransferTextClassifier(tiny_encoder, **{**settings, **parameters})

    return build


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_the_second_column_is_read(make, max_epochs):
    classifier = make(max_epochs=max_epochs).fit(PAIRS, LABELS)
    assert classifier.score(PAIRS, LABELS) > 0.8
    assert classifier.n_features_in_ == 2
    assert list(classifier.feature_names_in_) == ["premise", "hypothesis"]


def test_containers_agree(make):
    classifier = make(max_epochs=0).fit(PAIRS.to_numpy(), LABELS)
    expected = classifier.predict_proba(PAIRS.to_numpy())
    assert_array_equal(classifier.predict_proba(PAIRS.to_numpy().tolist()), expected)
    assert_array_equal(classifier.predict_proba(list(PAIRS.itertuples(index=False))), expected)


def test_the_order_of_a_pair_counts_unless_symmetric(make):
    swapped = PAIRS.to_numpy()[:, ::-1]
    plain = make(lexical_weight=0.0).fit(PAIRS.to_numpy(), LABELS)
    assert not np.allclose(plain.predict_proba(swapped), plain.predict_proba(PAIRS.to_numpy()))
    both = make(symmetric=True).fit(PAIRS.to_numpy(), LABELS)
    assert_allclose(
        both.predict_proba(swapped), both.predict_proba(PAIRS.to_numpy()), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("pooling", ["cls", "last", "concat"])
def test_both_orders_count_alike_in_every_pooling(make, pooling):
    both = make(symmetric=True, pooling=pooling, max_epochs=0).fit(PAIRS.to_numpy(), LABELS)
    swapped = PAIRS.to_numpy()[:, ::-1]
    assert_allclose(
        both.predict_proba(swapped), both.predict_proba(PAIRS.to_numpy()), rtol=1e-4, atol=1e-6
    )


def test_three_columns(make):
    X = np.column_stack([SECOND, FIRST, SECOND])
    assert make().fit(X, LABELS).score(X, LABELS) > 0.8


def test_the_columns_of_fit_are_wanted_again(make):
    classifier = make(max_epochs=0).fit(PAIRS, LABELS)
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(PAIRS[["hypothesis", "premise"]])
    classifier.fit(PAIRS.to_numpy(), LABELS)
    with pytest.raises(ValueError, match=r"3 features, but .* 2 features"):
        classifier.predict([("a", "b", "c")])
    with pytest.raises(ValueError, match=r"1 features, but .* 2 features"):
        classifier.predict(["a"])


def test_symmetric_needs_columns(make):
    with pytest.raises(ValueError, match="symmetric=True needs rows of several texts"):
        make(symmetric=True).fit(FIRST, LABELS)


def test_cut_pairs_are_counted(make):
    long = PAIRS.copy()
    long.loc[3, "premise"] = "good film " * 200
    with pytest.warns(UserWarning, match="^1 texts are longer than max_length=32"):
        make(max_length=32, max_epochs=0).fit(long, LABELS)


def test_weights_copies_and_validation(make):
    weights = np.where(np.arange(40) % 4, 1.0, 2.0)
    rows = np.repeat(np.arange(40), weights.astype(int))
    heavy = make(max_epochs=0).fit(PAIRS, LABELS, sample_weight=weights)
    copies = make(max_epochs=0).fit(PAIRS.iloc[rows], np.array(LABELS)[rows])
    assert_allclose(heavy.predict_proba(PAIRS), copies.predict_proba(PAIRS), atol=1e-4)
    stopped = make(early_stopping=True, validation_fraction=0.25).fit(PAIRS, LABELS)
    assert len(stopped.validation_scores_) == stopped.n_iter_


def test_cross_validation_on_a_frame(make):
    scores = cross_val_score(make(max_epochs=0), PAIRS, LABELS, cv=2)
    assert scores.min() > 0.6


def test_partial_fit_takes_pairs(make):
    classifier = make().partial_fit(PAIRS, LABELS, classes=["bad", "good"])
    assert (
        clone(classifier).partial_fit(PAIRS, LABELS, classes=["bad", "good"]).score(PAIRS, LABELS)
        > 0.6
    )


def test_where_scikit_learn_needs_two_dimensions(make):
    X = PAIRS.to_numpy()
    classifier = make(max_epochs=0, pair_encoder="cross")
    boosted = AdaBoostClassifier(classifier, n_estimators=2, random_state=0)
    assert boosted.fit(X, LABELS).score(X, LABELS) > 0.8
    column = np.array(FIRST, dtype=object)[:, None]
    assert clone(boosted).fit(column, LABELS).score(column, LABELS) > 0.8


def test_permutation_importance_finds_the_column_that_tells(make):
    classifier = make(max_epochs=0).fit(PAIRS, LABELS)
    found = permutation_importance(classifier, PAIRS, LABELS, n_repeats=3, random_state=0)
    assert found.importances_mean[1] > found.importances_mean[0] + 0.1
